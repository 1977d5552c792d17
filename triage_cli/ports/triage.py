"""The use cases, as the command line, the API and agents call them: in this process or on another instance."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from triage_cli.domain.audit.events import EventQuery, Head, LoggedEvent
from triage_cli.domain.decisions import ClassifyPlan, Decided
from triage_cli.domain.deliveries import Routed, RoutePlan
from triage_cli.domain.explanation.history import History, Why
from triage_cli.domain.insight.stats import Stats, StatsGroup, StatsQuery
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.reclassification import Flip, ReclassifyPlan
from triage_cli.domain.runs import Run
from triage_cli.domain.tickets import Category, Rejected, Selection, Ticket, TicketDraft, VerdictDraft


class Triage(Protocol):
    """All that a user can do. A light object, made for each command or request, that knows its actor."""

    def create(self, drafts: Iterable[TicketDraft | Rejected]) -> Iterator[Outcome[Ticket]]:
        """Store drafts; one outcome each, in order."""

    def classify(self, selection: Selection, plan: ClassifyPlan) -> Iterator[Outcome[Decided]]:
        """Classify tickets and record the decisions."""

    def route(self, selection: Selection, plan: RoutePlan) -> Iterator[Outcome[Routed]]:
        """Route tickets by the routing map, then deliver what is due."""

    def run(self, drafts: Iterable[TicketDraft | Rejected], plan: ClassifyPlan) -> Iterator[Outcome[Routed]]:
        """Create, classify and route in one pass. An outcome is at most `outcomes.MOST_ROWS_LATE` rows out of order.

        One without a row is a ticket of which a delivery that an earlier run left became a dead letter.
        """

    def reclassify(self, selection: Selection, plan: ReclassifyPlan) -> Iterator[Outcome[Flip]]:
        """Classify tickets again that no person decided; answers are stored as proposals.

        They are applied if the plan says so. Raises `CheckError`, with nothing changed, if more tickets would flip than
        the plan allows.
        """

    def give_verdicts(self, verdicts: Iterable[VerdictDraft]) -> Iterator[Outcome[Ticket]]:
        """Set categories by hand, or clear them; one outcome each, in order. Of several on a ticket the last one holds.

        `action` is `verdict`, `cleared`, `unchanged` or `rejected`; a rejected one has a `RowError`: no such ticket or
        category.
        """

    def forget(self, customer_id: str) -> Iterator[Outcome[Routed]]:
        """Erase the text of a customer's tickets; `routed_to` of each says where its text was sent."""

    def categories(self) -> tuple[Category, ...]:
        """Return the categories that a ticket may get."""

    def runs(self, limit: int | None) -> Iterator[Run]:
        """Yield the bulk commands, the latest first."""

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Yield tickets, newest first, or in the order of review."""

    def resolve(self, name: str) -> str:
        """Return the id of the only ticket with this name. Raises `NotFoundError` or `AmbiguousError`."""

    def history(self, name: str) -> History:
        """Return a ticket with its answers, deliveries, attempts, events and questions."""

    def why(self, name: str) -> Why:
        """Return how a ticket was decided."""

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Yield the events of the audit log, oldest first."""

    def stats(self) -> Stats:
        """Return the counts of the whole store."""

    def stats_by(self, query: StatsQuery) -> list[StatsGroup]:
        """Return the counts of each group of tickets, ordered by their keys."""

    def audit_head(self) -> Head:
        """Return the head of the audit log."""

    @property
    def spent(self) -> float:
        """Return what this object has spent so far, in USD."""

    def stop(self) -> None:
        """Stop taking new work; what is in flight is completed and saved."""
