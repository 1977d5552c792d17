"""The store in a SQLite file."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import starmap
from operator import attrgetter
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from triage_cli import domain as dm
from triage_cli.runtime import is_full, make_private
from triage_cli.stores import where_clauses
from triage_cli.stores.batches import PUT_BATCH_ITEM
from triage_cli.stores.categories import CATEGORY_INDEX
from triage_cli.stores.counts import COUNTED_AS
from triage_cli.stores.database import MANY_ROWS, placeholders, write_all
from triage_cli.stores.deliveries import DELIVERY_STANDS, OF_THESE_TICKETS, PUT_DELIVERY, TAKE_DELIVERY
from triage_cli.stores.dialect import CountedGroup, Dialect
from triage_cli.stores.events import SET_HEAD
from triage_cli.stores.runs import INSERT_CLAIMS
from triage_cli.stores.sql_store import SqlStore
from triage_cli.stores.sqlite.connection import BULK_CACHE, USUAL_CACHE, translate
from triage_cli.stores.sqlite.copies import erase_leftovers
from triage_cli.stores.sqlite.database import AbsentDatabase, ReadOnlyDatabase, SqliteDatabase
from triage_cli.stores.sqlite.head_file import write_head
from triage_cli.stores.tickets import COLUMN_COUNT, DECISION_COLUMNS, GIVEN_COLUMNS, NEW_TICKET_DEFAULTS, TICKET_COLUMNS

LIVE_RUNS = "(select run_id from runs where ended_at is null and lease_until > :now)"
UNCLAIMED_TICKET = (
    f"not exists (select 1 from claims where claims.ticket_id = tickets.ticket_id and claims.run_id in {LIVE_RUNS})"
)
# A run claims in ascending order (by `after`), else it would claim a ticket that failed again and again.
CLAIMABLE_TICKETS = "select *, :run from tickets where {where} order by urgency, ticket_id limit :limit"
# The new revision makes late writes of the earlier holder conflict.
TAKE_OVER_TICKETS = """update tickets set revision = revision + 1
    where ticket_id in (select ticket_id from claims where ticket_id in (select value from json_each(?)))
    returning ticket_id"""


def _due_deliveries(of: str = "") -> str:
    return f"""update deliveries set {TAKE_DELIVERY} where delivery_id in
    (select delivery_id from deliveries where destination = :destination and state = 'pending'
     and due_at <= :now and (run_id is null or run_id not in {LIVE_RUNS}) and {DELIVERY_STANDS} {of}
     order by due_at limit :limit) returning *"""


DUE_DELIVERIES, DUE_DELIVERIES_OF = _due_deliveries(), _due_deliveries(OF_THESE_TICKETS)

MOVED_ON = """select key from json_each(?) left join tickets on ticket_id = key where revision is not value"""
# Of tickets that still have the revision that is expected: few rows, because each returned row takes the GIL.
UNMOVED_BEFORE = f"""select {COUNTED_AS}, count(*) from json_each(?)
    join tickets on ticket_id = key and revision = value group by 1, 2, 3, 4"""

# An identity that was taken in the meantime is no error; the count of inserted rows shows it.
INSERT_TICKET = f"insert into tickets values ({placeholders(TICKET_COLUMNS)}) on conflict (identity) do nothing"
_INSERT_NEW_TICKET = (
    f"insert into tickets ({', '.join(TICKET_COLUMNS[:GIVEN_COLUMNS])}) "
    f"values ({placeholders(TICKET_COLUMNS[:GIVEN_COLUMNS])}) "
    "on conflict (identity) do nothing"
)


def _update_statement(columns: tuple[str, ...]) -> str:
    return (
        f"with new ({', '.join(columns)}) as (values ({placeholders(columns)})) update tickets set "
        f"{', '.join(f'{f} = new.{f}' for f in columns[1:])} from new where tickets.ticket_id = new.ticket_id"
    )


_UPDATE_TICKETS = _update_statement(TICKET_COLUMNS)
_DECIDE_TICKETS = _update_statement(DECISION_COLUMNS)
_DELIVERY_COLUMNS = ("ticket_id", "status", "routed_to", "error", "revision")
_DELIVER_TICKETS = _update_statement(_DELIVERY_COLUMNS)
_delivery_values = attrgetter(*_DELIVERY_COLUMNS)
SET_DECISION = "update tickets set decision_id = ? where ticket_id = ?"
INSERT_EVENT = "insert into events values (?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_RECORD = {
    dm.Classification: f"insert into classifications values ({placeholders(dm.Classification._fields)})",
    dm.Delivery: PUT_DELIVERY,
    dm.Attempt: f"insert into attempts values ({placeholders(dm.Attempt._fields)}) on conflict do nothing",
    dm.BatchItem: PUT_BATCH_ITEM,
}


def insert_tickets(db: Connection, tickets: Sequence[dm.Ticket]) -> int:
    """Insert tickets whose identity is free; return how many there were."""
    if all(ticket[GIVEN_COLUMNS:COLUMN_COUNT] == NEW_TICKET_DEFAULTS for ticket in tickets):
        return write_all(db, _INSERT_NEW_TICKET, [ticket[:GIVEN_COLUMNS] for ticket in tickets])
    # Their decisions come later: to insert an answer that a ticket refers to already, SQLite looks through all tickets.
    return write_all(db, INSERT_TICKET, [ticket._replace(decision_id=None)[:COLUMN_COUNT] for ticket in tickets])


def update_tickets(db: Connection, changes: Sequence[dm.Change]) -> None:
    """Write changed tickets; the caller has checked their revisions."""
    rewritten: list[tuple[Any, ...]] = []
    decided: list[tuple[Any, ...]] = []
    delivered: list[tuple[Any, ...]] = []
    for change in changes:
        ticket = change.ticket
        if ticket and change.rewrites:
            rewritten.append(ticket[:COLUMN_COUNT])
        elif ticket and change.delivers:  # a third less to write, and no reference to be looked up
            delivered.append(_delivery_values(ticket))
        elif ticket:
            decided.append(ticket[:1] + ticket[GIVEN_COLUMNS:COLUMN_COUNT])
    write_all(db, _UPDATE_TICKETS, rewritten)
    write_all(db, _DECIDE_TICKETS, decided)
    write_all(db, _DELIVER_TICKETS, delivered)


# Bytes that must be free for a paid question or a delivery. The results in flight take less than 4 MB; the rest is for
# another program that fills the disk, at 25 MB/s, before they have come.
DISK_ROOM = 32 << 20


class SqliteDialect(Dialect):
    """The dialect of SQLite, where a transaction holds the write lock from its start."""

    clock = ":now"  # of this machine
    monday = "date({day}, '-6 days', 'weekday 1')"
    answer = """json_extract(tickets.answers, '$."{question}".{field}')"""
    tickets_by_ending = "select * from tickets where ticket_id like '%' || :ending order by ticket_id desc limit :limit"
    due_deliveries, due_deliveries_of = DUE_DELIVERIES, DUE_DELIVERIES_OF
    free_batch = f"(run_id is null or run_id not in {LIVE_RUNS})"
    chain_end = "select seq, hash, key from chain"
    before_rename = (CATEGORY_INDEX,)

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._path = database.path

    def check_room(self) -> None:
        """Raise `StoreUnavailableError` if paid answers or the results of deliveries might find no room on the disk."""
        if is_full(Path(self._path), DISK_ROOM):
            raise dm.StoreUnavailableError(
                f"the disk of {self._path} has less than {DISK_ROOM >> 20} MB left: "
                "answers and results might find no room",
                hint=f"nothing was lost; free some space and {dm.Step.AGAIN}",
            )

    def scrub(self) -> None:
        """Rewrite the file, so that no erased or overwritten byte is left in it, in its log, or in unfinished copies.

        Raises `UnavailableError` if another program keeps reading an older state, or restores one.
        """
        erase_leftovers(self._path)
        with self._database.errors_translated():
            db = self._database.connection()
            db.execute("pragma temp_store = file")  # a vacuum copies the whole database
            db.execute("vacuum")
            db.execute("pragma temp_store = memory")
            other_readers = db.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if other_readers:
            raise dm.UnavailableError(
                f"another program is reading {self._path}, so its write-ahead log still holds what was erased",
                hint=f"{dm.Step.AGAIN} when that has ended",
            )

    # -- runs

    def run_began(self) -> None:
        """Give this thread's connection the cache of a bulk command."""
        self._database.connection().execute(f"pragma cache_size = -{BULK_CACHE}")

    def run_ended(self) -> None:
        """Give this thread's connection its usual cache, since a server has many."""
        self._database.connection().execute(f"pragma cache_size = -{USUAL_CACHE}")

    def claim(self, db: sqlite3.Connection, selection: dm.Selection, lease: dm.Lease, limit: int) -> list[dm.Ticket]:
        conditions, values = where_clauses.where_claimable(selection)
        values |= {"run": lease.run_id, "now": time.time(), "limit": limit}
        query = CLAIMABLE_TICKETS.format(where=" and ".join([*conditions, UNCLAIMED_TICKET]))
        with closing(db.execute(query, values)) as rows:
            claimable = starmap(dm.Ticket, rows)
            tickets = list(claimable if selection.ids is not None else dm.first_of(claimable))
        claimed_ids = dm.compact([ticket.ticket_id for ticket in tickets])
        taken_over = {row[0] for row in db.execute(TAKE_OVER_TICKETS, (claimed_ids,)).fetchall()}
        db.execute(INSERT_CLAIMS, {"run": lease.run_id, "ids": claimed_ids})
        if not taken_over:
            return tickets
        return [t._replace(revision=t.revision + 1) if t.ticket_id in taken_over else t for t in tickets]

    # -- the one write

    def check_changed(
        self, db: sqlite3.Connection, changes: Sequence[dm.Change]
    ) -> tuple[Mapping[CountedGroup, int], Sequence[str]]:
        if not changes:
            return {}, ()
        expected = {change.ticket.ticket_id: change.expected_revision for change in changes if change.ticket}
        rows = db.execute(UNMOVED_BEFORE, (dm.compact(expected),)).fetchall()
        unmoved = {row[:4]: row[4] for row in rows}
        if sum(unmoved.values()) == len(expected):
            return unmoved, ()
        return unmoved, [row[0] for row in db.execute(MOVED_ON, (dm.compact(expected),))]

    def insert_tickets(self, db: sqlite3.Connection, tickets: Sequence[dm.Ticket]) -> bool:
        if len(tickets) >= MANY_ROWS:  # the chunk of an import, whose thread is not the one that began the run
            db.execute(f"pragma cache_size = -{BULK_CACHE}")
        return insert_tickets(db, tickets) == len(tickets)

    def add_records(self, db: sqlite3.Connection, record_type: type[Any], rows: Sequence[Any]) -> None:
        write_all(db, INSERT_RECORD[record_type], rows)

    def add_events(
        self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], head: dm.Head, mark: str | None
    ) -> None:
        write_all(db, INSERT_EVENT, rows)
        self._database.logs()
        db.execute(SET_HEAD, (head.events, head.head, mark))

    def finish_tickets(self, db: sqlite3.Connection, new: Sequence[dm.Ticket], changed: Sequence[dm.Change]) -> None:
        """Write the decisions of new tickets, and changed tickets.

        The hashes of the events were made before this long update, during which other threads of Python can work.
        """
        db.executemany(SET_DECISION, [(t.decision_id, t.ticket_id) for t in new if t.decision_id])
        update_tickets(db, changed)


