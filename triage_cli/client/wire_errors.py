"""Converts errors to the records between a command line and a server, and back."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from triage_cli.domain import TriageError, errors


class ProtocolError(ValueError):
    """A received record does not follow the protocol."""


def error_fields(error: TriageError) -> dict[str, str]:
    """Return the wire record of an item's error."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


def error_of(wire_record: Any) -> TriageError:
    """Return an item's error from its wire record, of the same class as on the server."""
    if not isinstance(wire_record, dict):
        raise ProtocolError("no error")
    code, message, hint = (wire_record.get(key, "") for key in ("code", "message", "hint"))
    if not (isinstance(code, str) and isinstance(message, str) and isinstance(hint, str)):
        raise ProtocolError("no error")
    return _KNOWN_CODES.get(code, errors.ItemError)(message, hint=hint)


def problem_of(wire_record: Any) -> TriageError:
    """Return the error that ended a request; the HTTP status decides the class of one with an unknown code."""
    if not isinstance(wire_record, dict):
        raise ProtocolError("no problem")
    detail, hint, code, http_status = (wire_record.get(key) for key in ("detail", "hint", "code", "status"))
    if not isinstance(detail, str):
        raise ProtocolError("no problem")
    error_class = _KNOWN_CODES.get(code) if isinstance(code, str) else None
    if error_class is None:
        error_class = _class_by_status(http_status) if type(http_status) is int else errors.TriageError
    return error_class(detail, hint=hint if isinstance(hint, str) else "")


def _class_by_status(http_status: int) -> type[TriageError]:
    if http_status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return errors.RefusedError
    if http_status == HTTPStatus.NOT_FOUND:
        return errors.NotFoundError
    return errors.UsageError if http_status < HTTPStatus.INTERNAL_SERVER_ERROR else errors.UnavailableError


def _error_classes(base: type[TriageError]) -> Iterator[type[TriageError]]:
    yield base
    for error_class in base.__subclasses__():
        yield from _error_classes(error_class)


# An error's code stands for the class that has it first: some classes below have the code of their base, and may need
# more than a message. `TemporaryError` is used inside the retry loop alone.
_KNOWN_CODES: dict[str, type[TriageError]] = {}
for _error_class in _error_classes(TriageError):
    if _error_class is not errors.TemporaryError:
        _KNOWN_CODES.setdefault(_error_class.code, _error_class)
