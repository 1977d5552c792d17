"""The use cases, as the command line, the API and agents see them: local or on another instance."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from triage_cli.domain.audit import EventQuery, Head, LoggedEvent
from triage_cli.domain.decisions import ClassifyPlan, Decided, Flip, ReclassifyPlan
from triage_cli.domain.deliveries import Routed, RoutePlan
from triage_cli.domain.runs import Outcome, Run
from triage_cli.domain.tickets import Category, Rejected, Selection, Ticket, TicketDraft, VerdictDraft
from triage_cli.domain.views import History, Stats, Why


class Triage(Protocol):
    """All a user can do. A light object, one a command or request: it knows its actor and can be told to stop."""

    def create(self, drafts: Iterable[TicketDraft | Rejected]) -> Iterator[Outcome[Ticket]]:
        """Store drafts; one outcome each, in order."""

    def classify(self, selection: Selection, plan: ClassifyPlan) -> Iterator[Outcome[Decided]]:
        """Ask a classifier about tickets."""

    def route(self, selection: Selection, plan: RoutePlan) -> Iterator[Outcome[Routed]]:
        """Send tickets where the routing map says, and deliver what is due."""

    def run(self, drafts: Iterable[TicketDraft | Rejected], plan: ClassifyPlan) -> Iterator[Outcome[Routed]]:
        """Create, classify and route in one pass; no outcome comes more than `streams.WINDOW` rows after its turn."""

    def reclassify(self, selection: Selection, plan: ReclassifyPlan) -> Iterator[Outcome[Flip]]:
        """Ask again about tickets that a machine decided; answers are kept as proposals, and hold where asked to.

        Raises `CheckError`, with nothing changed, where more would flip than the plan allows.
        """

    def give_verdicts(self, verdicts: Iterable[VerdictDraft]) -> Iterator[Outcome[Ticket]]:
        """Give a person's categories, or take them back; one outcome each, in order.

        `did` is `verdict`, `cleared`, `unchanged` or `rejected`: no such ticket or category, as a `RowError`.
        """

    def categories(self) -> tuple[Category, ...]:
        """Return the categories that a ticket may get."""

    def runs(self, limit: int | None) -> Iterator[Run]:
        """Walk over the bulk commands, the latest first."""

    def find(self, selection: Selection) -> Iterator[Ticket]:
        """Walk over tickets, newest first, or in the order of review."""

    def resolve(self, name: str) -> str:
        """Return the id of the one ticket of this name. Raises `NotFoundError` or `AmbiguousError`."""

    def history(self, name: str) -> History:
        """Return everything known of one ticket."""

    def why(self, name: str) -> Why:
        """Tell how a ticket was decided."""

    def events(self, query: EventQuery) -> Iterator[LoggedEvent]:
        """Walk over the audit log, oldest first."""

    def stats(self) -> Stats:
        """Return the counts of the whole store."""

    def audit_head(self) -> Head:
        """Return where the audit log ends."""

    @property
    def spent(self) -> float:
        """Return what was spent by this object so far, in USD."""

    def stop(self) -> None:
        """Take no new work; what is in flight ends and is kept."""
