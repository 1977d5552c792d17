"""The store in a SQLite file."""

import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from triage_cli.domain import (
    Attempt,
    BatchItem,
    Change,
    Classification,
    Conflict,
    Delivery,
    Held,
    Lease,
    Run,
    Selection,
    SourceCursor,
    StoreUnavailableError,
    Ticket,
    UnavailableError,
    accepted,
    compact,
    first_of,
)
from triage_cli.runtime import is_full, machine
from triage_cli.stores import category_tables, where_clauses
from triage_cli.stores.answer_tables import INSERT_ANSWER
from triage_cli.stores.batch_tables import PUT_BATCH_ITEM
from triage_cli.stores.bulk_insert import write_all
from triage_cli.stores.delivery_tables import DUE_DELIVERIES, DUE_DELIVERIES_OF, INSERT_ATTEMPT, PUT_DELIVERY
from triage_cli.stores.event_tables import INSERT_EVENT, SET_HEAD
from triage_cli.stores.leases import (
    CLAIMABLE_TICKETS,
    DELETE_CLAIMS,
    INSERT_CLAIMS,
    RENEW_LEASE,
    TAKE_OVER_TICKETS,
    UNCLAIMED_TICKET,
)
from triage_cli.stores.run_tables import BEGIN_RUN, CONTINUE_RUN
from triage_cli.stores.sql_store import PUT_CURSOR, SqlStore
from triage_cli.stores.sqlite.backup import write_backup
from triage_cli.stores.sqlite.connection import BULK_CACHE, USUAL_CACHE
from triage_cli.stores.sqlite.database import AbsentDatabase, ReadOnlyDatabase, SqliteDatabase
from triage_cli.stores.sqlite.head_file import keep_head
from triage_cli.stores.ticket_tables import MOVED_ON, SET_DECISION, insert_tickets, update_tickets

# Bytes that must be free for a paid question or a delivery. The results in flight take less than 4 MB; the rest is for
# another program that fills the disk, at 25 MB/s, before they have come.
DISK_ROOM = 32 << 20
RENEW_LEASE_NOW = RENEW_LEASE.format(now="?")  # a value of this machine's clock


