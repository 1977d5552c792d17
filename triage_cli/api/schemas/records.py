"""Schemas of records: a record is described where it is declared, by the text beside the type of each field.

The record's `Annotated[str, "when it began", datetime]` says: a text here, a time in JSON. A field without a text is
not in the JSON, and one that is `NotRequired` there may be missing. A schema that differs from its record in more is
written as a `Response`: it adds to the fields of its record, or takes some, and stands for the record in the others.
"""

from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, create_model

from triage_cli import domain as dm

# Schemas with other names than their records.
NAMES = {"LoggedEvent": "Event", "CreatedKey": "IssuedKey"}
_BY_HAND: dict[Any, type[BaseModel]] = {}


@cache
def described(hint: Any) -> Any:
    """Return a type hint with the schemas of records in place of the records."""
    if hint in _BY_HAND:
        return _BY_HAND[hint]
    if dm.is_record(hint):
        summary = (hint.__doc__ or "").partition("\n\n")[0]
        return create_model(NAMES.get(hint.__name__, hint.__name__), __doc__=summary, **_fields(hint))
    origin, arguments = get_origin(hint), get_args(hint)
    if not arguments or origin in (Annotated, Literal):
        return hint
    if origin is UnionType:
        return reduce(or_, map(described, arguments))
    return origin[tuple(map(described, arguments))]


def _fields(record: type) -> dict[str, Any]:
    """Return the fields of a record that are in JSON, as types with their texts."""
    hints = get_type_hints(record, include_extras=True)
    defaults = getattr(record, "_field_defaults", {})
    return {name: _field(hint, defaults.get(name)) for name, hint in hints.items() if get_origin(hint) is Annotated}


def _field(hint: Any, default: Any = None) -> Any:
    """Return the type of a field, with the text beside it if there is one; `default` is for one that may be missing."""
    if get_origin(hint) is not Annotated:
        return described(hint)
    here, text, *in_json = get_args(hint)
    shown = in_json[0] if in_json else here
    if get_origin(shown) is NotRequired:
        return Annotated[described(get_args(shown)[0]), Field(default, description=text)]
    return Annotated[described(shown), Field(description=text)]


class Response(BaseModel):
    """A schema by hand, in whose annotations a record stands for its schema.

    It has the fields of the record that it is `of`, and its own; `keys` are all of them, if the order is another one.
    """

    def __init_subclass__(cls, of: type | None = None, keys: Iterable[str] = (), **options: Any) -> None:
        super().__init_subclass__(**options)
        fields = _fields(of) if of else {}
        fields |= {name: _field(hint) for name, hint in cls.__annotations__.items()}
        cls.__annotations__ = {name: fields[name] for name in keys or fields}
        if of:
            _BY_HAND[of] = cls
