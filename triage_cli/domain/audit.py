"""Events, as they are written and as they stand in the chain of the audit log."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One line for the audit log; `data` holds names, numbers and hashes, never a ticket's words."""

    action: str
    ticket_id: str | None
    run_id: str | None
    actor: str
    at: str
    data: Mapping[str, Any] = {}

    def with_data(self, **more: object) -> "Event":
        """Return the event with more in its data."""
        return self._replace(data={**self.data, **more})


class LoggedEvent(NamedTuple):
    """One line of the audit log as it stands in the chain; `detail` is canonical JSON text."""

    seq: int
    timestamp: str
    action: str
    ticket_id: str | None
    actor: str
    run_id: str | None
    detail: str
    prev: str
    hash: str


class Head(NamedTuple):
    """Where the audit log ends: the hash of its last event, and how many events there are."""

    head: str
    events: int


class EventQuery(NamedTuple):
    """Which events; `limit` keeps the last ones, `after` those with a higher number."""

    ticket_id: str | None = None
    action: str | None = None
    actor: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int | None = None
    after: int = 0
