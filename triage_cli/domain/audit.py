"""Events of the audit log, before and after they are chained."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Event(NamedTuple):
    """An event to be logged; `data` holds names, numbers and hashes, never text of a ticket."""

    action: str
    ticket_id: str | None
    run_id: str | None
    actor: str
    at: str
    data: Mapping[str, Any] = {}

    def with_data(self, **more: object) -> "Event":
        """Return the event with further data."""
        return self._replace(data={**self.data, **more})


class LoggedEvent(NamedTuple):
    """An event in the chain of the audit log; `detail` is canonical JSON."""

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
    """The end of the audit log: the hash of its last event, and the number of events."""

    head: str
    events: int


class EventQuery(NamedTuple):
    """A selection of events: `limit` takes the last ones, `after` those with a higher `seq`."""

    ticket_id: str | None = None
    action: str | None = None
    actor: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int | None = None
    after: int = 0
