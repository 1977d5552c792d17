"""The store in a database: its parts, the one write of tickets, and what is read from several parts."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from triage_cli import domain as dm
from triage_cli.stores import where_clauses
from triage_cli.stores.answers import SqlAnswers
from triage_cli.stores.batches import SqlBatches
from triage_cli.stores.categories import SqlCategories
from triage_cli.stores.counts import Counts
from triage_cli.stores.database import Database, Db, upsert, write_all, write_one
from triage_cli.stores.deliveries import CHANGED_TICKET, SqlAdditions, SqlDeliveries
from triage_cli.stores.dialect import AnswerColumns, Dialect
from triage_cli.stores.events import SqlAuditLog
from triage_cli.stores.imports import SqlImports, SqlReadings
from triage_cli.stores.labelled_texts import SqlLabelledTexts
from triage_cli.stores.precedents import SqlPrecedents
from triage_cli.stores.runs import SqlRuns
from triage_cli.stores.tickets import MAYBE_FORGOTTEN, Tickets, erase_texts, names_of
from triage_cli.stores.word_index import SqlWordIndex

KNOWN_DELIVERIES = "select delivery_id from deliveries where delivery_id in (select value from json_each(?))"
RECORD_TYPES = (dm.Classification, dm.Delivery, dm.Attempt, dm.BatchItem)
PUT_CURSOR = upsert("source_cursors", dm.SourceCursor._fields, "source")
PUT_MODEL = upsert("models", ("fingerprint", "weights", "metrics", "at"), "fingerprint")


class _StillSentError(Exception):
    """Rolls back a write that erases tickets which are being sent, or were owed to a destination when it began."""

    def __init__(self, conflicts: Mapping[str, dm.Conflict]) -> None:
        super().__init__()
        self.conflicts = conflicts


class SqlStore:
    """Implements `ports.Store` on a database, in its dialect; `path` names the database.

    `audit_key` is the key of the audit log's hashes, if they have one. A store that is `read_only` is for callers that
    change nothing.
    """

    database: Database

    def __init__(self, path: str, database: Database, dialect: Dialect, audit_key: bytes | None) -> None:
        self.path = path
        self.database = database
        self.audit_key = audit_key
        self.read_only = False
        self._dialect = dialect
        self.log = SqlAuditLog(database, dialect, audit_key)
        self.runs = SqlRuns(database, dialect)
        self.answers = SqlAnswers(database, dialect)
        self.deliveries = SqlDeliveries(database, dialect, self.runs)
        self.batches = SqlBatches(database, dialect, self.runs, self.log)
        self.categories = SqlCategories(database, dialect, self.log)
        self.readings = SqlReadings(database)
        self.additions = SqlAdditions(database)
        self.imports = SqlImports(database, self.runs)
        self.labelled_texts = SqlLabelledTexts(database, self.runs, self.log)
        self.precedents = SqlPrecedents(database)
        self.words = SqlWordIndex(database)
        self._tickets = Tickets(database, dialect)
        self._counts = Counts(database)

    def is_there(self) -> bool:
        return self.database.is_there()

    def close(self) -> None:
        self.database.close()

    def columns_of(self, question: str) -> AnswerColumns:
        """Return the SQL of what a ticket has of a question of the configuration."""
        return self._dialect.columns_of(question)

    def check_room(self) -> None:
        self._dialect.check_room()

    # -- the one write

    def save(
        self, changes: Sequence[dm.Change], lease: dm.Lease | None = None, cursor: dm.SourceCursor | None = None
    ) -> list[dm.Conflict | None]:
        if not changes and cursor is None:
            return []

        # Attempts were made, and answers paid.
        repeatable = not any(
            type(a) is dm.Attempt or (type(a) is dm.Classification and a.cost)
            for change in changes
            for a in change.adds
        )

        def save(storable: Sequence[dm.Change]) -> Mapping[str, dm.Conflict]:
            try:
                return self.database.write(lambda db: self._write(db, storable, lease, cursor), repeatable=repeatable)
            except _StillSentError as still_sent:
                left = [c for c in storable if c.event.ticket_id not in still_sent.conflicts]
                return {**still_sent.conflicts, **save(left)}

        return dm.refusals(changes, self._dialect.with_storable(changes, save))

    def _write(
        self, db: Db, changes: Sequence[dm.Change], lease: dm.Lease | None, cursor: dm.SourceCursor | None
    ) -> Mapping[str, dm.Conflict]:
        """Write changes as `save` does, in an open transaction; return the conflicts by ticket id."""
        dialect, tickets, counts = self._dialect, self._tickets, self._counts
        if lease is not None:
            self.runs.renew_lease(db, lease)
        rewriting = [change for change in changes if change.ticket and change.rewrites]
        erasing = [change.ticket.ticket_id for change in rewriting if change.ticket and change.erases]
        names = names_of(db, erasing) if erasing else {}
        deliveries_before = counts.deliveries_before(db, changes)
        changed = [change for change in changes if change.ticket and change.expected_revision]
        tickets_before, moved_on = dialect.check_changed(db, changed)
        new = [change.ticket for change in changes if change.ticket and not change.expected_revision]
        forgotten = tickets.forgotten_before(db, new)
        new = [ticket for ticket in new if ticket.ticket_id not in forgotten]
        conflicts = tickets.moved_on(db, moved_on) | forgotten
        if new and not dialect.insert_tickets(db, new):
            conflicts |= tickets.identity_taken(db, new)
        kept, rewritten = dm.accepted(changes, conflicts), dm.accepted(rewriting, conflicts)
        added = chain.from_iterable([change.adds for change in kept])
        records: Mapping[type[Any], Sequence[Any]] = dm.grouped(added, type)
        with dialect.pipelined(db, kept):
            for record_type in RECORD_TYPES:
                dialect.add_records(db, record_type, records.get(record_type, ()))
            self.runs.spend(db, records.get(dm.Spent, ()))
            self.runs.pass_claims(db, kept)
            self.log.append(db, kept)
            dialect.finish_tickets(db, new, dm.accepted(changed, conflicts))
            imported = [change.event for change in rewritten if change.event.action == dm.EventAction.UPDATED]
            write_all(db, CHANGED_TICKET, [(event.ticket_id, event.at) for event in imported])
            counts.count(db, kept, records, tickets_before, deliveries_before)
            self.precedents.note(db, kept)
            self.words.drop(db, rewritten)
            if cursor is not None and not conflicts:
                db.execute(PUT_CURSOR, cursor)
        # Under the lock on the chain, so that who stores something about a ticket sees whether it was erased before.
        told_of = {c.event.ticket_id for c in kept if c.event.ticket_id and (c.adds or c.erases)}
        if erased := tickets.erased(db, told_of):
            if still_sent := self.deliveries.still_sent(db, erasing):
                raise _StillSentError({i: dm.Conflict(None) for i in still_sent})
            erase_texts(db, erased, {name for i in erased for name in names.get(i, ())})
        return conflicts

    def add_deliveries(self, changes: Sequence[dm.Change]) -> list[dm.Change]:
        """Write deliveries that are made once, with their events; return the changes that were not written before.

        Two programs that add the same ones wait for each other, as writers of the audit log do.
        """

        def add(db: Db) -> list[dm.Change]:
            self.log.lock(db)
            added_ids = [added.delivery_id for change in changes for added in change.adds if type(added) is dm.Delivery]
            known = {row[0] for row in db.execute(KNOWN_DELIVERIES, (dm.compact(added_ids),)).fetchall()}
            erased = self._tickets.erased(db, {c.event.ticket_id for c in changes if c.event.ticket_id})
            new = [
                change
                for change in changes
                if change.event.ticket_id not in erased
                and not any(type(a) is dm.Delivery and a.delivery_id in known for a in change.adds)
            ]
            if new:
                self._write(db, new, None, None)
            return new

        return self.database.write(add) if changes else []

    def scrub(self) -> None:
        self._dialect.scrub()

    def keep_model(self, fingerprint: str, weights: bytes, metrics: Mapping[str, object]) -> None:
        """Store the weights of a model under its fingerprint; a store that only reads does without."""
        if not self.read_only:
            write_one(self.database, PUT_MODEL, (fingerprint, weights, dm.canonical(metrics), dm.now()))

    # -- reads

    def known(self, identities: Sequence[str]) -> Mapping[str, dm.Ticket]:
        return self._tickets.known(identities)

    def find(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        return self._tickets.find(selection)

    def named(self, name: str, limit: int) -> list[dm.Ticket]:
        return self._tickets.named(name, limit)

    def forgot(self) -> bool:
        return bool(self.database.read(MAYBE_FORGOTTEN))

    def model(self, fingerprint: str) -> bytes | None:
        rows = self.database.read("select weights from models where fingerprint = ?", (fingerprint,))
        return rows[0][0] if rows else None

    def cursor(self, source: str) -> dm.SourceCursor | None:
        rows = self.database.read("select source, position, saved_at from source_cursors where source = ?", (source,))
        return dm.SourceCursor(*rows[0]) if rows else None

    def history(self, ticket_id: str) -> dm.History:
        ticket = dm.Ticket(*self.database.read("select * from tickets where ticket_id = ?", (ticket_id,))[0])
        events = tuple(self.log.events(dm.EventQuery(ticket_id=ticket_id)))
        return dm.History(
            ticket=ticket,
            classifications=self.answers.of_ticket(ticket_id),
            deliveries=self.deliveries.of([ticket_id]).get(ticket_id, ()),
            attempts=self.deliveries.attempts(ticket_id),
            events=events,
            questions=self.answers.askings_of(ticket_id),
            bounds=self.answers.bounds_of(ticket_id),
            ended_early=self.runs.ended_early(ticket, events),
            holder=self.runs.holder(ticket_id),
        )

    def stats(self) -> dm.Stats:
        counts = self._counts
        deliveries: dict[str, dict[str, int]] = {}
        for destination, state, number in counts.deliveries():
            deliveries.setdefault(destination, {})[state] = number
        by_status = counts.tickets("status")
        return dm.Stats(
            tickets=sum(by_status.values()),
            by_status=by_status,
            by_category=counts.tickets("category"),
            by_classifier=counts.tickets("classifier"),
            by_day=dict(sorted(counts.tickets("day").items())),
            deliveries=deliveries,
            cost_usd=self.runs.cost(),
            events=self.log.head().events,
            waiting=self.batches.waiting(),
            audited=self.answers.audited(),
            oldest_pending_delivery=counts.oldest_pending_delivery(),
            labelled_texts=self.labelled_texts.counts().by_use,
        )

    def stats_by(self, query: dm.StatsQuery) -> list[dm.StatsGroup]:
        keys = len(query.by)
        rows = self.database.read(*where_clauses.grouped(query, self._dialect))
        return [dm.StatsGroup(dict(zip(query.by, row[:keys], strict=True)), *row[keys:]) for row in rows]

    def gauges(self) -> dm.Gauges:
        return self._counts.gauges()
