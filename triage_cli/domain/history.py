"""The history of a ticket, from which it is explained, and its explanation."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple, NotRequired

from triage_cli.domain.agent_suggestions import AgentSuggestion
from triage_cli.domain.classifications import Asking, Classification
from triage_cli.domain.deliveries import Attempt, Delivery
from triage_cli.domain.evaluation.error_bounds import StoredBound
from triage_cli.domain.events import LoggedEvent
from triage_cli.domain.runs import Run
from triage_cli.domain.tickets import Status, Ticket


class History(NamedTuple):
    """The history of one ticket: its records, oldest first, and the error bounds that its classifiers keep now.

    `ended_early` is the latest run that should have taken it up since its last event, and ended before. `holder` is the
    live run that holds the ticket. `shares_name` says that its external id names another ticket too. `followed` has the
    verdicts on the same text that answers follow, by classification id, each with the external id of its ticket.
    """

    ticket: Ticket
    classifications: tuple[Classification, ...]
    deliveries: tuple[Delivery, ...]
    attempts: tuple[Attempt, ...]
    events: tuple[LoggedEvent, ...]
    questions: Mapping[str, Asking]
    bounds: tuple[StoredBound, ...] = ()
    ended_early: Run | None = None
    holder: Run | None = None
    shares_name: bool = False
    followed: Mapping[str, tuple[Classification, str | None]] = {}


class Why(NamedTuple):
    """The explanation of a ticket's decision."""

    ticket_id: Annotated[str, "the ticket's id"]
    status: Annotated[str, "where it stands", Status]
    why: Annotated[tuple[str, ...], "a sentence each: what was asked, what came back, what happens next"]
    agent_suggestions: Annotated[
        tuple[AgentSuggestion, ...], "what agents suggest; it decides nothing", NotRequired[tuple[AgentSuggestion, ...]]
    ] = ()
