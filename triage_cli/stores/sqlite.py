"""The store in one SQLite file: claims with leases, one write for all changes, the audit chain under the write lock."""

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from triage_cli import auditing
from triage_cli.codec import compact
from triage_cli.errors import StoreError, UsageError
from triage_cli.ids import now
from triage_cli.models import (
    Asking,
    Attempt,
    Change,
    Classification,
    Conflict,
    Delivery,
    EventQuery,
    Head,
    History,
    Lease,
    LoggedEvent,
    Parcel,
    Run,
    Selection,
    Stats,
    Ticket,
)
from triage_cli.stores import queries
from triage_cli.stores.auditing import keep_head, write_head
from triage_cli.stores.connection import connect, translate
from triage_cli.stores.forgetting import Forgetting

PAGE = 500


class SqliteStore(Forgetting):
    """Implements `ports.Store` on one file; a connection a thread. Raises `StoreError` or `UnavailableError`.

    `audit_key` is the key of the audit log's hashes, if they have one.
    """

    def __init__(self, path: str, audit_key: bytes | None = None) -> None:
        self.path = path
        self._audit_key = audit_key
        self._local = threading.local()

    # -- runs and leases

    def begin(self, run: Run) -> Run:
        """Record a run and start its lease; what a dead process on this machine held is free from here on."""
        run = run._replace(host=socket.gethostname(), pid=os.getpid())
        with self._writing() as db:
            self._free_the_dead(db)
            spent = db.execute(queries.CONTINUED, (run.kind, run.words, time.time())).fetchone()[0]
            db.execute(queries.CLOSE_CONTINUED, (now(), run.kind, run.words, time.time()))
            marks = ",".join("?" * len(run))
            db.execute(f"insert into runs values ({marks}, ?)", (*run, time.time() + Lease(run.run_id).seconds))
        keep_head(db, self.path)
        return run._replace(spent=spent)

    def spent_since(self, moment: str) -> float:
        """Return what all runs since then have spent or set aside, those that were killed included."""
        said = "select coalesce(sum(spent + reserved), 0) from runs where started_at >= ?"
        spent: float = self._read(said, (moment,))[0][0]
        return spent

    def end(self, run: Run) -> None:
        """Record how a run ended; its tickets and deliveries are free."""
        with self._writing() as db:
            db.execute(
                "update runs set ended_at = ?, counts = ?, exit_code = ?, summary = ?, spent = ?, reserved = 0 "
                "where run_id = ?",
                (run.ended_at, run.counts, run.exit_code, run.summary, run.spent, run.run_id),
            )
            db.execute("delete from claims where run_id = ?", (run.run_id,))
        keep_head(db, self.path)

    def _free_the_dead(self, db: sqlite3.Connection) -> None:
        rows = db.execute("select run_id, pid from runs where ended_at is null and host = ?", (socket.gethostname(),))
        for run_id, pid in rows.fetchall():
            if not _alive(pid):
                db.execute("update runs set lease_until = 0 where run_id = ? and lease_until > 0", (run_id,))

    def claim(self, selection: Selection, lease: Lease, limit: int) -> list[Ticket]:
        """Take hold of up to `limit` tickets that no live run holds, urgent first, then oldest."""
        where, values = queries.where(selection)
        if selection.after:
            where.append("(urgency, ticket_id) > (:after_urgency, :after_id)")
            values |= {"after_urgency": int(selection.after[0]), "after_id": selection.after[1:]}
        values |= {"run": lease.run_id, "now": time.time(), "limit": limit}
        with self._writing() as db:
            self._renew(db, lease)
            said = queries.CLAIMABLE.format(where=" and ".join([*where, queries.FREE]))
            tickets = [Ticket._make((*row, lease.run_id)) for row in db.execute(said, values).fetchall()]
            ids = compact([ticket.ticket_id for ticket in tickets])
            before = {row[0] for row in db.execute(queries.TAKE_OVER, (ids,)).fetchall()}
            db.execute(queries.CLAIM, (lease.run_id, ids))
        return [t._replace(revision=t.revision + 1) if t.ticket_id in before else t for t in tickets]

    def due(self, destination: str, lease: Lease, limit: int, *, horizon: float = 0.0) -> list[Parcel]:
        """Take hold of pending deliveries due within `horizon` seconds that no live run holds, the oldest first."""
        values = {
            "destination": destination,
            "run": lease.run_id,
            "now": time.time(),
            "horizon": horizon,
            "limit": limit,
        }
        with self._writing() as db:
            self._renew(db, lease)
            deliveries = [Delivery(*row) for row in db.execute(queries.DUE, values).fetchall()]
            tickets = {t.ticket_id: t for t in self._tickets(db, [d.ticket_id for d in deliveries])}
        deliveries.sort(key=lambda d: (d.due_at, d.delivery_id))
        return [Parcel(d, tickets[d.ticket_id]) for d in deliveries]

    def owed(self) -> list[str]:
        """Return the destinations that have pending deliveries."""
        return [row[0] for row in self._read("select distinct destination from deliveries where state = 'pending'")]

    def next_due(self) -> float | None:
        """Return when the next pending delivery falls due, in seconds since 1970."""
        due: float | None = self._read("select min(due_at) from deliveries where state = 'pending'")[0][0]
        return due

    def switched_off(self) -> frozenset[str]:
        """Return the destinations that said they are gone for good."""
        return frozenset(row[0] for row in self._read("select destination from switched_off"))

    def switch(self, destination: str, *, off: bool) -> None:
        """Switch a destination off, or on again."""
        with self._writing() as db:
            if off:
                db.execute("insert or ignore into switched_off values (?, ?)", (destination, now()))
            else:
                db.execute("delete from switched_off where destination = ?", (destination,))

    def _renew(self, db: sqlite3.Connection, lease: Lease) -> None:
        until = time.time() + lease.seconds
        db.execute(queries.RENEW, (until, lease.spent, lease.reserved, lease.run_id))

    # -- the one write

    def save(self, changes: Sequence[Change], lease: Lease | None = None) -> list[Conflict | None]:
        """Write changes and their events in one transaction; a change whose ticket moved on is refused."""
        if not changes:
            return []
        with self._writing() as db:
            if lease is not None:
                self._renew(db, lease)
            conflicts = self._moved_on(db, changes)
            new = [c.ticket for c in changes if c.ticket and not c.expects]
            if new and queries.insert_tickets(db, new) < len(new):
                conflicts |= self._taken(db, new)
            kept = [c for c in changes if not c.ticket or c.ticket.ticket_id not in conflicts] if conflicts else changes
            self._add(db, kept)
            after = [c.ticket for c in kept if c.ticket and c.expects]
            queries.write_all(db, queries.UPDATE_TICKETS, [ticket[:-1] for ticket in after])
            db.execute(queries.LET_GO, (compact([t.ticket_id for t in after if not t.run_id]),))
            self._hold(db, [t for t in new if t.run_id and t.ticket_id not in conflicts])
            self._log(db, kept)
        return [conflicts.get(c.ticket.ticket_id) if c.ticket else None for c in changes]

    def _hold(self, db: sqlite3.Connection, tickets: Sequence[Ticket]) -> None:
        for run_id in {ticket.run_id for ticket in tickets}:
            db.execute(queries.CLAIM, (run_id, compact([t.ticket_id for t in tickets if t.run_id == run_id])))

    def _moved_on(self, db: sqlite3.Connection, changes: Sequence[Change]) -> dict[str, Conflict]:
        """Find the tickets that no longer stand at the revision a change was decided on."""
        expected = {c.ticket.ticket_id: c.expects for c in changes if c.ticket and c.expects}
        if not expected:
            return {}
        moved = [row[0] for row in db.execute(queries.MOVED_ON, (compact(expected),))]
        now = {t.ticket_id: t for t in self._tickets(db, moved)} if moved else {}
        return {ticket_id: Conflict(now.get(ticket_id)) for ticket_id in moved}

    def _taken(self, db: sqlite3.Connection, new: Sequence[Ticket]) -> dict[str, Conflict]:
        """Find the new tickets whose identity another one had taken."""
        here = {t.identity: t for t in self._identified(db, [t.identity for t in new])}
        return {t.ticket_id: Conflict(here[t.identity]) for t in new if here[t.identity].ticket_id != t.ticket_id}

    def _add(self, db: sqlite3.Connection, changes: Sequence[Change]) -> None:
        added = [row for change in changes for row in change.adds]
        if not added:
            return
        for kind, insert in (
            (Classification, queries.INSERT_CLASSIFICATION),
            (Delivery, queries.PUT_DELIVERY),
            (Attempt, queries.INSERT_ATTEMPT),
        ):
            queries.write_all(db, insert, [row for row in added if type(row) is kind])

    def _log(self, db: sqlite3.Connection, changes: Sequence[Change]) -> None:
        seq, prev, mark = db.execute("select seq, hash, key from chain").fetchone()
        mine = auditing.mark(self._audit_key)
        if mark is not None and mark != mine:
            raise StoreError(
                "the audit log is written with a key, and TRIAGE_AUDIT_KEY does not hold it",
                hint="set it to the key that this log was begun with",
            )
        rows, head = auditing.append(Head(prev, seq), (change.event for change in changes), self._audit_key)
        queries.write_all(db, queries.INSERT_EVENT, rows)
        db.execute("update chain set seq = ?, hash = ?, key = ?", (head.events, head.head, mine))

    def note_asking(self, asking: Asking) -> None:
        """Record what is asked, once per fingerprint."""
        if not self._read("select 1 from askings where fingerprint = ?", (asking.fingerprint,)):
            with self._writing() as db:
                db.execute("insert or ignore into askings values (?, ?, ?, ?, ?, ?, ?, ?)", asking)

    def keep_model(self, fingerprint: str, weights: bytes, metrics: Mapping[str, object]) -> None:
        """Keep weights under a fingerprint."""
        with self._writing() as db:
            values = (fingerprint, weights, auditing.canonical(metrics), now())
            db.execute("insert or replace into models values (?, ?, ?, ?)", values)

    # -- reads

    def model(self, fingerprint: str) -> bytes | None:
        """Return the weights kept under a fingerprint."""
        rows = self._read("select weights from models where fingerprint = ?", (fingerprint,))
        return rows[0][0] if rows else None

    def recall(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return earlier answers that cost something, by their key."""
        rows = [Classification(*row) for row in self._read(queries.RECALL, (compact(list(answer_keys)),))]
        return {answer.answer_key: answer for answer in rows}

    def known(self, identities: Sequence[str]) -> Mapping[str, Ticket]:
        """Return the stored tickets among these identities."""
        with self._translated():
            return {t.identity: t for t in self._identified(self._db(), identities)}

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Walk over tickets, newest first; with ids, in their order. No transaction stays open between two tickets."""
        if selection.ids is not None:
            yield from self._in_order_of(selection.ids)
            return
        left = selection.limit
        while left is None or left > 0:
            where, values = queries.where(selection)
            if selection.after:
                where.append("ticket_id < :after_id")
                values |= {"after_id": selection.after}
            page = PAGE if left is None else min(left, PAGE)
            said = " and ".join(where) or "true"
            rows = self._read(f"select * from tickets where {said} order by ticket_id desc limit {page}", values)
            yield from (Ticket(*row) for row in rows)
            if len(rows) < page:
                return
            left = None if left is None else left - page
            selection = selection._replace(after=rows[-1][0])

    def _in_order_of(self, ids: Sequence[str]) -> Iterator[Ticket]:
        for start in range(0, len(ids), PAGE):
            chunk = ids[start : start + PAGE]
            with self._translated():
                found = {t.ticket_id: t for t in self._tickets(self._db(), chunk)}
            yield from (found[i] for i in chunk if i in found)

    def named(self, name: str, limit: int) -> list[Ticket]:
        """Return the tickets with this id, ending (6 or more characters) or external id, newest first."""
        rows = self._read("select * from tickets where ticket_id = ?", (name,))
        if not rows:
            rows = self._read(queries.NAMED, {"name": name, "limit": limit})
            if len(name) >= 6:
                values = {"ending": f"%{queries.escaped(name)}", "limit": limit}
                rows += [row for row in self._read(queries.ENDING, values) if row not in rows]
        return [Ticket(*row) for row in rows]

    def decisions(self, classification_ids: Sequence[str]) -> Mapping[str, Classification]:
        """Return these answers by their id."""
        rows = self._read(queries.DECISIONS, (compact(list(classification_ids)),))
        return {row[0]: Classification(*row) for row in rows}

    def deliveries(self, ticket_ids: Sequence[str]) -> Mapping[str, tuple[Delivery, ...]]:
        """Return what each ticket's destinations are owed, oldest first."""
        found: dict[str, list[Delivery]] = {}
        for row in self._read(queries.DELIVERIES, (compact(list(ticket_ids)),)):
            delivery = Delivery(*row)
            found.setdefault(delivery.ticket_id, []).append(delivery)
        return {ticket_id: tuple(deliveries) for ticket_id, deliveries in found.items()}

    def history(self, ticket_id: str) -> History:
        """Return everything known of one ticket."""
        one = (ticket_id,)
        ticket = Ticket(*self._read("select * from tickets where ticket_id = ?", one)[0])
        answers = tuple(Classification(*r) for r in self._read(queries.ANSWERS_OF, one))
        deliveries = self.deliveries([ticket_id]).get(ticket_id, ())
        attempts = tuple(Attempt(*r) for r in self._read(queries.ATTEMPTS_OF, one))
        askings = {a[0]: Asking(*a) for a in self._read(queries.ASKINGS_OF, one)}
        events = tuple(self.events(EventQuery(ticket_id=ticket_id)))
        return History(ticket, answers, deliveries, attempts, events, askings)

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Walk over the audit log, oldest first, a page at a time."""
        where, values = queries.where_events(query)
        after = query.after
        if query.limit is not None:
            values["limit"] = query.limit
            rows = self._read(f"select seq from events where {where} order by seq desc limit :limit", values)
            after = max(after, rows[-1][0] - 1 if rows else after)
            if not rows:
                return
        while True:
            rows = self._read(queries.EVENTS.format(where=where, page=PAGE), values | {"after": after})
            yield from (LoggedEvent(*row) for row in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    def head(self) -> Head:
        """Return where the audit log ends, as the database tells."""
        seq, head = self._read("select seq, hash from chain")[0]
        return Head(head, seq)

    def stats(self) -> Stats:
        """Count."""

        def count(column: str) -> dict[str, int]:
            said = f"select {column}, count(*) from tickets where {column} is not null group by 1 order by 2 desc, 1"
            return dict(self._read(said))

        deliveries: dict[str, dict[str, int]] = {}
        for destination, state, number in self._read(queries.DELIVERY_COUNTS):
            deliveries.setdefault(destination, {})[state] = number
        days = dict(self._read("select substr(stored_at, 1, 10), count(*) from tickets group by 1 order by 1"))
        cost = self._read("select coalesce(sum(cost), 0) from classifications")[0][0]
        events = self._read("select seq from chain")[0][0]
        by_status, by_category = count("status"), count("category")
        total = sum(by_status.values())
        return Stats(total, by_status, by_category, count("classifier"), days, deliveries, cost, events)

    def backup(self, path: Path) -> None:
        """Write a consistent copy of the live database to a new file."""
        if path.exists():
            raise UsageError(f"{path} exists already", hint="name a new file")
        try:
            target = sqlite3.connect(path)
        except sqlite3.OperationalError as error:
            raise StoreError(f"cannot write {path}: {error}", hint="name a file in a folder you may write") from error
        try:
            with self._translated():
                self._db().backup(target)
                seq, head = target.execute("select seq, hash from chain").fetchone()
                write_head(str(path), Head(head, seq))
        finally:
            target.close()

    # -- below: connections, transactions, errors

    def _tickets(self, db: sqlite3.Connection, ids: Sequence[str]) -> list[Ticket]:
        return [Ticket(*row) for row in db.execute(queries.BY_ID, (compact(list(ids)),))]

    def _identified(self, db: sqlite3.Connection, identities: Sequence[str]) -> list[Ticket]:
        return [Ticket(*row) for row in db.execute(queries.BY_IDENTITY, (compact(list(identities)),))]

    def _read(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        with self._translated():
            return self._db().execute(sql, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            db = self._db()
            # The write lock is taken before anything is read, so that what was read still holds when it is written.
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = connect(self.path)
        return db


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
