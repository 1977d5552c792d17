"""Values as JSON and back, by their types: what an operation takes and answers, between two instances.

A record is an object with its fields by name. Names that a reader does not know are passed over, and a field that is
missing has its default, so that instances of neighbouring versions understand each other.
"""

import re
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from functools import cache, partial, reduce
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

from triage_cli.domain import errors
from triage_cli.domain.errors import TriageError
from triage_cli.domain.json_values import is_record
from triage_cli.domain.times import rfc3339, timestamp

Reader: TypeAlias = Callable[[Any], Any]
LISTS = (list, tuple, Sequence, Iterable, Iterator)
MAPPINGS = (dict, Mapping)
UNIONS = (Union, UnionType)


class ProtocolError(ValueError):
    """What another instance has sent does not follow the protocol."""


class _MisfitError(Exception):
    """A value of JSON is not of the type that it is read as; the record that it belongs to tells it by name."""


class Limits(NamedTuple):
    """Beside a type: the least and most of a number, of a duration's seconds, a list's items, a text's characters."""

    least: float
    most: float

    def takes(self, value: Any) -> bool:
        """Return whether a value of JSON is within the limits; what is of another type is refused elsewhere."""
        size = len(value) if isinstance(value, list | str) else value
        return not isinstance(size, int | float) or self.least <= size <= self.most


class UtcTime(NamedTuple):
    """Beside a text: it is a time as `times.timestamp` writes it, so that it compares as the time does."""

    def takes(self, value: Any) -> bool:
        """Return whether a value of JSON is such a time; what is of another type is refused elsewhere."""
        if not isinstance(value, str):
            return True
        try:
            return value.endswith("Z") and timestamp(rfc3339(value)) == value
        except ValueError:
            return False


class Pattern(NamedTuple):
    """Beside a text: it matches a regular expression as a whole."""

    expression: str

    def takes(self, value: Any) -> bool:
        """Return whether a value of JSON matches; what is of another type is refused elsewhere."""
        return not isinstance(value, str) or re.fullmatch(self.expression, value) is not None


CHECKS = (Limits, UtcTime, Pattern)
Usd = Annotated[float, Limits(0, 1_000_000)]


# -- to JSON


def to_wire(value: Any) -> Any:
    """Return a value as JSON has it; a record leaves out the fields that have their default."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {
            name: each if type(each) in SENT_AS_IT_IS else to_wire(each)
            for name, each, default in zip(value._fields, value, _defaults_of(type(value)), strict=True)
            if each is not default and each != default
        }
    if isinstance(value, Mapping):
        return {name: to_wire(each) for name, each in value.items()}
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return [to_wire(each) for each in (sorted(value) if isinstance(value, frozenset) else value)]
    as_json = next((convert for kind, convert in _TO_JSON.items() if isinstance(value, kind)), None)
    return value if as_json is None else as_json(value)


@cache
def _defaults_of(record: Any) -> tuple[object, ...]:
    return tuple(record._field_defaults.get(name, _REQUIRED) for name in record._fields)


def error_fields(error: TriageError) -> dict[str, str]:
    """Return an error as JSON has it."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


SENT_AS_IT_IS = frozenset({str, int, float, bool, NoneType})
_REQUIRED = object()
_TO_JSON: Mapping[type, Callable[[Any], Any]] = {
    timedelta: timedelta.total_seconds,
    datetime: datetime.isoformat,
    TriageError: error_fields,
}


# -- from JSON


@cache
def reader(hint: Hashable) -> Reader:
    """Return what reads a value of this type from JSON, and raises `ProtocolError` for what is none."""
    read = _reader(hint)

    def read_whole(value: Any) -> Any:
        try:
            return read(value)
        except _MisfitError as error:
            raise ProtocolError(f"no {getattr(hint, '__name__', 'list')}") from error

    return read_whole


@cache
def _reader(hint: Any) -> Reader:
    record = get_origin(hint) or hint
    if is_record(record):
        return partial(_record, record.__name__, record, _fields_of(record_hints(hint)))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return partial(_member, {each.value: each for each in hint})
    make = _GENERIC.get(get_origin(hint))
    return _PLAIN[hint] if make is None else make(get_args(hint))


def record_hints(record: Any) -> dict[str, Any]:
    """Return the types of a record's fields; `Outcome[Ticket]` has a ticket where `Outcome` has any value."""
    kind = get_origin(record) or record
    values = dict(zip(getattr(kind, "__parameters__", ()), get_args(record), strict=True))
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: hint[tuple(values[each] for each in hint.__parameters__)] if getattr(hint, "__parameters__", ()) else hint
        for name, hint in hints.items()
    }


class _Field(NamedTuple):
    """How a field is read: a value of the types in `plain` as it is, which saves most of the time; others by `read`."""

    plain: frozenset[type]
    read: Reader


def _fields_of(hints: Mapping[str, Any]) -> Mapping[str, _Field]:
    return {name: _Field(_plain_types(hint), _reader(hint)) for name, hint in hints.items()}