class SqliteStore(SqlStore):
    """Implements `ports.Store`. Raises `StoreError` or `UnavailableError`.

    `audit_key` is the key of the audit log's hashes, if they have one. If there is no file, reads find nothing; writes
    create it with `make`, else they raise `NoDatabaseError`. With `absent`, `path` is only a name, and no file is used.
    With `read_only`, no byte of the file is written.
    """

    database: SqliteDatabase

    BEGIN_RUN, CONTINUE_RUN = BEGIN_RUN.format(now="?"), CONTINUE_RUN.format(now="?")
    BEFORE_RENAME = (category_tables.CATEGORY_INDEX,)

    def __init__(
        self, path: str, audit_key: bytes | None = None, *, make: bool = True, absent: bool = False,
        read_only: bool = False,
    ) -> None:  # fmt: skip
        self.path = path
        self.audit_key = audit_key
        self.read_only = read_only
        opened = AbsentDatabase if absent else ReadOnlyDatabase if read_only else SqliteDatabase
        self.database = opened(path, make=make and not absent and not read_only)

    def is_there(self) -> bool:
        """Return whether the database has a file, without creating one."""
        return self.database.is_there()

    def hold(self, lease: Lease, ticket_ids: Sequence[str]) -> Held:
        """Hold tickets as `Store.hold` does. Raises `UnavailableError` as `check_room` does."""
        held = super().hold(lease, ticket_ids)
        self.check_room()
        return held

    def check_room(self) -> None:
        """Raise `StoreUnavailableError` if paid answers or the results of deliveries might find no room on the disk."""
        if is_full(Path(self.path), DISK_ROOM):
            raise StoreUnavailableError(
                f"the disk of {self.path} has less than {DISK_ROOM >> 20} MB left: "
                "answers and results might find no room",
                hint="nothing was lost; free some space and run the same command again",
            )

    def close(self) -> None:
        """Close this thread's connection to the file."""
        self.database.close()

    # -- runs and leases

    def begin(self, run: Run) -> Run:
        """Record a run and start its lease, under the write lock; frees what dead runs of this machine held."""
        run = run._replace(host=machine(), pid=os.getpid())
        with self.database.transaction() as db:
            db.execute(f"pragma cache_size = -{BULK_CACHE}")
            started_at = time.time()
            self._tend_leases(db, started_at)
            inherited = self._begin_run(db, run, started_at)
        keep_head(db, self.path)
        return run._replace(spent=inherited)

    def end(self, run: Run) -> None:
        """Record how a run ended, free its tickets, and write the head file."""
        db = self.database.connection()
        db.execute(f"pragma cache_size = -{USUAL_CACHE}")  # a server has many connections
        super().end(run)
        keep_head(db, self.path)

    def claim(self, selection: Selection, lease: Lease, limit: int) -> list[Ticket]:
        """Claim up to `limit` tickets that no live run holds, under the write lock, urgent first, then oldest.

        Without ids, at most about `chunks.BYTES` of text are claimed.
        """
        claim_conditions, claim_values = where_clauses.where_claimable(selection)
        claim_values |= {"run": lease.run_id, "now": time.time(), "limit": limit}
        with self.database.transaction() as db:
            self._check_run(db, lease)
            self.renew_lease(db, lease)
            claimable_query = CLAIMABLE_TICKETS.format(where=" and ".join([*claim_conditions, UNCLAIMED_TICKET]))
            with closing(db.execute(claimable_query, claim_values)) as claimable_rows:
                claimable = map(Ticket._make, claimable_rows)
                tickets = list(claimable if selection.ids is not None else first_of(claimable))
            claimed_ids = compact([ticket.ticket_id for ticket in tickets])
            taken_over = {row[0] for row in db.execute(TAKE_OVER_TICKETS, (claimed_ids,)).fetchall()}
            db.execute(INSERT_CLAIMS, (lease.run_id, claimed_ids))
        if not taken_over:
            return tickets
        return [t._replace(revision=t.revision + 1) if t.ticket_id in taken_over else t for t in tickets]

    def _claim_due_deliveries(self, lease: Lease, due_values: Mapping[str, Any]) -> tuple[list[Delivery], list[Ticket]]:
        due_query = DUE_DELIVERIES_OF if "ids" in due_values else DUE_DELIVERIES
        with self.database.transaction() as db:
            return self._claimed_deliveries(db, lease, due_query, {**due_values, "now": time.time()})

    def renew_lease(self, db: sqlite3.Connection, lease: Lease) -> None:
        """Renew a run's lease by this machine's clock, and record what the run has spent."""
        lease_now = time.time()
        self._book(db, lease.run_id, lease.spent)
        db.execute(RENEW_LEASE_NOW, (lease_now, lease.spent, lease.reserved, lease.run_id))

    # -- the one write

    def _save(self, changes: Sequence[Change], lease: Lease | None, cursor: SourceCursor | None) -> dict[str, Conflict]:
        with self.database.transaction() as db:
            if lease is not None:
                self.renew_lease(db, lease)
            expected = {c.ticket.ticket_id: c.expected_revision for c in changes if c.ticket and c.expected_revision}
            tickets_before, deliveries_before = self._unmoved_before(db, expected), self._deliveries_before(db, changes)
            conflicts = self._moved_on(db, expected) if sum(tickets_before.values()) < len(expected) else {}
            new_tickets = self._new_tickets(db, changes, conflicts)
            if new_tickets and insert_tickets(db, new_tickets) < len(new_tickets):
                conflicts |= self._identity_conflicts(db, new_tickets)
            accepted_changes = accepted(changes, conflicts)
            self._add_records(db, accepted_changes)
            db.executemany(SET_DECISION, [(t.decision_id, t.ticket_id) for t in new_tickets if t.decision_id])
            # Hashes are made before the long update, during which other threads of Python can work.
            self.log(db, accepted_changes)
            changed_tickets = [c for c in accepted_changes if c.ticket and c.expected_revision]
            update_tickets(db, changed_tickets)
            freed_ids = [c.ticket.ticket_id for c in changed_tickets if c.ticket and not c.ticket.run_id]
            if freed_ids:
                db.execute(DELETE_CLAIMS, (compact(freed_ids),))
            self._hold_claims(db, [t for t in new_tickets if t.run_id and t.ticket_id not in conflicts])
            self._count_changes(db, accepted_changes, tickets_before, deliveries_before)
            if cursor is not None and not conflicts:
                db.execute(PUT_CURSOR, cursor)
        return conflicts

    def _hold_claims(self, db: sqlite3.Connection, held_tickets: Sequence[Ticket]) -> None:
        for run_id in {ticket.run_id for ticket in held_tickets}:
            db.execute(INSERT_CLAIMS, (run_id, compact([t.ticket_id for t in held_tickets if t.run_id == run_id])))

    def _moved_on(self, db: sqlite3.Connection, expected: Mapping[str, int]) -> dict[str, Conflict]:
        """Return conflicts for tickets that no longer have their expected revision, by id."""
        return self._moved_on_conflicts(db, [row[0] for row in db.execute(MOVED_ON, (compact(expected),))])

    def _add_records(self, db: sqlite3.Connection, changes: Sequence[Change]) -> None:
        added_records = [row for change in changes for row in change.adds]
        if not added_records:
            return
        for record_type, insert_statement in (
            (Classification, INSERT_ANSWER),
            (Delivery, PUT_DELIVERY),
            (Attempt, INSERT_ATTEMPT),
            (BatchItem, PUT_BATCH_ITEM),
        ):
            write_all(db, insert_statement, [row for row in added_records if type(row) is record_type])
        self._spend(db, added_records)

    def log(self, db: sqlite3.Connection, changes: Sequence[Change]) -> None:
        """Append events to the chain, under the write lock."""
        event_rows, head, own_mark = self._chained(db.execute("select seq, hash, key from chain").fetchone(), changes)
        write_all(db, INSERT_EVENT, event_rows)
        db.execute(SET_HEAD, (head.events, head.head, own_mark))

    def scrub(self) -> None:
        """Rewrite the file, so that no erased or overwritten byte is left in it or in its write-ahead log.

        Raises `UnavailableError` if another program keeps reading an older state.
        """
        with self.database.errors_translated():
            db = self.database.connection()
            db.execute("pragma temp_store = file")  # a vacuum copies the whole database
            db.execute("vacuum")
            db.execute("pragma temp_store = memory")
            other_readers = db.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if other_readers:
            raise UnavailableError(
                f"another program is reading {self.path}, so its write-ahead log still holds what was erased",
                hint="run the same command again when that has ended",
            )

    def backup(self, path: Path) -> None:
        """Write a consistent copy of the database and a head file, as `write_backup` does."""
        write_backup(self.database, path)
