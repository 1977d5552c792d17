"""Read models: the history of a ticket, its explanation, and counts."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from triage_cli.domain.agent_suggestions import AgentSuggestion
from triage_cli.domain.audit.events import LoggedEvent
from triage_cli.domain.decisions import Classification, QuestionSpec
from triage_cli.domain.deliveries import Attempt, Delivery
from triage_cli.domain.evaluation.error_bounds import StoredBound
from triage_cli.domain.runs import Run
from triage_cli.domain.tickets import Selection, Ticket


class History(NamedTuple):
    """One ticket with all its records, oldest first, and the error bounds that its classifiers keep now.

    `ended_early` is the latest run that should have taken it up since its last event, and ended before. `holder` is the
    live run that holds it. `shares_name` says that its external id names another ticket too.
    """

    ticket: Ticket
    classifications: tuple[Classification, ...]
    deliveries: tuple[Delivery, ...]
    attempts: tuple[Attempt, ...]
    events: tuple[LoggedEvent, ...]
    questions: Mapping[str, QuestionSpec]
    bounds: tuple[StoredBound, ...] = ()
    ended_early: Run | None = None
    holder: Run | None = None
    shares_name: bool = False


class Why(NamedTuple):
    """The explanation of a ticket, in sentences, and what agents suggest for it."""

    ticket_id: str
    status: str
    why: tuple[str, ...]
    agent_suggestions: tuple[AgentSuggestion, ...] = ()


class Stats(NamedTuple):
    """Counts over the whole store; `deliveries` maps destination to state to count.

    `waiting` maps a classifier to its open batches: `tickets`, `batches`, and `since` when. `audited` maps a step of a
    cascade to how many of its sure answers were checked by the next step (`asked`), and how many of these it confirmed
    (`agreed`); a falling share shows that the step has drifted. `oldest_pending_delivery` is the time at which the
    oldest delivery that is pending was created.
    """

    tickets: int
    by_status: Mapping[str, int]
    by_category: Mapping[str, int]
    by_classifier: Mapping[str, int]
    by_day: Mapping[str, int]
    deliveries: Mapping[str, Mapping[str, int]]
    cost_usd: float
    events: int
    waiting: Mapping[str, Mapping[str, Any]] = {}
    audited: Mapping[str, Mapping[str, int]] = {}
    oldest_pending_delivery: str | None = None


StatsKey = Literal["category", "status", "day", "classifier", "destination"]
STATS_KEYS: tuple[str, ...] = get_args(StatsKey)


class StatsQuery(NamedTuple):
    """Which tickets are counted (without order, limit and ids), and by what they are grouped: of `STATS_KEYS`."""

    where: Selection = Selection()
    by: tuple[str, ...] = ()


class StatsGroup(NamedTuple):
    """The counts of tickets with the same keys; `sure` have a category, `cost_usd` was spent on them.

    `day` is that of storing, in UTC. A ticket that was sent to several destinations counts in each one's group.
    """

    keys: Mapping[str, str | None]
    tickets: int
    sure: int
    needs_review: int
    cost_usd: float


class Gauges(NamedTuple):
    """Counts for monitoring: deliveries by (destination, state); answers, failures and cost by classifier.

    `oldest_new` is the time at which the oldest unclassified ticket was stored, and `oldest_pending_delivery` that at
    which the oldest delivery that is pending was created.
    """

    by_status: Mapping[str, int]
    deliveries: Mapping[tuple[str, str], int]
    answers: Mapping[str, int]
    failures: Mapping[str, int]
    cost_usd: Mapping[str, float]
    oldest_new: str | None
    oldest_pending_delivery: str | None
