"""The part of a store that SQLite and PostgreSQL share: all its tables, and what is read from several of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from triage_cli.domain import (
    Change,
    Conflict,
    EventQuery,
    History,
    Lease,
    QuestionSpec,
    SourceCursor,
    Stats,
    StatsGroup,
    StatsQuery,
    StoredBound,
    Ticket,
    canonical,
    now,
    refusals,
)
from triage_cli.stores import where_clauses
from triage_cli.stores.answer_tables import (
    ANSWERS_OF_TICKET,
    AUDITED_ANSWERS,
    BOUNDS_OF_TICKET,
    QUESTIONS_OF_TICKET,
    AnswerTables,
)
from triage_cli.stores.batch_tables import BatchTables
from triage_cli.stores.delivery_tables import DeliveryTables
from triage_cli.stores.erasure import Erasure
from triage_cli.stores.event_tables import EventTables

PUT_CURSOR = """insert into source_cursors values (?, ?, ?) on conflict (source)
    do update set position = excluded.position, saved_at = excluded.saved_at"""
PUT_MODEL = """insert into models values (?, ?, ?, ?) on conflict (fingerprint) do update set
    weights = excluded.weights, metrics = excluded.metrics, at = excluded.at"""


class SqlStore(DeliveryTables, AnswerTables, Erasure, BatchTables, EventTables, ABC):
    """The part of `ports.Store` that both dialects share; `path` names the database.

    A store that is `read_only` is for callers that change nothing.
    """

    path: str
    audit_key: bytes | None
    read_only = False

    def check_room(self) -> None:
        """Do nothing: how much room a server has is not known here."""

    def save(
        self, changes: Sequence[Change], lease: Lease | None = None, cursor: SourceCursor | None = None
    ) -> list[Conflict | None]:
        """Write changes and their events in one transaction; returns a conflict for each ticket that has moved on."""
        if not changes and cursor is None:
            return []
        return refusals(changes, self._save(changes, lease, cursor))

    @abstractmethod
    def _save(self, changes: Sequence[Change], lease: Lease | None, cursor: SourceCursor | None) -> dict[str, Conflict]:
        """Write changes as `save` does; return the conflicts by ticket id."""

    def keep_model(self, fingerprint: str, weights: bytes, metrics: Mapping[str, object]) -> None:
        """Store the weights of a model under its fingerprint; a store that only reads does without."""
        if self.read_only:
            return
        self._write(PUT_MODEL, (fingerprint, weights, canonical(metrics), now()))

    def model(self, fingerprint: str) -> bytes | None:
        """Return the weights that are stored under a fingerprint, or None."""
        model_rows = self.database.read("select weights from models where fingerprint = ?", (fingerprint,))
        return model_rows[0][0] if model_rows else None

    def cursor(self, source: str) -> SourceCursor | None:
        """Return how far a source has been read."""
        cursor_rows = self.database.read(
            "select source, position, saved_at from source_cursors where source = ?", (source,)
        )
        return SourceCursor(*cursor_rows[0]) if cursor_rows else None

    def history(self, ticket_id: str) -> History:
        """Return a ticket with its answers, deliveries, attempts, events and questions."""
        ticket_values = (ticket_id,)
        ticket = Ticket(*self.database.read("select * from tickets where ticket_id = ?", ticket_values)[0])
        events = tuple(self.events(EventQuery(ticket_id=ticket_id)))
        return History(
            ticket=ticket,
            classifications=tuple(self._answers(self.database.read(ANSWERS_OF_TICKET, ticket_values))),
            deliveries=self.deliveries([ticket_id]).get(ticket_id, ()),
            attempts=self.attempts(ticket_id),
            events=events,
            questions={row[0]: QuestionSpec(*row) for row in self.database.read(QUESTIONS_OF_TICKET, ticket_values)},
            bounds=tuple(StoredBound(*row) for row in self.database.read(BOUNDS_OF_TICKET, ticket_values)),
            ended_early=self._ended_early(ticket, events),
            holder=self._holder(ticket_id),
        )

    def stats(self) -> Stats:
        """Return the counts of the whole store."""
        deliveries_by_state: dict[str, dict[str, int]] = {}
        for destination, state, delivery_count in self.delivery_counts():
            deliveries_by_state.setdefault(destination, {})[state] = delivery_count
        audit_agreement = self.database.read(AUDITED_ANSWERS.format(among=""))
        by_status = self.counted("status")
        return Stats(
            tickets=sum(by_status.values()),
            by_status=by_status,
            by_category=self.counted("category"),
            by_classifier=self.counted("classifier"),
            by_day=dict(sorted(self.counted("day").items())),
            deliveries=deliveries_by_state,
            cost_usd=self.cost(),
            events=self.head().events,
            waiting=self.waiting(),
            audited={name: {"asked": asked, "agreed": agreed} for name, asked, agreed in audit_agreement},
            oldest_pending_delivery=self.oldest_pending_delivery(),
        )

    def stats_by(self, query: StatsQuery) -> list[StatsGroup]:
        """Return the counts of each group of tickets, in no order."""
        key_count = len(query.by)
        group_rows = self.database.read(*where_clauses.grouped(query))
        return [StatsGroup(dict(zip(query.by, row[:key_count], strict=True)), *row[key_count:]) for row in group_rows]
