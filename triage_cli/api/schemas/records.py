"""Schemas of records: a record is described where it is declared, by the text beside the type of each field.

The record's `Annotated[str, "when it began", datetime]` says: a text here, a time in JSON. A field without a text is
not in the JSON, and one that is `NotRequired` there may be missing. A schema that differs from its record in more is
written by hand: it is a `Response`, and marked with `describes` if other records hold it.
"""

from collections.abc import Callable
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, create_model

from triage_cli.domain import is_record

M = TypeVar("M", bound=BaseModel)
# Schemas with other names than their records.
NAMES = {"LoggedEvent": "Event", "CreatedKey": "IssuedKey"}
_BY_HAND: dict[Any, type[BaseModel]] = {}


@cache
def described(hint: Any) -> Any:
    """Return a type hint with the schemas of records in place of the records."""
    if hint in _BY_HAND:
        return _BY_HAND[hint]
    if is_record(hint):
        return _schema(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if not arguments or origin in (Annotated, Literal):
        return hint
    if origin is UnionType:
        return reduce(or_, map(described, arguments))
    return origin[tuple(map(described, arguments))]


def _schema(record: type) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    defaults = getattr(record, "_field_defaults", {})
    for name, hint in get_type_hints(record, include_extras=True).items():
        if get_origin(hint) is Annotated:
            here, text, *in_json = get_args(hint)
            shown = in_json[0] if in_json else here
            is_optional = get_origin(shown) is NotRequired
            default = defaults[name] if is_optional else ...
            fields[name] = described(get_args(shown)[0] if is_optional else shown), Field(default, description=text)
    summary = (record.__doc__ or "").partition("\n\n")[0]
    name = NAMES.get(record.__name__, record.__name__)
    return create_model(name, __doc__=summary, **fields)


class Response(BaseModel):
    """A schema by hand, in whose annotations a record stands for its schema."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__annotations__ = {name: described(hint) for name, hint in cls.__annotations__.items()}


def describes(record: type) -> Callable[[type[M]], type[M]]:
    """Mark a schema as that of a record."""

    def marked(schema: type[M]) -> type[M]:
        _BY_HAND[record] = schema
        return schema

    return marked
