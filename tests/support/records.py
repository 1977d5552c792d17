"""Records with other values in some fields, as `copy.replace` makes them from Python 3.13 on."""

from typing import Any, TypeVar, cast

R = TypeVar("R", bound=tuple[Any, ...])


def replace(record: R, /, **changes: Any) -> R:
    """Return a record with these fields changed."""
    changed: R = cast("Any", record)._replace(**changes)
    return changed
