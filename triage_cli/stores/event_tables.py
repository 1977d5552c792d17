"""The tables of the audit log: its events, and the end of their hash chain."""

from collections.abc import Iterator, Sequence
from typing import Any

from triage_cli.domain import Change, EventQuery, Head, LoggedEvent, hash_chain
from triage_cli.stores import where_clauses
from triage_cli.stores.database import Tables

EVENTS_PER_PAGE = 500
LOCK_CHAIN = "update chain set seq = seq"
SET_HEAD = "update chain set seq = ?, hash = ?, key = ?"
INSERT_EVENT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?)"
# `prev` is the hash of the event before; seq has no gaps.
EVENTS_PAGE = f"""select seq, timestamp, action, ticket_id, actor, run_id, detail,
    coalesce((select p.hash from events p where p.seq = e.seq - 1), '{hash_chain.GENESIS}'), hash
    from events e where {{where}} and seq > :after order by seq limit {{page}}"""


class EventTables(Tables):
    """Reads the events of the audit log, and chains new ones to them."""

    audit_key: bytes | None

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Yield events, oldest first; with a limit, the newest of them."""
        event_conditions, event_values = where_clauses.where_events(query)
        after_seq = query.after
        if query.limit is not None:
            event_values["limit"] = query.limit
            event_rows = self.database.read(
                f"select seq from events where {event_conditions} order by seq desc limit :limit", event_values
            )
            if not event_rows:
                return
            after_seq = max(after_seq, event_rows[-1][0] - 1)
        while True:
            event_rows = self.database.read(
                EVENTS_PAGE.format(where=event_conditions, page=EVENTS_PER_PAGE), event_values | {"after": after_seq}
            )
            yield from (LoggedEvent(*row) for row in event_rows)
            if len(event_rows) < EVENTS_PER_PAGE:
                return
            after_seq = event_rows[-1][0]

    def head(self) -> Head:
        """Return the head of the audit log that the database records."""
        seq, head = self.database.read("select seq, hash from chain")[0]
        return Head(head, seq)

    def _chained(
        self, chain: tuple[int, str, str | None], changes: Sequence[Change]
    ) -> tuple[Sequence[tuple[Any, ...]], Head, str | None]:
        """Return the rows that continue the log, its new head, and the mark of its key; `chain` is its present end."""
        last_seq, last_hash, key_mark = chain
        own_mark = hash_chain.checked_key_mark(key_mark, self.audit_key)
        events = (event for change in changes for event in change.events)
        event_rows, head = hash_chain.append(Head(last_hash, last_seq), events, self.audit_key)
        return event_rows, head, own_mark
