"""The tools of the MCP server. Their docstrings and parameters are what an agent reads; no ticket's text is in them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from pydantic import Field

from triage_cli.domain import (
    AgentSuggestionDraft,
    ClassifyPlan,
    Priority,
    Selection,
    SimilarQuery,
    StatsKey,
    StatsQuery,
    Status,
    Suspicion,
    TextQuestion,
    Ticket,
    TicketDraft,
    TriageError,
    UsageError,
    agent_name,
    group_record,
    storable_or_none,
    times,
    to_seconds,
)
from triage_cli.mcp_server import tool_answers
from triage_cli.ports import Consultation, Triage

MAX_WAIT = 20.0  # seconds that a tool waits for an outage of a provider
STATS_DAYS = 31
STATS_GROUPS = 200
Waiting = Literal["needs_review", "failed", "new", "pending_delivery", "dead_letter", "unroutable"]
STATUS_BY_KIND: dict[Waiting, Status] = {
    "needs_review": "needs_review",
    "failed": "failed",
    "new": "new",
    "pending_delivery": "routing",
    "dead_letter": "undeliverable",
    "unroutable": "unroutable",
}
NEXT_STEPS: dict[Waiting, str] = {
    "needs_review": "a person decides: triage review, or triage verdict TICKET CATEGORY",
    "failed": "triage classify asks again; the error says what went wrong",
    "new": "triage classify asks about them",
    "pending_delivery": "triage route, or a running triage serve, delivers what is due",
    "dead_letter": "mend the destination, then triage route --retry-dead",
    "unroutable": "add a rule to routes in the configuration, then triage route",
}
TicketName = Annotated[
    str,
    Field(
        min_length=1, max_length=400, description="its id, the last 6 or more characters of that, or its external id"
    ),
]
PageLimit = Annotated[int, Field(ge=1, le=50, description="tickets in one answer")]
DayOrTime = Annotated[
    str | None, Field(max_length=40, description="ISO 8601, such as 2026-11-01 or 2026-11-01T08:00:00Z")
]
CategoryName = Annotated[str, Field(min_length=1, max_length=80, description="one of explain_category, in any case")]


class ReadTools:
    """The tools that change nothing. `max_cost` limits what all texts of the session may cost, in USD."""

    def __init__(self, triage: Triage, consultation: Consultation, max_cost: float) -> None:
        self._triage = triage
        self._consultation = consultation
        self._max_cost = max_cost
        self._suspicion = Suspicion(category.name for category in triage.categories())

    def search_tickets(
        self,
        text: Annotated[str | None, Field(max_length=1000, description="a part of subject or description")] = None,
        status: Annotated[list[Status], Field(description="any of these; empty: all")] = [],  # noqa: B006
        category: Annotated[list[str], Field(max_length=50, description="any of these; empty: all")] = [],  # noqa: B006
        customer_id: Annotated[str | None, Field(max_length=1000)] = None,
        priority: Priority | None = None,
        since: DayOrTime = None,
        until: DayOrTime = None,
        limit: PageLimit = 20,
        cursor: Annotated[str, Field(max_length=80, description="next_cursor of the page before")] = "",
    ) -> tool_answers.TicketPage:
        """Find tickets that meet all conditions, the newest first, a page at a time.

        Each is a summary; get_ticket reads one whole. `since` and `until` are about when a ticket was stored.
        """
        ticket_selection = Selection(
            search=text,
            statuses=frozenset(status),
            categories=tuple(category),
            customer_id=customer_id,
            priority=priority,
            since=_time_argument(since),
            until=_time_argument(until),
            after=cursor,
            limit=limit + 1,
        )
        found_tickets = list(self._triage.find(ticket_selection))
        next_cursor = found_tickets[limit - 1].ticket_id if len(found_tickets) > limit else None
        return tool_answers.TicketPage(tickets=self._summaries(found_tickets[:limit]), next_cursor=next_cursor)

    def get_ticket(
        self,
        ticket_id: TicketName,
        offset: Annotated[int, Field(ge=0, description="next_offset, for more of a long description")] = 0,
    ) -> tool_answers.TicketAnswer:
        """Read one ticket: its text, who decided it, where it was sent, and the explanation of its decisions."""
        history = self._triage.history(ticket_id)
        why = self._triage.why(history.ticket.ticket_id)
        return tool_answers.TicketAnswer.of_history(history, why, self._suspicion, offset)

    def similar_tickets(
        self,
        ticket_id: TicketName,
        decided: Annotated[bool, Field(description="only tickets that a person decided")] = False,
        limit: PageLimit = 5,
    ) -> tool_answers.SimilarTickets:
        """Find the tickets with the most similar texts, the most similar first: how others like it were decided."""
        found = self._triage.similar(ticket_id, SimilarQuery(decided=decided, limit=limit))
        summaries = self._summaries([each.ticket for each in found])
        return tool_answers.SimilarTickets(
            tickets=summaries, similarities=[round(each.similarity, 4) for each in found]
        )

    def get_stats(
        self,
        group_by: Annotated[list[StatsKey], Field(description="count in groups with the same of these")] = [],  # noqa: B006
        since: DayOrTime = None,
        until: DayOrTime = None,
    ) -> tool_answers.StatsAnswer:
        """Count all tickets by status, category and day, deliveries by destination, and costs in USD.

        With `group_by` it also counts groups; `since` and `until` hold for the groups alone.
        """
        stats = self._triage.stats()
        period = Selection(since=_time_argument(since), until=_time_argument(until))
        stats_query = StatsQuery(period, tuple(dict.fromkeys(group_by)))
        groups = self._triage.stats_by(stats_query)[:STATS_GROUPS] if group_by else []
        return tool_answers.StatsAnswer(
            tickets=stats.tickets,
            by_status=dict(stats.by_status),
            by_category=dict(stats.by_category),
            by_day=dict(sorted(stats.by_day.items())[-STATS_DAYS:]),
            deliveries={name: dict(states) for name, states in stats.deliveries.items()},
            cost_usd=stats.cost_usd,
            groups=[group_record(group) for group in groups],
        )

    def list_waiting(self, kind: Waiting = "needs_review", limit: PageLimit = 20) -> tool_answers.WaitingPage:
        """Count the tickets that wait, and list the first ones of one kind.

        needs_review: for a person's decision, the most informative first. failed, new: for a classifier.
        pending_delivery: for the next attempt. dead_letter: deliveries that were given up. unroutable: no rule matches.
        """
        counts_by_status = self._triage.stats().by_status
        order = "review" if kind == "needs_review" else "newest"
        ticket_selection = Selection(statuses=frozenset({STATUS_BY_KIND[kind]}), order=order, limit=limit)
        return tool_answers.WaitingPage(
            counts={name: counts_by_status.get(status, 0) for name, status in STATUS_BY_KIND.items()},
            next_step=NEXT_STEPS[kind],
            tickets=self._summaries(self._triage.find(ticket_selection)),
        )

    def explain_category(self, category: CategoryName | None = None) -> tool_answers.CategoryList:
        """Explain one category, or all: what belongs to it, the confidence that it needs, and where its tickets go."""
        profiles = self._consultation.category_profiles()
        named = [p for p in profiles if category is None or category.casefold() in map(str.casefold, (p.name, *p.was))]
        if not named:
            hint = f"the categories are {', '.join(profile.name for profile in profiles)}"
            raise UsageError(f'no category "{category}"', hint=hint)
        return tool_answers.CategoryList(categories=[tool_answers.CategoryAnswer.of(profile) for profile in named])

    def preview_route(self, ticket_id: TicketName, category: CategoryName | None = None) -> tool_answers.RouteAnswer:
        """Return where a ticket would be sent now and why; nothing is sent.

        With `category`: as if a person had given it that one.
        """
        return tool_answers.RouteAnswer(**self._consultation.preview_route(ticket_id, category)._asdict())

    def classify_text(
        self,
        text: Annotated[str, Field(min_length=1, max_length=100_000, description="the text of a ticket")],
        subject: Annotated[str | None, Field(max_length=1000, description="its subject, if there is one")] = None,
        classifier: Annotated[
            str | None, Field(max_length=80, description="one of the configuration; else its default")
        ] = None,
    ) -> tool_answers.TextClassification:
        """Return how a ticket with this text would be classified; nothing is stored.

        A classifier that asks a language model costs money each time, within the limit of this session.
        """
        budget_left = max(0.0, self._max_cost - self._consultation.spent)
        plan = ClassifyPlan(classifier, max_cost=budget_left, max_wait=MAX_WAIT)
        return tool_answers.TextClassification.of(self._consultation.classify_text(TextQuestion(subject, text), plan))

    def _summaries(self, tickets: Iterable[Ticket]) -> list[tool_answers.TicketSummary]:
        return [tool_answers.TicketSummary.of(ticket, self._suspicion) for ticket in tickets]


class WriteTools:
    """The tools that `--allow-writes` adds; none sets a category or sends a ticket."""

    def __init__(self, triage: Triage, consultation: Consultation) -> None:
        self._triage = triage
        self._consultation = consultation

    def create_ticket(
        self,
        context: Context,
        subject: Annotated[str, Field(min_length=1, max_length=1000)],
        description: Annotated[str | None, Field(max_length=100_000)] = None,
        customer_id: Annotated[str | None, Field(max_length=400, description="whose ticket it is")] = None,
        priority: Priority | None = None,
    ) -> tool_answers.CreatedTicket:
        """Store a new ticket, with your name as its source; each call makes another one.

        It gets the status new: the next `triage classify` and `triage route` process it.
        """
        draft = TicketDraft(
            subject=storable_or_none(subject),
            description=storable_or_none(description),
            customer_id=storable_or_none(customer_id),
            priority=priority,
            source=f"agent:{_agent_name_of(context)}",
            origin="typed",
        )
        if not draft.text.strip():
            raise UsageError("the ticket has no text", hint="give a subject that says what it is about")
        for outcome in self._triage.create([draft]):
            if outcome.value is not None:
                ticket = outcome.value
                return tool_answers.CreatedTicket(ticket_id=ticket.ticket_id, status=ticket.status, source=draft.source)
            raise outcome.error or TriageError("the ticket was not stored", hint="try again")
        raise TriageError("the ticket was not stored: the server is stopping", hint="try again later")

    def suggest_category(
        self,
        context: Context,
        ticket_id: TicketName,
        category: CategoryName,
        reason: Annotated[str | None, Field(max_length=2000, description="why, for the person who reviews it")] = None,
    ) -> tool_answers.RecordedSuggestion:
        """Suggest a category for a ticket, with your name; people see it in `triage review`.

        It is no verdict: the ticket keeps its category and status. Your next suggestion for it replaces this one.
        """
        draft = AgentSuggestionDraft(ticket_id, category, _agent_name_of(context), reason)
        recorded = self._consultation.suggest(draft)
        return tool_answers.RecordedSuggestion(
            ticket_id=recorded.ticket_id, category=recorded.category, agent=recorded.agent, at=recorded.at
        )


def _agent_name_of(context: Context) -> str:
    """Return the agent's name, which the MCP client of this session gives itself."""
    client = context.session.client_params
    return agent_name(client.client_info.name if client else "")


def _time_argument(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return times.timestamp(datetime.fromtimestamp(to_seconds(text), UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f'"{text}" is no time', hint="write it as 2026-11-01 or 2026-11-01T08:00:00Z") from error
