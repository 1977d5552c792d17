"""The store in a PostgreSQL database, which several machines may share."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import psycopg

from triage_cli.domain import (
    BYTES,
    Attempt,
    BatchItem,
    Change,
    Classification,
    Conflict,
    Delivery,
    Event,
    Lease,
    NoDatabaseError,
    Run,
    Selection,
    SourceCursor,
    Ticket,
    accepted,
    compact,
    hash_chain,
)
from triage_cli.runtime import Network, machine
from triage_cli.stores import where_clauses
from triage_cli.stores.event_tables import SET_HEAD
from triage_cli.stores.leases import DELETE_CLAIMS
from triage_cli.stores.postgres import queries as pg_queries
from triage_cli.stores.postgres.database import PATIENCE, PostgresDatabase
from triage_cli.stores.postgres.dialect import DialectConnection, is_unstorable, storable
from triage_cli.stores.sql_store import PUT_CURSOR, SqlStore
from triage_cli.stores.ticket_tables import DECISION_COLUMNS, GIVEN_COLUMNS, NEW_TICKET_DEFAULTS, TICKET_COLUMNS


class PostgresStore(SqlStore):
    """Implements `ports.Store`; threads share a pool of connections. Errors come from `postgres.errors.translate`.

    If the tables are missing, they are built with `make`; else any use raises `NoDatabaseError`.
    """

    FREE_BATCH = pg_queries.FREE_BATCH
    BEGIN_RUN, CONTINUE_RUN = pg_queries.BEGIN_RUN_NOW, pg_queries.CONTINUE_RUN_NOW

    database: PostgresDatabase

    def __init__(
        self,
        url: str,
        audit_key: bytes | None = None,
        *,
        network: Network,
        patience: float = PATIENCE,
        make: bool = True,
    ) -> None:
        self.path = url
        self.audit_key = audit_key
        self.database = PostgresDatabase(url, network, patience=patience, make=make)

    @property
    def shown(self) -> str:
        """Return the address without its password."""
        return self.database.shown

    def is_there(self) -> bool:
        """Return whether the tables exist; with `make`, they are built if missing."""
        try:
            self.database.query(lambda _: None)
        except NoDatabaseError:
            return False
        return True

    def close(self) -> None:
        """Close all connections to the server."""
        self.database.close()

    # -- runs and leases

    def begin(self, run: Run) -> Run:
        """Record a run and start its lease by the server's clock; frees what dead runs of this machine held."""
        run, server_now = run._replace(host=machine(), pid=os.getpid()), self.database.clock()

        def begin(db: DialectConnection) -> float:
            self._tend_leases(db, server_now)
            inherited = self._begin_run(db, run)
            db.trace = "select 1 from runs where run_id = ?", (run.run_id,)
            return inherited

        return run._replace(spent=self.database.write(begin))

    def set_aside(self, lease: Lease, amounts: Sequence[float], per_day: float | None) -> int:
        """Set further sums aside under the lock of the daily budget; return how many were set aside."""

        def set_aside(db: DialectConnection) -> int:
            if per_day is not None:
                db.execute(pg_queries.TAKE_ADVISORY_LOCK, (pg_queries.BUDGET_LOCK,))
            return self._set_aside(db, lease, amounts, per_day)

        return self.database.write(set_aside)

    def claim(self, selection: Selection, lease: Lease, limit: int) -> list[Ticket]:
        """Claim up to `limit` tickets that no live run holds, and lock their rows, urgent first, then oldest.

        Tickets that another transaction has locked are skipped; those selected by id are waited for. Without ids, at
        most about `chunks.BYTES` of text are claimed.
        """
        pg_conditions, pg_values = where_clauses.where_claimable(selection)
        row_lock = "for no key update" + (" skip locked" if selection.ids is None else "")
        claimable_query = pg_queries.page_query(
            " and ".join([*pg_conditions, pg_queries.UNCLAIMED_TICKET]), "urgency, ticket_id", row_lock
        )
        pg_values |= {"limit": limit, "bytes": BYTES if selection.ids is None else sys.maxsize}

        def claim(db: DialectConnection) -> list[Ticket]:
            self._check_run(db, lease)
            self.renew_lease(db, lease)
            while tickets := [Ticket._make((*row, lease.run_id)) for *row, _ in db.execute(claimable_query, pg_values)]:
                # Else other runs claimed them first: select again.
                if claimed_tickets := self._claim_tickets(db, tickets, lease):
                    return claimed_tickets
            return []

        return self.database.write(claim)

    def _claim_tickets(self, db: DialectConnection, tickets: Sequence[Ticket], lease: Lease) -> list[Ticket]:
        claim_values = {"ids": compact([t.ticket_id for t in tickets]), "run": lease.run_id}
        revision_steps = dict(db.execute(pg_queries.CLAIM_TICKETS, claim_values).fetchall())
        taken_over = [ticket_id for ticket_id, before in revision_steps.items() if before]
        if taken_over:
            db.execute(pg_queries.TAKE_OVER_TICKETS, (compact(taken_over),))
        return [
            t._replace(revision=t.revision + revision_steps[t.ticket_id])
            for t in tickets
            if t.ticket_id in revision_steps
        ]

    def _claim_due_deliveries(self, lease: Lease, values: Mapping[str, Any]) -> tuple[list[Delivery], list[Ticket]]:
        due_query = pg_queries.DUE_DELIVERIES_OF if "ids" in values else pg_queries.DUE_DELIVERIES
        return self.database.write(lambda db: self._claimed_deliveries(db, lease, due_query, values))

    def renew_lease(self, db: DialectConnection, lease: Lease) -> None:
        """Renew a run's lease by the server's clock, and record what the run has spent."""
        self._book(db, lease.run_id, lease.spent)
        db.execute(pg_queries.RENEW_LEASE_NOW, (lease.spent, lease.reserved, lease.run_id))

    # -- the one write

    def _save(self, changes: Sequence[Change], lease: Lease | None, cursor: SourceCursor | None) -> dict[str, Conflict]:
        try:
            return self._save_fast_or_safe(changes, lease, cursor)
        except (psycopg.Error, UnicodeEncodeError) as error:
            if not is_unstorable(error):
                raise
            return self._save_fast_or_safe([_storable_change(change) for change in changes], lease, cursor)

    def _save_fast_or_safe(
        self, changes: Sequence[Change], lease: Lease | None, cursor: SourceCursor | None
    ) -> dict[str, Conflict]:
        try:
            return self.database.write(lambda db: self._write_changes(db, changes, lease, cursor, by_copy=True))
        except psycopg.errors.UniqueViolation:  # an identity is taken, and COPY writes all rows or none
            return self.database.write(lambda db: self._write_changes(db, changes, lease, cursor, by_copy=False))

    def _write_changes(
        self,
        db: DialectConnection,
        changes: Sequence[Change],
        lease: Lease | None,
        cursor: SourceCursor | None,
        *,
        by_copy: bool,
    ) -> dict[str, Conflict]:
        if lease is not None:
            self.renew_lease(db, lease)
        tickets_before, deliveries_before = self._tickets_before(db, changes), self._deliveries_before(db, changes)
        conflicts = self._update_tickets(db, [c for c in changes if c.ticket and c.expected_revision])
        new_tickets = self._new_tickets(db, changes, conflicts)
        if new_tickets and not self._insert_tickets(db, new_tickets, by_copy=by_copy):
            conflicts |= self._identity_conflicts(db, new_tickets)
        accepted_changes = accepted(changes, conflicts)
        added_records = [row for change in accepted_changes for row in change.adds]
        is_small = (
            len(added_records) + sum(len(change.events) for change in accepted_changes) < pg_queries.ROWS_FOR_COPY
        )
        with db.pipelined() if is_small else nullcontext():  # many are copied
            for record_type in (Classification, Delivery, Attempt, BatchItem):
                pg_queries.write_records(db, record_type, [row for row in added_records if type(row) is record_type])
            self._spend(db, added_records)
            self._free_and_hold_claims(db, accepted_changes)
            self.log(db, accepted_changes)
            self._count_changes(
                db, accepted_changes, self._groups_before(accepted_changes, tickets_before), deliveries_before
            )
            if cursor is not None and not conflicts:
                db.execute(PUT_CURSOR, cursor)
        return conflicts

    def _free_and_hold_claims(self, db: DialectConnection, changes: Sequence[Change]) -> None:
        tickets_and_revisions = [(c.ticket, c.expected_revision) for c in changes if c.ticket]
        freed_ids = [t.ticket_id for t, revision in tickets_and_revisions if revision and not t.run_id]
        if freed_ids:
            db.execute(DELETE_CLAIMS, (compact(freed_ids),))
        held_claims = [(t.ticket_id, t.run_id) for t, revision in tickets_and_revisions if not revision and t.run_id]
        if held_claims:
            db.execute(pg_queries.INSERT_HELD_CLAIMS, (pg_queries.json_rows(("ticket_id", "run_id"), held_claims),))

    def _update_tickets(self, db: DialectConnection, changes: Sequence[Change]) -> dict[str, Conflict]:
        """Update tickets that still have the expected revision; return conflicts for the others, by id."""
        if not changes:
            return {}
        rewritten_rows: list[tuple[Any, ...]]
        rewritten_rows = [(*c.ticket[:-1], c.expected_revision) for c in changes if c.ticket and c.rewrites]
        decided_rows: list[tuple[Any, ...]]
        decided_rows = [
            (c.ticket[0], *c.ticket[GIVEN_COLUMNS:-1], c.expected_revision)
            for c in changes
            if c.ticket and not c.rewrites
        ]
        updated_ids: set[str] = set()
        for update_statement, update_columns, rows in (
            (pg_queries.UPDATE_TICKETS, TICKET_COLUMNS, rewritten_rows),
            (pg_queries.DECIDE_TICKETS, DECISION_COLUMNS, decided_rows),
        ):
            if rows:
                json_records = pg_queries.json_rows((*update_columns, "expects"), rows)
                updated_ids |= {row[0] for row in db.execute(update_statement, (json_records,))}
        moved_ids = [row[0] for row in (*rewritten_rows, *decided_rows) if row[0] not in updated_ids]
        return self._moved_on_conflicts(db, moved_ids) if moved_ids else {}

    def _insert_tickets(self, db: DialectConnection, new_tickets: Sequence[Ticket], *, by_copy: bool) -> bool:
        """Insert tickets whose identity is free; return whether all were. Raises `UniqueViolation` with `by_copy`."""
        if by_copy and len(new_tickets) >= pg_queries.ROWS_FOR_COPY:
            # The schema has the defaults of a new ticket.
            have_defaults = all(t[GIVEN_COLUMNS:-1] == NEW_TICKET_DEFAULTS for t in new_tickets)
            copied_columns = TICKET_COLUMNS[:GIVEN_COLUMNS] if have_defaults else TICKET_COLUMNS
            copied_rows = [t[: len(copied_columns)] for t in new_tickets]
            return db.copy("tickets", copied_columns, copied_rows) == len(new_tickets)
        json_tickets = pg_queries.json_rows(TICKET_COLUMNS, [t[:-1] for t in new_tickets])
        return db.execute(pg_queries.INSERT_TICKETS, (json_tickets,)).rowcount == len(new_tickets)

    def log(self, db: DialectConnection, changes: Sequence[Change]) -> None:
        """Append events to the chain. Its lock is taken last, so that its holder waits for no other lock."""
        chain = db.execute(pg_queries.LOCKED_CHAIN).fetchone() or (0, hash_chain.GENESIS, None)
        event_rows, head, own_mark = self._chained(chain, changes)
        db.trace = "select 1 from events where seq = ? and hash = ?", (head.events, head.head)
        if len(event_rows) < pg_queries.ROWS_FOR_COPY:
            json_events = pg_queries.json_rows(pg_queries.EVENT_COLUMNS, event_rows)
            db.execute(
                pg_queries.APPEND_EVENTS, (json_events, head.events, head.head, head.events, head.head, own_mark)
            )
            return
        db.copy("events", pg_queries.EVENT_COLUMNS, event_rows)
        db.execute(pg_queries.KEEP_HEAD, (head.events, head.head))
        db.execute(SET_HEAD, (head.events, head.head, own_mark))

    def scrub(self) -> None:
        """Do nothing: the server's vacuum removes old row versions, and its log and backups expire."""

    # -- reads

    def known(self, identities: Sequence[str]) -> Mapping[str, Ticket]:
        """Return the stored tickets among these identities, which are compared as PostgreSQL can store them."""
        tickets_by_identity = super().known(identities)
        return {i: tickets_by_identity[kept] for i in identities if (kept := storable(i)) in tickets_by_identity}

    def _tickets_by_ending(self, ending: str, limit: int) -> list[Any]:
        return self.database.read(pg_queries.TICKETS_BY_ENDING, {"ending": ending.lower(), "limit": limit})


def _storable_change(change: Change) -> Change:
    event, *further = map(_storable_event, change.events)
    ticket = Ticket(*map(storable, change.ticket)) if change.ticket else None
    adds = tuple(type(row)(*map(storable, row)) for row in change.adds)
    return Change(event, ticket, change.expected_revision, adds, further=tuple(further))


def _storable_event(event: Event) -> Event:
    # An escaped NUL in JSON text is harmless and stays.
    event_data = json.loads(storable(compact(event.data)))
    return Event(*map(storable, event[:-1]))._replace(data=event_data)
