"""Schemas of records: a record is described where it is declared, by the text beside the type of each field.

The record's `Annotated[str, "when it began", datetime]` says: a text here, a time in JSON. A field without a text is
not in the JSON, and one that is `NotRequired` there may be missing. A schema that differs from its record in more is
written as a `Response`: it adds to the fields of its record, or takes some, and stands for the record in the others.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, create_model

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


# Requests

Moment = Annotated[
    datetime, BeforeValidator(lambda value: dm.times.rfc3339(value) if isinstance(value, str) else value)
]
_REQUESTS: dict[Any, type[BaseModel]] = {}


def whole_number(value: object) -> object:
    """Accept 1.0 in a request as 1, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def request_fields(record: type, schema: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of a record that a request may have, as types with their texts, limits and defaults.

    From then on `schema`, which gets them, stands for the record in other requests.
    """
    _REQUESTS[record] = schema
    hints, defaults = dm.record_hints(record), record._field_defaults  # type: ignore[attr-defined]
    return {
        name: _request_field(*get_args(hint), default=defaults.get(name, ...))
        for name, hint in hints.items()
        if any(isinstance(each, str) for each in get_args(hint)[1:])
    }


def _request_field(here: Any, *beside: Any, default: Any) -> Any:
    text = next(each for each in beside if isinstance(each, str))
    checks = [each for each in beside if isinstance(each, dm.CHECKS)]
    shown = next((each for each in beside if each is not text and each not in checks), None)
    kind = _request_type(here if shown is None else shown)
    if checks:
        kind = _constrained(here, kind, checks)
    if here in _REQUESTS:
        return Annotated[kind, Field(default_factory=_REQUESTS[here], description=text)]
    if isinstance(default, tuple | frozenset):
        return Annotated[kind, Field(default_factory=list, description=text)]
    return Annotated[kind, Field(default, description=text)]


def _request_type(hint: Any) -> Any:
    """Return a type as pydantic checks it: a list in place of a tuple, a schema in place of a record."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        here, *beside = arguments
        return _constrained(here, _request_type(here), [each for each in beside if isinstance(each, dm.CHECKS)])
    if origin in dm.UNIONS:
        return Union[tuple(map(_request_type, arguments))]  # noqa: UP007 - of as many as there are
    if origin in (tuple, frozenset):
        return list[_request_type(arguments[0])]  # type: ignore[misc]
    return _IN_REQUESTS.get(hint, _REQUESTS.get(hint, hint))


_IN_REQUESTS: Mapping[Any, Any] = {int: Annotated[int, BeforeValidator(whole_number)], datetime: Moment}


def _constrained(here: Any, kind: Any, checks: Iterable[Any]) -> Any:
    """Return the type of pydantic for a type of ours with its checks; a time is checked by its own type."""
    has_size = here is str or get_origin(here) in (tuple, frozenset)
    for check in checks:
        if isinstance(check, dm.Pattern):
            kind = Annotated[kind, StringConstraints(pattern=f"^{check.expression}$")]
        elif isinstance(check, dm.Limits) and has_size:
            kind = Annotated[kind, Field(min_length=int(check.least) or None, max_length=int(check.most))]
        elif isinstance(check, dm.Limits):
            kind = Annotated[kind, Field(ge=check.least, le=check.most)]
    return kind
