"""The store in a PostgreSQL database, which several machines may share."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import psycopg

from triage_cli import domain as dm
from triage_cli.extensions.postgres import queries
from triage_cli.extensions.postgres.copy_from_sqlite import copy_database
from triage_cli.extensions.postgres.database import PATIENCE, PostgresDatabase
from triage_cli.extensions.postgres.dialect import DialectConnection, is_unstorable, storable
from triage_cli.extensions.postgres.trail import ServerTrail
from triage_cli.runtime import Network
from triage_cli.stores import (
    COLUMN_COUNT,
    DECISION_COLUMNS,
    GIVEN_COLUMNS,
    NEW_TICKET_DEFAULTS,
    SET_HEAD,
    TICKET_COLUMNS,
    Copied,
    CountedGroup,
    Dialect,
    ServerStore,
    SqliteStore,
    where_clauses,
)

T = TypeVar("T")


class PostgresDialect(Dialect):
    """The dialect of PostgreSQL, where transactions lock the rows that they write, and the log's chain last.

    Nothing is scrubbed: the server's vacuum removes old row versions, and its log and backups expire. How much room a
    server has is not known here.
    """

    clock = queries.CLOCK
    monday = "to_char(date_trunc('week', {day}::date), 'YYYY-MM-DD')"
    answer = "(tickets.answers::json -> '{question}' ->> '{field}')"
    tickets_by_ending = queries.TICKETS_BY_ENDING
    due_deliveries, due_deliveries_of = queries.DUE_DELIVERIES, queries.DUE_DELIVERIES_OF
    free_batch = queries.FREE_BATCH
    chain_end = queries.LOCKED_CHAIN  # taken last, so that its holder waits for no other lock

    def trace(self, db: DialectConnection, query: str, values: Sequence[Any]) -> None:
        db.trace = query, values

    # -- runs

    def lock_budget(self, db: DialectConnection) -> None:
        """Take the lock of the daily budget."""
        db.execute(queries.TAKE_ADVISORY_LOCK, (queries.BUDGET_LOCK,))

    def claim(self, db: DialectConnection, selection: dm.Selection, lease: dm.Lease, limit: int) -> list[dm.Ticket]:
        """Claim tickets that no live run holds, and lock their rows.

        Tickets that another transaction has locked are skipped; those selected by id are waited for.
        """
        conditions, values = where_clauses.where_claimable(selection)
        values |= {"limit": limit, "bytes": dm.BYTES if selection.ids is None else sys.maxsize}
        row_lock = "for no key update" + (" skip locked" if selection.ids is None else "")
        where = " and ".join([*conditions, queries.UNCLAIMED_TICKET])
        query = queries.page_query(where, "urgency, ticket_id", row_lock)
        while tickets := [dm.Ticket(*row)._replace(run_id=lease.run_id) for *row, _ in db.execute(query, values)]:
            # Else other runs claimed them first: select again.
            if claimed := self._claim_selected(db, tickets, lease):
                return claimed
        return []

    @staticmethod
    def _claim_selected(db: DialectConnection, tickets: Sequence[dm.Ticket], lease: dm.Lease) -> list[dm.Ticket]:
        claim_values = {"ids": dm.compact([t.ticket_id for t in tickets]), "run": lease.run_id}
        steps = dict(db.execute(queries.CLAIM_TICKETS, claim_values).fetchall())
        taken_over = [ticket_id for ticket_id, before in steps.items() if before]
        if taken_over:
            db.execute(queries.TAKE_OVER_TICKETS, (dm.compact(taken_over),))
        return [t._replace(revision=t.revision + steps[t.ticket_id]) for t in tickets if t.ticket_id in steps]

    # -- the one write

    def storable(self, text: str) -> str:
        return dm.storable_text(text)

    def with_storable(self, changes: Sequence[dm.Change], save: Callable[[Sequence[dm.Change]], T]) -> T:
        try:
            return save(changes)
        except (psycopg.Error, UnicodeEncodeError) as error:
            if not is_unstorable(error):
                raise
            return save([_storable_change(change) for change in changes])

    def check_changed(
        self, db: DialectConnection, changes: Sequence[dm.Change]
    ) -> tuple[Mapping[CountedGroup, int], Sequence[str]]:
        """Write the tickets that have their expected revision, and return as what they counted before.

        The ids of the others are returned beside.
        """
        if not changes:
            return {}, ()
        changed_ids = [change.ticket.ticket_id for change in changes if change.ticket]
        rows = db.execute(queries.TICKETS_BEFORE, (dm.compact(changed_ids),)).fetchall()
        groups_before = {row[0]: row[1:] for row in rows}
        updated_ids = self._update_tickets(db, changes)
        moved_on = [ticket_id for ticket_id in changed_ids if ticket_id not in updated_ids]
        return Counter([groups_before[i] for i in changed_ids if i in updated_ids]), moved_on

    @staticmethod
    def _update_tickets(db: DialectConnection, changes: Sequence[dm.Change]) -> set[str]:
        """Update tickets that still have the expected revision; return their ids."""
        rewritten = [(*c.ticket[:COLUMN_COUNT], c.expected_revision) for c in changes if c.ticket and c.rewrites]
        decided = [
            (c.ticket[0], *c.ticket[GIVEN_COLUMNS:COLUMN_COUNT], c.expected_revision)
            for c in changes
            if c.ticket and not c.rewrites
        ]
        updates: tuple[tuple[str, Sequence[str], Sequence[tuple[Any, ...]]], ...] = (
            (queries.UPDATE_TICKETS, TICKET_COLUMNS, rewritten),
            (queries.DECIDE_TICKETS, DECISION_COLUMNS, decided),
        )
        return {
            row[0]
            for statement, columns, rows in updates
            if rows
            for row in db.execute(statement, (queries.json_rows((*columns, "expects"), rows),))
        }

    def insert_tickets(self, db: DialectConnection, tickets: Sequence[dm.Ticket]) -> bool:
        if len(tickets) >= queries.ROWS_FOR_COPY:
            # The schema has the defaults of a new ticket.
            have_defaults = all(t[GIVEN_COLUMNS:COLUMN_COUNT] == NEW_TICKET_DEFAULTS for t in tickets)
            columns = TICKET_COLUMNS[:GIVEN_COLUMNS] if have_defaults else TICKET_COLUMNS
            db.execute("savepoint before_copy")
            try:
                return db.copy("tickets", columns, [t[: len(columns)] for t in tickets]) == len(tickets)
            except psycopg.errors.UniqueViolation:  # an identity is taken, and COPY writes all rows or none
                db.execute("rollback to before_copy")
        json_tickets = queries.json_rows(TICKET_COLUMNS, [t[:COLUMN_COUNT] for t in tickets])
        return db.execute(queries.INSERT_TICKETS, (json_tickets,)).rowcount == len(tickets)

    def pipelined(self, db: DialectConnection, changes: Sequence[dm.Change]) -> AbstractContextManager[object]:
        """Return a pipeline for few rows; many are copied."""
        row_count = sum(len(change.adds) + len(change.events) for change in changes)
        return db.pipelined() if row_count < queries.ROWS_FOR_COPY else nullcontext()

    def add_records(self, db: DialectConnection, record_type: type[Any], rows: Sequence[Any]) -> None:
        queries.write_records(db, record_type, rows)

    def add_events(
        self, db: DialectConnection, rows: Sequence[tuple[Any, ...]], head: dm.Head, mark: str | None
    ) -> None:
        if len(rows) < queries.ROWS_FOR_COPY:
            json_events = queries.json_rows(queries.EVENT_COLUMNS, rows)
            heads = (head.events, head.head, head.events, head.head, mark)
            db.execute(queries.APPEND_EVENTS, (json_events, *heads))
            return
        db.copy("events", queries.EVENT_COLUMNS, rows)
        db.execute(queries.KEEP_HEAD, (head.events, head.head))
        db.execute(SET_HEAD, (head.events, head.head, mark))


class PostgresStore(ServerStore):
    """The store on a server; threads share a pool of connections. Errors come from `postgres.database.translate`.

    If the tables are missing, they are built with `make`; else any use raises `NoDatabaseError`.
    """

    database: PostgresDatabase

    def __init__(
        self,
        url: str,
        audit_key: bytes | None = None,
        *,
        network: Network,
        patience: float = PATIENCE,
        make: bool = True,
        for_requests: bool = False,
    ) -> None:
        database = PostgresDatabase(url, network, patience=patience, make=make, for_requests=for_requests)
        super().__init__(url, database, PostgresDialect(), audit_key)

    @property
    def shown(self) -> str:
        return self.database.shown

    def migrate(self) -> int:
        return self.database.migrate()

    def trail(self) -> ServerTrail:
        return ServerTrail(self)

    def take_over(self, source: SqliteStore) -> Copied:
        with source.database.transaction() as source_db:
            return self.database.write(lambda db: copy_database(source_db, db, self.shown, self.audit_key))


def _storable_change(change: dm.Change) -> dm.Change:
    event, *further = map(_storable_event, change.events)
    ticket = dm.Ticket(*map(storable, change.ticket)) if change.ticket else None
    adds = tuple(type(row)(*map(storable, row)) for row in change.adds)
    return dm.Change(event, ticket, change.expected_revision, adds, further=tuple(further))


def _storable_event(event: dm.Event) -> dm.Event:
    # An escaped NUL in JSON text is harmless and stays.
    event_data = json.loads(storable(dm.compact(event.data)))
    return dm.Event(*map(storable, event[:-1]))._replace(data=event_data)
