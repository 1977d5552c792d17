"""Ports of the use cases, which the command line, the API and agents call: in this process or on another instance."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Protocol

from triage_cli import domain as dm

HeaderKey = Annotated[str, dm.Limits(64, 64)]  # the hash of a file's columns


class Triage(Protocol):
    """Port of all that a user can do. A light object, made for each command or request, that knows its actor."""

    def create(
        self, drafts: Iterable[dm.TicketDraft | dm.Rejected], *, same_tickets: bool = False
    ) -> Iterator[dm.Outcome[dm.Ticket]]:
        """A `Triage` stores drafts; one outcome each, in order.

        Raises `InputError` if known ids would get the texts of other tickets, unless they are the `same_tickets`.
        """

    def classify(self, selection: dm.Selection, plan: dm.ClassifyPlan) -> Iterator[dm.Outcome[dm.Decided]]:
        """A `Triage` classifies tickets and records the decisions."""

    def route(self, selection: dm.Selection, plan: dm.RoutePlan) -> Iterator[dm.Outcome[dm.Routed]]:
        """A `Triage` routes tickets by its routing map, then delivers what is due."""

    def run(
        self, drafts: Iterable[dm.TicketDraft | dm.Rejected], plan: dm.ClassifyPlan, *, same_tickets: bool = False
    ) -> Iterator[dm.Outcome[dm.Routed]]:
        """A `Triage` creates, classifies, routes in one pass; outcomes are at most `MOST_ROWS_LATE` rows out of order.

        An outcome without a row: a delivery of a ticket, which an earlier run left, became a dead letter. Raises as
        `create`.
        """

    def reclassify(self, selection: dm.Selection, plan: dm.ReclassifyPlan) -> Iterator[dm.Outcome[dm.Flip]]:
        """A `Triage` asks again about tickets that no person decided, and stores the answers as proposals.

        It applies them if the plan says so. Raises `CheckError`, with nothing changed, if more tickets would flip than
        the plan allows.
        """

    def give_verdicts(self, verdicts: Iterable[dm.VerdictDraft]) -> Iterator[dm.Outcome[dm.Ticket]]:
        """A `Triage` sets or clears the verdicts of people; one outcome each, in order. A ticket's last verdict holds.

        `action` is `verdict`, `cleared`, `unchanged` or `rejected`; a rejected one has a `RowError`: no such ticket or
        category.
        """

    def forget(self, customer_id: str) -> Iterator[dm.Outcome[dm.Routed]]:
        """A `Triage` erases the text of a customer's tickets; `routed_to` of each says where its text was sent."""

    def imported(self, name: str) -> tuple[dm.Run, ...]:
        """A `Triage` returns the runs of an import, the oldest first.

        `name` is the id of one of them, its ending of 6 or more characters, or `last`: the last one of this actor.
        Raises `NotFoundError`, `AmbiguousError`, or `UsageError` for a run that imports nothing or is still at work.
        """

    def undo(self, name: str, *, dry_run: bool = False) -> Iterator[dm.Outcome[dm.Routed]]:
        """A `Triage` takes back an import; one outcome for each ticket that it made or changed.

        Those that it made and nobody touched since are `withdrawn` (in a dry run they would be), with `routed_to` where
        their text was sent, or perhaps sent. The others stay, and `action` says why. Raises as `imported`.
        """

    def categories(self) -> tuple[dm.Category, ...]:
        """A `Triage` knows the categories that a ticket may get."""

    def questions(self) -> tuple[dm.Question, ...]:
        """A `Triage` knows the questions that tickets are asked, that for the category first."""

    def last_reading(self, header: HeaderKey) -> dm.Reading | None:
        """A `Triage` knows how a file with this header was read the last time, None if there was none."""

    def keep_reading(self, header: HeaderKey, reading: dm.Reading) -> None:
        """A `Triage` records how a file with this header was read."""

    def runs(self, limit: dm.WholeNumber | None) -> Iterator[dm.Run]:
        """A `Triage` lists the runs of bulk commands, the latest first."""

    def find(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        """A `Triage` yields tickets, newest first, or in the order of review."""

    def review_page(self, selection: dm.Selection) -> dm.ReviewPage:
        """A `Triage` returns a page of the tickets that a selection has in the order of review, at most `limit`."""

    def resolve(self, name: str) -> str:
        """A `Triage` returns the id of the only ticket with this name. Raises `NotFoundError` or `AmbiguousError`."""

    def history(self, name: str) -> dm.History:
        """A `Triage` returns a ticket with its answers, deliveries, attempts, events and questions."""

    def why(self, name: str) -> dm.Why:
        """A `Triage` explains how a ticket was decided."""

    def similar(self, name: str, query: dm.SimilarQuery) -> list[dm.SimilarTicket]:
        """A `Triage` returns the tickets with the most similar texts, the most similar first."""

    def events(self, query: dm.EventQuery) -> Iterator[dm.LoggedEvent]:
        """A `Triage` yields the events of the audit log, oldest first."""

    def labelled_texts(self, query: dm.TextQuery) -> Iterator[dm.Labelled]:
        """A `Triage` yields the labelled texts that are no tickets, the last stored first."""

    def stats(self) -> dm.Stats:
        """A `Triage` returns the counts of its whole store."""

    def stats_by(self, query: dm.StatsQuery) -> list[dm.StatsGroup]:
        """A `Triage` returns the counts of each group of tickets, ordered by their keys."""

    def overruled(self, since: str | None, until: str | None) -> list[dm.Overruled]:
        """A `Triage` tells how often the verdicts of a period overruled a machine, by week and its category."""

    def audit_head(self) -> dm.Head:
        """A `Triage` returns the head of its audit log."""

    @property
    def spent(self) -> float:
        """A `Triage` knows what it has spent so far, in USD."""

    def stop(self) -> None:
        """A `Triage` stops taking new work; what is in flight is completed and saved."""


class Consultation(Protocol):
    """Port of questions about what would happen, to this process or another instance; no answer changes a ticket."""

    @property
    def spent(self) -> float:
        """A `Consultation` knows what its answers have cost so far, in USD."""

    def classify_text(self, question: dm.TextQuestion, plan: dm.ClassifyPlan) -> dm.TextAnswer:
        """A `Consultation` classifies a text without storing it; what that costs is booked on the budget."""

    def preview_route(self, name: str, category: str | None = None) -> dm.RoutePreview:
        """A `Consultation` previews where a ticket would be sent; with a category, as if a person had given that."""

    def category_profiles(self) -> list[dm.CategoryProfile]:
        """A `Consultation` lists the categories with their thresholds and rules, in the order of the configuration."""

    def suggest(self, draft: dm.AgentSuggestionDraft) -> dm.AgentSuggestion:
        """A `Consultation` records an agent's suggestion, once while the agent does not change it.

        Raises `NotFoundError`, `AmbiguousError`, or `RowError` for an unknown question or value, a forgotten ticket,
        or one for which too many agents suggest something already.
        """
