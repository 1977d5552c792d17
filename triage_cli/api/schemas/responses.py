"""What goes out, as the description shows it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from triage_cli.api.schemas.requests import Priority
from triage_cli.domain.tickets import Status

Kind = Literal["decision", "logprob", "said", "model", "human"]
EXAMPLE: JsonDict = {
    "ticket_id": "01a20e9c-1d27-7000-8f6f-e2de12e6ffde",
    "external_id": None,
    "source": "api",
    "subject": "Refund?",
    "description": "I was charged twice in May",
    "customer_id": "C-9",
    "priority": "high",
    "created_at": "2026-11-24T17:30:41Z",
    "status": "classified",
    "category": "Billing",
    "suggestion": None,
    "confidence": 0.9898,
    "confidence_source": "model",
    "classifier": "local",
    "reason": "refund, charged; next: Technical 0.01",
    "verdict": False,
    "routed_to": None,
    "cost_usd": 0.0,
    "error": None,
    "extra": {},
}


class Ticket(BaseModel):
    """A ticket: all keys always, null where unknown."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    ticket_id: str
    external_id: str | None
    source: str
    subject: str | None
    description: str | None
    customer_id: str | None
    priority: Priority | None
    created_at: str | None
    status: Status
    category: str | None = Field(description="what holds; null in new, failed and needs_review")
    suggestion: str | None = Field(description="the machine's unsure guess")
    confidence: float | None
    confidence_source: Kind | None
    classifier: str | None
    reason: str | None
    verdict: bool = Field(description="whether a person's category holds")
    routed_to: str | None
    cost_usd: float
    error: str | None
    extra: dict[str, Any]


class Challenge(BaseModel):
    """What a sender of webhooks asked to be sent back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd"}]})

    challenge: str


class Ignored(BaseModel):
    """An event that the configuration leaves out; nothing was stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ignored": True}]})

    ignored: bool


class Classified(BaseModel):
    """The answer just given, or the one that holds where nobody need be asked (`asked` false)."""

    ticket_id: str
    classification: str | None = Field(description="the category answered, sure or not; null: the classifier abstained")
    confidence: float | None
    confidence_source: Kind | None
    reason: str | None
    status: Status
    category: str | None
    suggestion: str | None
    classifier: str | None
    verdict: bool
    cost_usd: float
    asked: bool


class Attempt(BaseModel):
    """One try at a delivery."""

    delivery_id: str
    number: int
    at: str
    status: int | None
    error: str | None
    seconds: float
    answer: str | None


class Delivery(BaseModel):
    """What one destination is owed for one decision."""

    delivery_id: str
    ticket_id: str
    classification_id: str | None
    category: str
    destination: str
    rule: str
    config_hash: str
    replaces: str | None
    state: Literal["pending", "accepted", "dead", "superseded"]
    attempts: int
    due_at: str
    last_status: int | None
    last_error: str | None
    run_id: str | None
    at: str
    done_at: str | None
    doubtful: bool
    kept: dict[str, str | int | float | bool]
    tries: list[Attempt]


class Routed(BaseModel):
    """Where a ticket went."""

    ticket_id: str
    routed_to: str | None
    deliveries: list[Delivery]
    status: Status


class Classification(BaseModel):
    """One answer of a classifier, or a person's."""

    classification_id: str
    ticket_id: str
    run_id: str | None
    step: str
    category: str | None
    confidence: float | None
    confidence_source: Kind | None
    reason: str | None
    classifier: str
    actor: str
    fingerprint: str
    threshold: float | None
    probabilities: dict[str, float] | None
    answer_key: str
    at: str
    reused: str | None
    input_tokens: int
    output_tokens: int
    cache_read: int
    cache_write: int
    cost: float
    redacted: str | None
    error: str | None


class Event(BaseModel):
    """One line of the audit log."""

    seq: int
    timestamp: str
    action: str
    ticket_id: str | None
    actor: str
    run_id: str | None
    detail: dict[str, Any]
    prev: str
    hash: str


class Whole(Ticket):
    """A ticket with its whole history, oldest first."""

    classifications: list[Classification]
    deliveries: list[Delivery]
    events: list[Event]


class Why(BaseModel):
    """A ticket's decision in words."""

    ticket_id: str
    status: Status
    why: list[str]


class Category(BaseModel):
    """A label a ticket may get; `was` are its former names."""

    name: str
    description: str
    examples: list[str]
    was: list[str]


class Waiting(BaseModel):
    """What a provider's batches hold."""

    tickets: int
    batches: int
    since: str


class Audited(BaseModel):
    """How many sure answers of a step the next one was asked to confirm, and how often it did."""

    asked: int
    agreed: int


class Stats(BaseModel):
    """Counts over everything; `deliveries` maps destination to state to count."""

    tickets: int
    by_status: dict[str, int]
    by_category: dict[str, int]
    by_classifier: dict[str, int]
    by_day: dict[str, int]
    deliveries: dict[str, dict[str, int]]
    cost_usd: float
    events: int
    waiting: dict[str, Waiting]
    audited: dict[str, Audited]


class StatsGroup(BaseModel):
    """The counts of a group of tickets; the keys that were asked for are there, null where a ticket has none."""

    category: str | None = None
    status: str | None = None
    day: str | None = None
    classifier: str | None = None
    destination: str | None = None
    tickets: int
    sure: int
    needs_review: int
    cost_usd: float


class Head(BaseModel):
    """The head of the audit log: kept elsewhere, it proves later that nothing before it was changed."""

    head: str
    events: int


class Health(BaseModel):
    """How the server is."""

    status: Literal["ok", "ready"]


class Problem(BaseModel):
    """What went wrong, by RFC 9457; `hint` says what to do next."""

    type: str
    status: int
    title: str
    detail: str
    code: str
    hint: str


class Created(BaseModel):
    """A ticket that was stored. With `do`, also what its further steps did."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ticket_id": EXAMPLE["ticket_id"], "ticket": EXAMPLE}]})

    ticket_id: str
    ticket: Ticket
    classification: Classified | None = Field(
        default=None, description="with `do`: the answer just given, or the one that holds; null if there is none"
    )
    deliveries: list[Delivery] = Field(default=[], description="with `do=classify,route`")
    problem: Problem | None = Field(default=None, description="with `do`: what kept the ticket from a step")
