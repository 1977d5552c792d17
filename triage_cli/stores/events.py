"""The tables of the audit log: its events, and the end of their hash chain."""

from collections.abc import Iterator, Sequence

from triage_cli import domain as dm
from triage_cli.stores import where_clauses
from triage_cli.stores.database import Database, Db
from triage_cli.stores.dialect import Dialect

EVENTS_PER_PAGE = 500
LOCK_CHAIN = "update chain set seq = seq"
SET_HEAD = "update chain set seq = ?, hash = ?, key = ?"
# `prev` is the hash of the event before; seq has no gaps.
EVENTS_PAGE = f"""select seq, timestamp, action, ticket_id, actor, run_id, detail,
    coalesce((select p.hash from events p where p.seq = e.seq - 1), '{dm.hash_chain.GENESIS}'), hash
    from events e where {{where}} and seq > :after order by seq limit {{page}}"""


class SqlAuditLog:
    """Implements `ports.AuditLog` on the connections of a store; `key` is that of the hashes, if they have one."""

    def __init__(self, database: Database, dialect: Dialect, key: bytes | None) -> None:
        self._database = database
        self._dialect = dialect
        self._key = key

    def events(self, query: dm.EventQuery) -> Iterator[dm.LoggedEvent]:
        event_conditions, event_values = where_clauses.where_events(query)
        after_seq = query.after
        if query.limit is not None:
            event_values["limit"] = query.limit
            event_rows = self._database.read(
                f"select seq from events where {event_conditions} order by seq desc limit :limit", event_values
            )
            if not event_rows:
                return
            after_seq = max(after_seq, event_rows[-1][0] - 1)
        while True:
            event_rows = self._database.read(
                EVENTS_PAGE.format(where=event_conditions, page=EVENTS_PER_PAGE), event_values | {"after": after_seq}
            )
            yield from (dm.LoggedEvent(*row) for row in event_rows)
            if len(event_rows) < EVENTS_PER_PAGE:
                return
            after_seq = event_rows[-1][0]

    def head(self) -> dm.Head:
        seq, head = self._database.read("select seq, hash from chain")[0]
        return dm.Head(head, seq)

    def lock(self, db: Db) -> None:
        """Let no other writer append events until the end of the transaction."""
        db.execute(self._dialect.chain_end).fetchone()

    def append(self, db: Db, changes: Sequence[dm.Change]) -> None:
        """Append the events of changes, in an open transaction."""
        seq, last_hash, key_mark = db.execute(self._dialect.chain_end).fetchone() or (0, dm.hash_chain.GENESIS, None)
        own_mark = dm.hash_chain.checked_key_mark(key_mark, self._key)
        events = (event for change in changes for event in change.events)
        event_rows, head = dm.hash_chain.append(dm.Head(last_hash, seq), events, self._key)
        self._dialect.trace(db, "select 1 from events where seq = ? and hash = ?", (head.events, head.head))
        self._dialect.add_events(db, event_rows, head, own_mark)