def _plain_types(hint: Any) -> frozenset[type]:
    """Return the types whose values are of this type without a look."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated and not any(isinstance(each, CHECKS) for each in arguments):
        return _plain_types(arguments[0])
    kinds = arguments if origin in UNIONS else (hint,)
    return frozenset(kinds if SENT_AS_IT_IS.issuperset(kinds) else ())


def _record(name: str, make: Callable[..., Any], fields: Mapping[str, _Field], value: Any) -> Any:
    if not isinstance(value, dict):
        raise _MisfitError
    try:
        return make(**_named(name, fields, value))
    except TypeError as error:
        raise ProtocolError(f"{name} without all its fields") from error


def named_reader(name: str, hints: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return what reads those fields of these types that an object of JSON has, and raises `ProtocolError`.

    `name` says in an error what the object is.
    """
    return partial(_named, name, _fields_of(hints))


def _named(name: str, fields: Mapping[str, _Field], values: Mapping[str, Any]) -> dict[str, Any]:
    named = {}
    for field, value in values.items():
        if field not in fields:
            continue
        plain, read = fields[field]
        try:
            named[field] = value if type(value) in plain else read(value)
        except _MisfitError as error:
            raise ProtocolError(f"{name} without a proper {field}") from error
    return named


def _checked(read: Reader, check: Limits | UtcTime | Pattern, value: Any) -> Any:
    if not check.takes(value):
        raise _MisfitError
    return read(value)


def _optional(read: Reader, value: Any) -> Any:
    return None if value is None else read(value)


def _one_of(values: frozenset[Any], value: Any) -> Any:
    if not isinstance(value, str | int) or value not in values:
        raise _MisfitError
    return value


def _member(members: Mapping[str, Enum], value: Any) -> Enum:
    if not isinstance(value, str) or value not in members:
        raise _MisfitError
    return members[value]


def _several(reads: Sequence[Reader], value: Any) -> Any:
    if not isinstance(value, list) or len(value) != len(reads):
        raise _MisfitError
    return tuple(read(each) for read, each in zip(reads, value, strict=True))


def _list(make: Callable[[Iterable[Any]], Any], read: Reader, value: Any) -> Any:
    if not isinstance(value, list):
        raise _MisfitError
    return make(map(read, value))


def _mapping(read: Reader, value: Any) -> Any:
    if not isinstance(value, dict):
        raise _MisfitError
    return {name: read(each) for name, each in value.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _MisfitError
    return value


def _whole_number(value: Any) -> int:
    if type(value) is not int:
        raise _MisfitError
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        raise _MisfitError
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _MisfitError
    return value


def _duration(value: Any) -> timedelta:
    try:
        return timedelta(seconds=_number(value))
    except OverflowError as error:
        raise _MisfitError from error


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError as error:
        raise _MisfitError from error
    if moment.tzinfo is None:
        raise _MisfitError
    return moment


def _error(value: Any) -> TriageError:
    fields = value if isinstance(value, dict) else {}
    code, message, hint = (fields.get(key, "") for key in ("code", "message", "hint"))
    if not fields or not all(isinstance(text, str) for text in (code, message, hint)):
        raise _MisfitError
    return KNOWN_CODES.get(code, errors.ItemError)(message, hint=hint)


def _nothing(value: Any) -> None:
    if value is not None:
        raise _MisfitError


_PLAIN: Mapping[Any, Reader] = {
    Any: lambda value: value,
    object: lambda _: None,  # what only one of the two has
    bytes: lambda _: b"",
    str: _text,
    int: _whole_number,
    float: _number,
    bool: _truth,
    timedelta: _duration,
    datetime: _moment,
    TriageError: _error,
    NoneType: _nothing,
}


def _annotated(arguments: Sequence[Any]) -> Reader:
    checks = (each for each in arguments[1:] if isinstance(each, CHECKS))
    return reduce(lambda read, check: partial(_checked, read, check), checks, _reader(arguments[0]))


def _union(arguments: Sequence[Any]) -> Reader:
    (one,) = (each for each in arguments if each is not NoneType)  # None is the only alternative that we have
    return partial(_optional, _reader(one))


def _tuple(arguments: Sequence[Any]) -> Reader:
    if ... in arguments:
        return partial(_list, tuple, _reader(arguments[0]))
    return partial(_several, tuple(map(_reader, arguments)))


_GENERIC: Mapping[Any, Callable[[Sequence[Any]], Reader]] = {
    Annotated: _annotated,
    **dict.fromkeys(UNIONS, _union),
    **dict.fromkeys(LISTS, lambda arguments: partial(_list, tuple, _reader(arguments[0]))),
    **dict.fromkeys(MAPPINGS, lambda arguments: partial(_mapping, _reader(arguments[1]))),
    list: lambda arguments: partial(_list, list, _reader(arguments[0])),
    frozenset: lambda arguments: partial(_list, frozenset, _reader(arguments[0])),
    tuple: _tuple,
    Literal: lambda arguments: partial(_one_of, frozenset(arguments)),
}


def _error_classes(base: type[TriageError]) -> Iterator[type[TriageError]]:
    yield base
    for error_class in base.__subclasses__():
        yield from _error_classes(error_class)


# An error's code stands for the class that has it first: some classes below have the code of their base, and may need
# more than a message. `TemporaryError` is used inside the retry loop alone.
KNOWN_CODES: dict[str, type[TriageError]] = {}
for _error_class in _error_classes(TriageError):
    if _error_class is not errors.TemporaryError:
        KNOWN_CODES.setdefault(_error_class.code, _error_class)