class SqliteStore(SqlStore):
    """The store in a file. Raises `StoreError` or `UnavailableError`.

    If there is no file, reads find nothing; writes create it with `make`, else they raise `NoDatabaseError`. With
    `absent`, `path` is only a name, and no file is used. With `read_only`, no byte of the file is written.
    """

    database: SqliteDatabase

    def __init__(
        self,
        path: str,
        audit_key: bytes | None = None,
        *,
        make: bool = True,
        absent: bool = False,
        read_only: bool = False,
    ) -> None:
        opened = AbsentDatabase if absent else ReadOnlyDatabase if read_only else SqliteDatabase
        database = opened(path, make=make and not absent and not read_only)
        super().__init__(path, database, SqliteDialect(database), audit_key)
        self.read_only = self.words.read_only = read_only

    def backup(self, path: Path) -> None:
        """Write a consistent copy of the database and a head file.

        Raises `UsageError` if the file exists, and `StoreError` if the database is damaged.
        """
        if path.exists():
            raise dm.UsageError(f"{path} exists already", hint="name a new file")
        if not self.database.is_there():
            raise dm.NoDatabaseError(self.database.path)
        with self.database.errors_translated():
            source_connection = self.database.connection()
        part_file = path.with_name(f"{path.name}.part")  # the copy gets its name once it is complete
        try:
            part_file.unlink(missing_ok=True)
            make_private(part_file)
        except OSError as error:
            hint = "name a file in a folder you may write"
            raise dm.StoreError(f"cannot write {path}: {error.strerror}", hint=hint) from error
        try:
            with closing(sqlite3.connect(part_file)) as backup_connection:
                source_connection.backup(backup_connection)
                (integrity,) = backup_connection.execute("pragma quick_check(1)").fetchone()
                if integrity != "ok":
                    hint = "keep the earlier backups; triage db restore FILE goes back to one"
                    raise dm.StoreError(
                        f"{self.database.path} is damaged, so no backup was made: {integrity}", hint=hint
                    )
                seq, head = backup_connection.execute("select seq, hash from chain").fetchone()
            Path(f"{path}.head").unlink(missing_ok=True)  # it may be a link to a file elsewhere
            write_head(str(path), dm.Head(head, seq))
            part_file.rename(path)
        except sqlite3.OperationalError as error:
            raise translate(error, str(path)) from error
        except sqlite3.Error as error:
            raise translate(error, self.database.path) from error
        finally:
            part_file.unlink(missing_ok=True)
