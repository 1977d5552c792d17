"""Read models: a ticket with its history, why it is where it is, and counts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from triage_cli.domain.audit import LoggedEvent
from triage_cli.domain.decisions import Classification, QuestionSpec
from triage_cli.domain.deliveries import Attempt, Delivery
from triage_cli.domain.tickets import Ticket


class History(NamedTuple):
    """Everything known of one ticket, oldest first."""

    ticket: Ticket
    classifications: tuple[Classification, ...]
    deliveries: tuple[Delivery, ...]
    attempts: tuple[Attempt, ...]
    events: tuple[LoggedEvent, ...]
    askings: Mapping[str, QuestionSpec]


class Why(NamedTuple):
    """How a ticket was decided, in sentences, and what happens next."""

    ticket_id: str
    status: str
    why: tuple[str, ...]


class Stats(NamedTuple):
    """Counts over the whole store; `deliveries` maps destination to state to count.

    `waiting` maps a classifier to what its provider's batches hold: `tickets`, `batches`, and `since` when. `audited`
    maps a cascade's step to how many of its sure answers the next step was asked to confirm (`asked`), and how often it
    did (`agreed`): where the share falls, the step has drifted.
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


class Gauges(NamedTuple):
    """What a monitor watches; `deliveries` maps (destination, state), the answers' numbers are by classifier.

    `oldest_new` is when the ticket that waits longest for its classification was stored.
    """

    by_status: Mapping[str, int]
    deliveries: Mapping[tuple[str, str], int]
    answers: Mapping[str, int]
    failures: Mapping[str, int]
    cost_usd: Mapping[str, float]
    oldest_new: str | None
