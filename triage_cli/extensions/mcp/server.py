"""The MCP server over stdio, and its tools, by which an agent reads tickets and suggests categories."""

import inspect
import logging
import os
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, InputRequiredResult, Tool, ToolAnnotations
from pydantic import Field, ValidationError

from triage_cli import __version__
from triage_cli import domain as dm
from triage_cli.extensions.mcp import tool_answers
from triage_cli.extensions.mcp.tool_answers import INSTRUCTIONS, one_line
from triage_cli.ports import Consultation, Triage

MAX_WAIT = 20.0  # seconds that a tool waits for an outage of a provider
STATS_DAYS = 31
STATS_GROUPS = 200
Waiting = Literal["needs_review", "failed", "new", "pending_delivery", "dead_letter", "unroutable"]
# The status of the tickets of each kind, and the next step.
WAITING: dict[Waiting, tuple[dm.Status, str]] = {
    "needs_review": ("needs_review", "a person decides: triage review, or triage verdict TICKET CATEGORY"),
    "failed": ("failed", "triage classify asks again; the error says what went wrong"),
    "new": ("new", "triage classify asks about them"),
    "pending_delivery": ("routing", "triage route, or a running triage serve, delivers what is due"),
    "dead_letter": ("undeliverable", "mend the destination, then triage route --retry-dead"),
    "unroutable": ("unroutable", "add a rule to routes in the configuration, then triage route"),
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
QuestionName = Annotated[
    str, Field(min_length=1, max_length=80, description="a question, such as those in `answers` of a ticket")
]
GivenTo = Annotated[
    str, Field(pattern="^[^=]+=", max_length=200, description="QUESTION=VALUE; QUESTION= finds those where it is open")
]
CategoryName = Annotated[str, Field(min_length=1, max_length=80, description="one of explain_category, in any case")]


class ReadTools:
    """The tools that change nothing. `max_cost` limits what all texts of the session may cost, in USD."""

    def __init__(self, triage: Triage, consultation: Consultation, max_cost: float) -> None:
        self._triage = triage
        self._consultation = consultation
        self._max_cost = max_cost
        first, *further = triage.questions()
        self._suspicion = dm.Suspicion(category.name for category in first.values)
        self._questions = [question.name for question in further]

    def _meant(self, named_value: str) -> list[str]:
        question, _, value = named_value.partition("=")
        return dm.answers_meant(question, value, self._questions)

    def search_tickets(
        self,
        text: Annotated[str | None, Field(max_length=1000, description="a part of subject or description")] = None,
        status: Annotated[list[dm.Status], Field(description="any of these; empty: all")] = [],  # noqa: B006
        category: Annotated[list[str], Field(max_length=50, description="any of these; empty: all")] = [],  # noqa: B006
        answer: Annotated[
            list[GivenTo], Field(max_length=20, description="answers to questions, all of which hold")
        ] = [],  # noqa: B006
        customer_id: Annotated[str | None, Field(max_length=1000)] = None,
        priority: dm.Priority | None = None,
        since: DayOrTime = None,
        until: DayOrTime = None,
        limit: PageLimit = 20,
        cursor: Annotated[str, Field(max_length=80, description="next_cursor of the page before")] = "",
    ) -> tool_answers.TicketPage:
        """Find tickets that meet all conditions, the newest first, a page at a time.

        Each is a summary; get_ticket reads one whole. `since` and `until` are about when a ticket was stored.
        """
        ticket_selection = dm.Selection(
            search=text,
            statuses=frozenset(status),
            categories=tuple(category),
            answers=tuple(chain.from_iterable(map(self._meant, answer))),
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
        found = self._triage.similar(ticket_id, dm.SimilarQuery(decided=decided, limit=limit))
        summaries = self._summaries([each.ticket for each in found])
        return tool_answers.SimilarTickets(
            tickets=summaries, similarities=[round(each.similarity, 4) for each in found]
        )

    def get_stats(
        self,
        group_by: Annotated[
            list[dm.StatsKey | QuestionName], Field(max_length=20, description="count in groups with the same of these")
        ] = [],  # noqa: B006
        since: DayOrTime = None,
        until: DayOrTime = None,
    ) -> tool_answers.StatsAnswer:
        """Count all tickets by status, category and day, deliveries by destination, and costs in USD.

        With `group_by` it also counts groups; `since` and `until` hold for the groups alone.
        """
        stats = self._triage.stats()
        period = dm.Selection(since=_time_argument(since), until=_time_argument(until))
        spelled = (dm.parts_of(key, self._questions).values() or [key] for key in group_by)
        stats_query = dm.StatsQuery(period, tuple(dict.fromkeys(chain.from_iterable(spelled))))
        groups = self._triage.stats_by(stats_query)[:STATS_GROUPS] if group_by else []
        counts = {
            name: count for name, count in stats._asdict().items() if name in tool_answers.StatsAnswer.model_fields
        }
        counts["by_day"] = dict(sorted(stats.by_day.items())[-STATS_DAYS:])
        return tool_answers.StatsAnswer(**counts, groups=[dm.group_record(group) for group in groups])

    def list_waiting(self, kind: Waiting = "needs_review", limit: PageLimit = 20) -> tool_answers.WaitingPage:
        """Count the tickets that wait, and list the first ones of one kind.

        needs_review: for a person's decision, the most informative first. failed, new: for a classifier.
        pending_delivery: for the next attempt. dead_letter: deliveries that were given up. unroutable: no rule matches.
        """
        counts_by_status = self._triage.stats().by_status
        order = "review" if kind == "needs_review" else "newest"
        status, next_step = WAITING[kind]
        ticket_selection = dm.Selection(statuses=frozenset({status}), order=order, limit=limit)
        return tool_answers.WaitingPage(
            counts={name: counts_by_status.get(status, 0) for name, (status, _) in WAITING.items()},
            next_step=next_step,
            tickets=self._summaries(self._triage.find(ticket_selection)),
        )

    def explain_category(self, category: CategoryName | None = None) -> tool_answers.CategoryList:
        """Explain one category, or all: what belongs to it, the confidence that it needs, and where its tickets go."""
        profiles = self._consultation.category_profiles()
        named = [p for p in profiles if category is None or category.casefold() in map(str.casefold, (p.name, *p.was))]
        if not named:
            hint = f"the categories are {', '.join(profile.name for profile in profiles)}"
            raise dm.UsageError(f'no category "{category}"', hint=hint)
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
        plan = dm.ClassifyPlan(classifier, max_cost=budget_left, max_wait=MAX_WAIT)
        return tool_answers.TextClassification.of(
            self._consultation.classify_text(dm.TextQuestion(subject, text), plan)
        )

    def _summaries(self, tickets: Iterable[dm.Ticket]) -> list[tool_answers.TicketSummary]:
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
        priority: dm.Priority | None = None,
    ) -> tool_answers.CreatedTicket:
        """Store a new ticket, with your name as its source; each call makes another one.

        It gets the status new: the next `triage classify` and `triage route` process it.
        """
        draft = dm.TicketDraft(
            subject=dm.storable_or_none(subject),
            description=dm.storable_or_none(description),
            customer_id=dm.storable_or_none(customer_id),
            priority=priority,
            source=f"agent:{_agent_name_of(context)}",
            origin="typed",
        )
        if not draft.text.strip():
            raise dm.UsageError("the ticket has no text", hint="give a subject that says what it is about")
        for outcome in self._triage.create([draft]):
            if outcome.value is not None:
                ticket = outcome.value
                return tool_answers.CreatedTicket(ticket_id=ticket.ticket_id, status=ticket.status, source=draft.source)
            raise outcome.error or dm.TriageError("the ticket was not stored", hint="try again")
        raise dm.TriageError("the ticket was not stored: the server is stopping", hint="try again later")

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
        return self._suggested(dm.AgentSuggestionDraft(ticket_id, category, _agent_name_of(context), reason))

    def suggest_answer(
        self,
        context: Context,
        ticket_id: TicketName,
        question: QuestionName,
        value: Annotated[str, Field(min_length=1, max_length=80, description="one of the question's, in any case")],
        reason: Annotated[str | None, Field(max_length=2000, description="why, for the person who reviews it")] = None,
    ) -> tool_answers.RecordedSuggestion:
        """Suggest an answer to a question about a ticket, with your name; people see it in `triage review`.

        It is no verdict: the ticket keeps its answers and status. Your next suggestion on the question replaces it.
        """
        return self._suggested(dm.AgentSuggestionDraft(ticket_id, value, _agent_name_of(context), reason, question))

    def _suggested(self, draft: dm.AgentSuggestionDraft) -> tool_answers.RecordedSuggestion:
        recorded = self._consultation.suggest(draft)
        return tool_answers.RecordedSuggestion.of(recorded)


def _agent_name_of(context: Context) -> str:
    """Return the agent's name, which the MCP client of this session gives itself."""
    client = context.session.client_params
    return dm.agent_name(client.client_info.name if client else "")


def _time_argument(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return dm.times.timestamp(datetime.fromtimestamp(dm.to_seconds(text), UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise dm.UsageError(f'"{text}" is no time', hint="write it as 2026-11-01 or 2026-11-01T08:00:00Z") from error


# Seconds that a signal leaves a tool's call at work: hosts kill an MCP server 2 s after SIGTERM.
CALL_GRACE = 1.5
LONGEST_ERROR = 1000
OLD_TICKET_ID = "ticket"  # what the argument `ticket_id` of the tools was called, and is still taken as
READ_TOOLS = (
    "search_tickets",
    "get_ticket",
    "similar_tickets",
    "get_stats",
    "list_waiting",
    "explain_category",
    "preview_route",
)
WRITE_TOOLS = ("create_ticket", "suggest_category", "suggest_answer")
# What a host is told of a tool about which nothing else is said.
NO_HINTS = {"read_only_hint": False, "destructive_hint": False, "idempotent_hint": False, "open_world_hint": False}

_log = logging.getLogger("triage.mcp")


class AgentServer(MCPServer[None]):
    """An MCP server whose tools run one at a time; each error of a tool is one sentence with what to do next."""

    def __init__(
        self, triage: Triage, consultation: Consultation, *, max_cost: float, allow_writes: bool = False
    ) -> None:
        super().__init__("triage", title="triage", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
        self.call_lock = threading.Lock()  # use cases are objects of one caller
        read_tools = ReadTools(triage, consultation, max_cost)
        for name in READ_TOOLS:
            self._add_tool(getattr(read_tools, name), read_only_hint=True, idempotent_hint=True)
        # classify_text stores no ticket, but a language model may have to be paid, each time.
        self._add_tool(read_tools.classify_text, open_world_hint=True)
        if allow_writes:
            write_tools = WriteTools(triage, consultation)
            self._add_tool(write_tools.create_ticket)
            self._add_tool(write_tools.suggest_category, idempotent_hint=True)
            self._add_tool(write_tools.suggest_answer, idempotent_hint=True)

    def _add_tool(self, tool: Callable[..., Any], **hints: bool) -> None:
        title, described = tool.__name__.replace("_", " ").capitalize(), inspect.getdoc(tool)
        annotations = ToolAnnotations(**{**NO_HINTS, **hints})
        self.add_tool(_one_at_a_time(tool, self.call_lock), title=title, description=described, annotations=annotations)

    async def list_tools(self) -> list[Tool]:
        """Return the tools as an agent reads them in each session, so without what tells it nothing."""
        return [
            tool.model_copy(
                update={
                    "input_schema": _brief(tool.input_schema, unions=True),
                    "output_schema": _brief(tool.output_schema, unions=False),
                }
            )
            for tool in await super().list_tools()
        ]

    async def run_stdio_async(self) -> None:
        """Serve over stdin and stdout; calls with half a character in them are answered too."""
        async with stdio_server(_MendedLines(_diverted_stdin())) as (frames_in, frames_out):  # type: ignore[arg-type]
            options = self._lowlevel_server.create_initialization_options()
            await self._lowlevel_server.run(frames_in, frames_out, options)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool for an agent. Raises `ToolError` with one sentence."""
        tools = {tool.name: tool.input_schema.get("properties", {}) for tool in await self.list_tools()}
        if name not in tools:
            hint = "triage mcp --allow-writes offers it" if name in WRITE_TOOLS else f"the tools are {', '.join(tools)}"
            raise ToolError(f"there is no tool {_error_line(name)} here; {hint}")
        if OLD_TICKET_ID in arguments and "ticket_id" in tools[name].keys() - arguments.keys():
            arguments = {"ticket_id" if key == OLD_TICKET_ID else key: value for key, value in arguments.items()}
        if unknown_arguments := sorted(arguments.keys() - tools[name].keys()):
            unknown, taken = _error_line(unknown_arguments[0]), ", ".join(tools[name])
            raise ToolError(f"{name} has no argument {unknown}; it takes {taken}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            raise ToolError(_error_sentence(name, error)) from error


def _brief(schema: Any, *, unions: bool) -> Any:
    """Return a JSON schema that says the same in fewer words: without titles, and with null as one of two types.

    With `unions`, null stays a schema of its own: not every model takes a list of types in what it fills in.
    """
    if isinstance(schema, list):
        return [_brief(part, unions=unions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # A property may be called title, and is no string.
    brief = {
        key: _brief(part, unions=unions) for key, part in schema.items() if key != "title" or not isinstance(part, str)
    }
    match brief.get("anyOf"):
        case [{"type": str(kind), **rest}, {"type": "null"}] if not unions and "enum" not in rest:
            del brief["anyOf"]
            return {"type": [kind, "null"], **rest, **brief}
    return brief


class _MendedLines:
    """The lines of an agent, without escapes of half a character, with which a strict reader takes them for no call."""

    def __init__(self, lines: IO[str]) -> None:
        self._lines = anyio.wrap_file(lines)

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in self._lines:
            yield dm.without_lone_surrogates(line)


def _diverted_stdin() -> IO[str]:
    """Return what comes over stdin; for all others, as programs that are started, stdin is then empty."""
    frames = os.dup(0)
    null_device = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_device, 0)
    os.close(null_device)
    # It stays open: a thread may still read it when the protocol has ended.
    return open(frames, encoding="utf-8", errors="replace", closefd=False)


def _one_at_a_time(tool: Callable[..., Any], lock: threading.Lock) -> Callable[..., Any]:
    """Return an MCP tool that waits until no other one is at work."""

    def locked_tool(**arguments: Any) -> Any:
        with lock:
            return tool(**arguments)

    locked_tool.__name__, locked_tool.__doc__ = tool.__name__, tool.__doc__
    locked_tool.__signature__ = inspect.signature(tool)  # type: ignore[attr-defined]
    locked_tool.__annotations__ = tool.__annotations__
    return locked_tool


def _error_sentence(name: str, error: ToolError) -> str:
    """Return the message about a tool's error for the agent."""
    cause = error.__cause__
    if isinstance(cause, dm.NotFoundError):
        return _error_line(f"{cause.message}; search_tickets finds tickets by their text")
    if isinstance(cause, dm.AmbiguousError):  # its message quotes the tickets
        return "several tickets have this name; name one by its ticket_id, which search_tickets tells"
    if isinstance(cause, dm.TriageError):
        return _error_line(cause.sentence())
    if isinstance(cause, ValidationError):
        first_mistake = cause.errors()[0]
        argument = ".".join(map(str, first_mistake["loc"])) or "the arguments"
        return f"{argument} of {name}: {first_mistake['msg']}; see the tool's input schema"
    failure = f"{name} failed unexpectedly with {type(cause or error).__name__}"
    # Not its message, which may hold words of a ticket: what is printed here is sent to us.
    frames = traceback.extract_tb((cause or error).__traceback__) if _log.isEnabledFor(logging.INFO) else ()
    _log.warning("%s%s", failure, "".join(f"\n  {Path(f.filename).name}:{f.lineno} {f.name}" for f in frames))
    return f"{failure}; what triage mcp -v prints helps to mend it"


def _error_line(text: str) -> str:
    """Return an error's text in one line, since it may quote a ticket's name."""
    return one_line(text, LONGEST_ERROR) or ""


def serve_agents(server: AgentServer, watch: Callable[[Callable[[], None]], None], *, verbose: bool) -> None:
    """Serve until stdin ends, or until what was given to `watch` is called; a call at work is waited for shortly.

    The protocol runs in a thread of its own, since a read from stdin cannot be interrupted.
    """
    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s", force=True)  # the SDK has set its own
    _log.setLevel(logging.INFO if verbose else logging.WARNING)
    server_over, protocol_result = threading.Event(), Future[None]()
    watch(server_over.set)

    def run_protocol() -> None:
        try:
            anyio.run(server.run_stdio_async)
        except* OSError:  # nobody reads stdout any more
            pass
        except* BaseException as errors:  # noqa: BLE001 - raised in the main thread
            protocol_result.set_exception(errors.exceptions[0])
        finally:
            server_over.set()

    threading.Thread(target=run_protocol, daemon=True, name="mcp").start()
    server_over.wait()
    if protocol_result.done():
        protocol_result.result()
    server.call_lock.acquire(timeout=CALL_GRACE)
