"""Converts errors to the records between a command line and a server, and back."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from triage_cli.domain import errors
from triage_cli.domain.errors import TriageError


class ProtocolError(ValueError):
    """A received record does not follow the protocol."""


def error_fields(error: TriageError) -> dict[str, str]:
    """Return the record of an item's error."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


def error_of(record: Any) -> TriageError:
    """Return an item's error, of the same class as on the server."""
    if not isinstance(record, dict):
        raise ProtocolError("no error")
    code, message, hint = (record.get(key, "") for key in ("code", "message", "hint"))
    if not (isinstance(code, str) and isinstance(message, str) and isinstance(hint, str)):
        raise ProtocolError("no error")
    return _KNOWN.get(code, errors.ItemError)(message, hint=hint)


def problem_of(record: Any) -> TriageError:
    """Return the error that ended a request; the HTTP status decides the class of an unknown one."""
    if not isinstance(record, dict):
        raise ProtocolError("no problem")
    detail, hint, code, status = (record.get(key) for key in ("detail", "hint", "code", "status"))
    if not isinstance(detail, str):
        raise ProtocolError("no problem")
    error_kind = _KNOWN.get(code) if isinstance(code, str) else None
    if error_kind is None:
        error_kind = errors.TriageError
        if type(status) is int:
            error_kind = _by_status(status)
    return error_kind(detail, hint=hint if isinstance(hint, str) else "")


def _by_status(status: int) -> type[TriageError]:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return errors.RefusedError
    if status == HTTPStatus.NOT_FOUND:
        return errors.NotFoundError
    return errors.UsageError if status < HTTPStatus.INTERNAL_SERVER_ERROR else errors.UnavailableError


def _kinds(error_kind: type[TriageError]) -> Iterator[type[TriageError]]:
    yield error_kind
    for inner in error_kind.__subclasses__():
        yield from _kinds(inner)


# A code is that of the class that has it first: some classes below have the code of their base, and may need more than
# a message. `TemporaryError` is used inside the retry loop alone.
_KNOWN: dict[str, type[TriageError]] = {}
for _error_kind in _kinds(TriageError):
    if _error_kind is not errors.TemporaryError:
        _KNOWN.setdefault(_error_kind.code, _error_kind)
