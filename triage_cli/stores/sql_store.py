"""The part of a store that SQLite and PostgreSQL share: reads, and writes of single rows."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from triage_cli.domain.audit import hash_chain
from triage_cli.domain.audit.events import EventQuery, Head, LoggedEvent
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.chunks import NAMED, chunked
from triage_cli.domain.decisions import Classification, QuestionSpec
from triage_cli.domain.deliveries import Delivery, OutgoingDelivery
from triage_cli.domain.evaluation.error_bounds import StoredBound
from triage_cli.domain.explanation.history import History
from triage_cli.domain.ids import forgotten
from triage_cli.domain.insight.stats import Stats, StatsGroup, StatsQuery
from triage_cli.domain.runs import Lease, Run
from triage_cli.domain.serialization import compact, storable_text
from triage_cli.domain.sources import SourceCursor
from triage_cli.domain.tickets import Selection, Ticket
from triage_cli.domain.times import now
from triage_cli.stores import shared_sql, where_clauses
from triage_cli.stores.batch_tables import BatchTables
from triage_cli.stores.categories import Renames
from triage_cli.stores.database import Db
from triage_cli.stores.delivery_tables import DeliveryTables
from triage_cli.stores.erasure import FORGOT, Erasure
from triage_cli.stores.leases import Leases
from triage_cli.stores.money import MoneyTables

PAGE = 500
# What a ticket's id can end with.
ENDING = re.compile("[0-9A-Fa-f-]{6,36}")


class SqlStore(Leases, Erasure, Renames, BatchTables, DeliveryTables, MoneyTables, ABC):
    """The part of `ports.Store` that both dialects share; `path` names the database.

    A store that is `read_only` is for callers that change nothing.
    """

    path: str
    audit_key: bytes | None
    read_only = False

    def check_room(self) -> None:
        """Do nothing: how much room a server has is not known here."""

    def end(self, run: Run) -> None:
        """Record how a run ended, and free its tickets."""

        def end(db: Db) -> None:
            self._book(db, run.run_id, run.spent)
            values = (run.ended_at, run.counts, run.exit_code, run.summary, run.spent, run.run_id)
            db.execute(shared_sql.END, values)
            db.execute("delete from claims where run_id = ?", (run.run_id,))

        self.database.write(end)

    def due(
        self, destination: str, lease: Lease, limit: int, *, ids: Sequence[str] | None = None
    ) -> list[OutgoingDelivery]:
        """Claim due deliveries that no live run holds, the oldest first."""
        values = {"destination": destination, "run": lease.run_id, "limit": limit}
        if ids is not None:
            values["ids"] = compact(list(ids))
        deliveries, tickets = self._due(lease, values)
        tickets_by_id = {ticket.ticket_id: ticket for ticket in tickets}
        deliveries.sort(key=lambda d: (d.due_at, d.delivery_id))
        return [OutgoingDelivery(d, tickets_by_id[d.ticket_id]) for d in deliveries]

    @abstractmethod
    def _due(self, lease: Lease, values: Mapping[str, Any]) -> tuple[list[Delivery], list[Ticket]]:
        """Claim due deliveries in a transaction; return them with their tickets."""

    def exited(self, run_id: str, code: int) -> None:
        """Record the exit code of a run that has ended."""
        self._write("update runs set exit_code = ? where run_id = ?", (code, run_id))

    def record_question(self, question: QuestionSpec) -> None:
        """Record a question, once per fingerprint."""
        if not self.database.read("select 1 from askings where fingerprint = ?", (question.fingerprint,)):
            self._write("insert into askings values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing", question)

    def keep_model(self, fingerprint: str, weights: bytes, metrics: Mapping[str, object]) -> None:
        """Store the weights of a model under its fingerprint; a store that only reads does without."""
        if self.read_only:
            return
        self._write(shared_sql.PUT_MODEL, (fingerprint, weights, hash_chain.canonical(metrics), now()))

    # -- reads

    def model(self, fingerprint: str) -> bytes | None:
        """Return the weights that are stored under a fingerprint, or None."""
        rows = self.database.read("select weights from models where fingerprint = ?", (fingerprint,))
        return rows[0][0] if rows else None

    def recall(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return earlier answers of paid classifiers, by answer key."""
        answers = self._answers(self.database.read(shared_sql.RECALL, (compact(list(answer_keys)),)))
        return {answer.answer_key: answer for answer in answers}

    def known(self, identities: Sequence[str]) -> Mapping[str, Ticket]:
        """Return the stored tickets among these identities."""
        rows = self.database.read(shared_sql.BY_IDENTITY, (compact(list(identities)),))
        return {ticket.identity: ticket for ticket in (Ticket(*row) for row in rows)}

    def cursor(self, source: str) -> SourceCursor | None:
        """Return how far a source has been read."""
        rows = self.database.read("select source, position, saved_at from source_cursors where source = ?", (source,))
        return SourceCursor(*rows[0]) if rows else None

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Yield tickets in the order of the selection, or of its ids if it has some.

        No transaction stays open between two tickets.
        """
        if selection.ids is not None:
            yield from islice(self._in_order_of(selection.ids, selection), selection.limit)
            return
        if selection.sort:
            yield from self._sorted(selection)
            return
        remaining = selection.limit
        urgent = selection.order == "urgent"
        order = "urgency, ticket_id" if urgent else "ticket_id desc"
        while remaining is None or remaining > 0:
            where, values = where_clauses.position(selection) if urgent else where_clauses.where(selection)
            if selection.after and not urgent:
                where.append("ticket_id < :after_id")
                values |= {"after_id": storable_text(selection.after)}
            page = PAGE if remaining is None else min(remaining, PAGE)
            condition = " and ".join(where) or "true"
            tickets, more = self.database.page(condition, order, page, values)
            yield from tickets
            if not more:
                return
            remaining = None if remaining is None else remaining - len(tickets)
            last = tickets[-1]
            selection = selection._replace(after=f"{last.urgency}{last.ticket_id}" if urgent else last.ticket_id)

    def _sorted(self, selection: Selection) -> Iterator[Ticket]:
        left = selection.limit
        while left is None or left > 0:
            page = where_clauses.SORTED if left is None else min(left, where_clauses.SORTED)
            query, values = where_clauses.sorted_ids(selection)
            sorted_ids = [row[0] for row in self.database.read(query, values | {"page": page})]
            yield from self._in_order_of(sorted_ids, Selection())
            if len(sorted_ids) < page:
                return
            left = None if left is None else left - page
            selection = selection._replace(after=sorted_ids[-1])

    def _in_order_of(self, ids: Sequence[str], conditions: Selection) -> Iterator[Ticket]:
        for chunk in chunked(ids, NAMED):
            where, values = where_clauses.where(conditions._replace(ids=tuple(chunk)))
            rows = self.database.read(f"select * from tickets where {' and '.join(where)}", values)
            tickets_by_id = {row[0]: Ticket(*row) for row in rows}
            yield from (tickets_by_id[i] for i in chunk if i in tickets_by_id)

    def named(self, name: str, limit: int) -> list[Ticket]:
        """Return the tickets with this id, ending (6 or more characters) or external id, newest first."""
        rows = self.database.read("select * from tickets where ticket_id = ?", (name,))
        if not rows:
            values = {"low": f"{name}\t", "high": f"{name}\n", "limit": limit}
            rows = self.database.read(shared_sql.NAMED, values)
            if ENDING.fullmatch(name):  # else a search through all tickets would find none
                rows += [row for row in self._ending(name, limit) if row not in rows]
        return [Ticket(*row) for row in rows]

    def _ending(self, ending: str, limit: int) -> list[Any]:
        return self.database.read(shared_sql.ENDING, {"ending": f"%{ending}", "limit": limit})

    def decisions(self, classification_ids: Sequence[str]) -> Mapping[str, Classification]:
        """Return these answers, by classification id."""
        rows = self.database.read(shared_sql.DECISIONS, (compact(list(classification_ids)),))
        return {answer.classification_id: answer for answer in self._answers(rows)}

    def answers(self, ticket_ids: Sequence[str], fingerprints: Sequence[str]) -> list[Classification]:
        """Return all answers about these tickets to these questions, oldest first."""
        values = (compact(list(ticket_ids)), compact(list(fingerprints)))
        return self._answers(self.database.read(shared_sql.ANSWERS, values))

    def history(self, ticket_id: str) -> History:
        """Return a ticket with its answers, deliveries, attempts, events and questions."""
        values = (ticket_id,)
        ticket = Ticket(*self.database.read("select * from tickets where ticket_id = ?", values)[0])
        events = tuple(self.events(EventQuery(ticket_id=ticket_id)))
        return History(
            ticket=ticket,
            classifications=tuple(self._answers(self.database.read(shared_sql.ANSWERS_OF, values))),
            deliveries=self.deliveries([ticket_id]).get(ticket_id, ()),
            attempts=self.attempts(ticket_id),
            events=events,
            questions={row[0]: QuestionSpec(*row) for row in self.database.read(shared_sql.ASKINGS_OF, values)},
            bounds=tuple(StoredBound(*row) for row in self.database.read(shared_sql.BOUNDS_OF, values)),
            ended_early=self._ended_early(ticket, events),
            holder=self._holder(ticket_id),
        )

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Yield events, oldest first; with a limit, the newest of them."""
        where, values = where_clauses.where_events(query)
        after = query.after
        if query.limit is not None:
            values["limit"] = query.limit
            rows = self.database.read(f"select seq from events where {where} order by seq desc limit :limit", values)
            if not rows:
                return
            after = max(after, rows[-1][0] - 1)
        while True:
            rows = self.database.read(shared_sql.EVENTS.format(where=where, page=PAGE), values | {"after": after})
            yield from (LoggedEvent(*row) for row in rows)
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    def head(self) -> Head:
        """Return the head of the audit log that the database records."""
        seq, head = self.database.read("select seq, hash from chain")[0]
        return Head(head, seq)

    def stats(self) -> Stats:
        """Return the counts of the whole store."""
        deliveries: dict[str, dict[str, int]] = {}
        for destination, state, number in self.delivery_counts():
            deliveries.setdefault(destination, {})[state] = number
        audited = self.database.read(shared_sql.AUDITED.format(among=""))
        by_status = self.counted("status")
        return Stats(
            tickets=sum(by_status.values()),
            by_status=by_status,
            by_category=self.counted("category"),
            by_classifier=self.counted("classifier"),
            by_day=dict(sorted(self.counted("day").items())),
            deliveries=deliveries,
            cost_usd=self.cost(),
            events=self.head().events,
            waiting=self.waiting(),
            audited={name: {"asked": asked, "agreed": agreed} for name, asked, agreed in audited},
            oldest_pending_delivery=self.oldest_pending_delivery(),
        )

    def stats_by(self, query: StatsQuery) -> list[StatsGroup]:
        """Return the counts of each group of tickets, in no order."""
        number = len(query.by)
        rows = self.database.read(*where_clauses.grouped(query))
        return [StatsGroup(dict(zip(query.by, row[:number], strict=True)), *row[number:]) for row in rows]

    # -- inside a transaction

    def _chained(
        self, chain: tuple[int, str, str | None], changes: Sequence[Change]
    ) -> tuple[Sequence[tuple[Any, ...]], Head, str | None]:
        """Return the rows that continue the log, its new head, and the mark of its key; `chain` is its present end."""
        seq, prev, mark = chain
        own_mark = hash_chain.same(mark, self.audit_key)
        events = (event for change in changes for event in change.events)
        rows, head = hash_chain.append(Head(prev, seq), events, self.audit_key)
        return rows, head, own_mark

    def _claimed_deliveries(
        self, db: Db, lease: Lease, query: str, values: Mapping[str, Any]
    ) -> tuple[list[Delivery], list[Ticket]]:
        self._check_run(db, lease)
        self.renew_lease(db, lease)
        deliveries = [Delivery(*row) for row in db.execute(query, values).fetchall()]
        return deliveries, self._tickets(db, [d.ticket_id for d in deliveries])

    def _new_tickets(self, db: Db, changes: Sequence[Change], conflicts: dict[str, Conflict]) -> list[Ticket]:
        """Return the new tickets; adds a conflict for each that was forgotten before, which is left out."""
        new_tickets = [c.ticket for c in changes if c.ticket and not c.expected_revision]
        gone = self._forgotten(db, new_tickets)
        conflicts |= gone
        return [ticket for ticket in new_tickets if ticket.ticket_id not in gone] if gone else new_tickets

    def _tickets(self, db: Db, ids: Sequence[str]) -> list[Ticket]:
        return [Ticket(*row) for row in db.execute(shared_sql.BY_ID, (compact(list(ids)),))]

    def _identified(self, db: Db, identities: Sequence[str]) -> list[Ticket]:
        return [Ticket(*row) for row in db.execute(shared_sql.BY_IDENTITY, (compact(list(identities)),))]

    def _forgotten(self, db: Db, new_tickets: Sequence[Ticket]) -> dict[str, Conflict]:
        """Return conflicts for new tickets that were forgotten before they could be stored, by id."""
        if not new_tickets or not db.execute(FORGOT).fetchone():
            return {}
        new_ids = {forgotten(t.identity): t.ticket_id for t in new_tickets}
        return {new_ids[t.identity]: Conflict(t) for t in self._identified(db, list(new_ids))}

    def _taken(self, db: Db, new_tickets: Sequence[Ticket]) -> dict[str, Conflict]:
        """Return conflicts for new tickets whose identity another ticket has, by their id."""
        owners = {t.identity: t for t in self._identified(db, [t.identity for t in new_tickets])}
        return {
            t.ticket_id: Conflict(owners[t.identity])
            for t in new_tickets
            if owners[t.identity].ticket_id != t.ticket_id
        }
