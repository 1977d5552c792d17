"""Responses, for the API's description: tickets, decisions, deliveries, events, errors."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from triage_cli.domain.errors import codes
from triage_cli.domain.tickets import Priority, Status

ConfidenceSource = Literal["decision", "logprob", "said", "model", "human"]
TICKET_ID_FIELD = Field(description="the ticket's id")
RUN_ID_FIELD = Field(description="the run that did it; null: a single request")
CATEGORY_FIELD = Field(description="the category; null: none")
CONFIDENCE_FIELD = Field(description="how sure, from 0 to 1")
CONFIDENCE_SOURCE_FIELD = Field(
    description="the source of the confidence; `said` (by a language model) is the least reliable"
)
CLASSIFIER_FIELD = Field(description="the classifier's name in the configuration")
REASON_FIELD = Field(description="why, in the classifier's words")


class Ticket(BaseModel):
    """A ticket, always with all keys; unknown values are null."""

    ticket_id: str = TICKET_ID_FIELD
    external_id: str | None = Field(description="its id where it comes from")
    source: str = Field(description="where it comes from")
    subject: str | None = Field(description="what it is about, in a line")
    description: str | None = Field(description="its text")
    customer_id: str | None = Field(description="whose ticket it is")
    priority: Priority | None = Field(description="null where none was given, or one that is not known")
    created_at: datetime | None = Field(description="when it was written")
    status: Status = Field(description="where it stands")
    category: str | None = Field(description="what holds; null in new, failed and needs_review")
    suggestion: str | None = Field(description="the machine's unsure guess")
    confidence: float | None = CONFIDENCE_FIELD
    confidence_source: ConfidenceSource | None = CONFIDENCE_SOURCE_FIELD
    classifier: str | None = CLASSIFIER_FIELD
    reason: str | None = REASON_FIELD
    verdict: bool = Field(description="whether a person's category holds")
    routed_to: str | None = Field(description="the destinations that accepted it")
    cost_usd: float = Field(description="what its answers have cost")
    error: str | None = Field(description="why it is failed, unroutable or undeliverable")
    extra: dict[str, Any] = Field(description="what else came with it")


class Challenge(BaseModel):
    """The challenge that a sender of webhooks wants back."""

    challenge: str = Field(description="as it was sent")


class Ignored(BaseModel):
    """An event that the configuration leaves out; nothing was stored."""

    ignored: bool = Field(description="true")


class EventResult(BaseModel):
    """What became of one event; without ticket and error, the configuration leaves it out."""

    ticket_id: str | None = TICKET_ID_FIELD
    error: str | None = Field(description="why it is no ticket")


class Received(BaseModel):
    """What became of several events that came in one request."""

    events: list[EventResult] = Field(description="in their order")


class Classified(BaseModel):
    """The new answer, or the present one if no classifier needed to be asked (`asked` is false)."""

    ticket_id: str = TICKET_ID_FIELD
    classification: str | None = Field(description="the category answered, sure or not; null: the classifier abstained")
    confidence: float | None = CONFIDENCE_FIELD
    confidence_source: ConfidenceSource | None = CONFIDENCE_SOURCE_FIELD
    reason: str | None = REASON_FIELD
    status: Status = Field(description="where the ticket stands now")
    category: str | None = Field(description="what holds now")
    suggestion: str | None = Field(description="the machine's unsure guess")
    classifier: str | None = CLASSIFIER_FIELD
    verdict: bool = Field(description="whether a person's category holds")
    cost_usd: float = Field(description="what the ticket's answers have cost")
    asked: bool = Field(description="whether a classifier was asked just now")


class Attempt(BaseModel):
    """One try at a delivery."""

    delivery_id: str = Field(description="the delivery")
    number: int = Field(description="the number of the try, from 1")
    at: datetime = Field(description="when it ended")
    status: int | None = Field(description="the HTTP status that came back")
    error: str | None = Field(description="why it was not accepted")
    seconds: float = Field(description="how long it took")
    answer: str | None = Field(description="the beginning of a refusal")


class Delivery(BaseModel):
    """What one destination gets for one decision."""

    delivery_id: str = Field(description="its id, the same in all attempts")
    ticket_id: str = TICKET_ID_FIELD
    classification_id: str | None = Field(description="the answer it follows from")
    category: str = Field(description="the ticket's category then")
    destination: str = Field(description="where it goes")
    rule: str = Field(description="the rule that sends it there")
    config_hash: str = Field(description="the routing map then")
    replaces: str | None = Field(description="the delivery elsewhere that it replaces")
    state: Literal["pending", "accepted", "dead", "superseded"] = Field(description="where it stands")
    attempts: int = Field(description="how often it was tried")
    due_at: datetime = Field(description="when it is tried next")
    last_status: int | None = Field(description="the HTTP status of the last try")
    last_error: str | None = Field(description="why the last try failed")
    run_id: str | None = RUN_ID_FIELD
    at: datetime = Field(description="when it was decided on")
    done_at: datetime | None = Field(description="when it was accepted, or given up")
    doubtful: bool = Field(description="whether it may have arrived although no answer came")
    kept: dict[str, str | int | float | bool] = Field(description="what the destination's `keep` has kept of an answer")
    tries: list[Attempt] = Field(description="its attempts, the first one first")


class Problem(BaseModel):
    """An error as RFC 9457 problem details; `hint` says what to do next."""

    type: str = Field(description="about:blank")
    status: int = Field(description="the HTTP status")
    title: str = Field(description="the status in words")
    detail: str = Field(description="what went wrong")
    code: str = Field(description="what went wrong, for programs", json_schema_extra={"enum": [*codes()]})
    hint: str = Field(description="what to do next")


class Routed(BaseModel):
    """Where a ticket went."""

    ticket_id: str = TICKET_ID_FIELD
    routed_to: str | None = Field(description="the destinations that accepted it")
    deliveries: list[Delivery] = Field(description="all its deliveries so far")
    status: Status = Field(description="where the ticket stands now")
    problem: Problem | None = Field(
        default=None, description="why a delivery is still due, or its result was not saved: code `unavailable`"
    )


class Classification(BaseModel):
    """One answer of a classifier, or a person's."""

    classification_id: str = Field(description="its id")
    ticket_id: str = TICKET_ID_FIELD
    run_id: str | None = RUN_ID_FIELD
    step: str = Field(description="the classifier that was asked, of a cascade the step")
    category: str | None = CATEGORY_FIELD
    confidence: float | None = CONFIDENCE_FIELD
    confidence_source: ConfidenceSource | None = CONFIDENCE_SOURCE_FIELD
    reason: str | None = REASON_FIELD
    classifier: str = CLASSIFIER_FIELD
    actor: str = Field(description="who asked")
    fingerprint: str = Field(description="a hash of the question: model, prompt, categories and options")
    threshold: float | None = Field(description="the confidence at which it is sure")
    probabilities: dict[str, float] | None = Field(description="of each category, where they are known")
    answer_key: str = Field(description="a hash of the question and the text, by which an answer is reused")
    at: datetime = Field(description="when it came")
    reused: str | None = Field(description="the earlier answer that this one repeats")
    input_tokens: int = Field(description="tokens sent")
    output_tokens: int = Field(description="tokens received")
    cache_read: int = Field(description="tokens read from the provider's cache")
    cache_write: int = Field(description="tokens written to it")
    cost: float = Field(description="USD")
    redacted: str | None = Field(description="what was taken out of the text")
    error: str | None = Field(description="why it is no answer")


class Event(BaseModel):
    """One line of the audit log."""

    seq: int = Field(description="its number; the first one is 1")
    timestamp: datetime = Field(description="when it was recorded")
    action: str = Field(description="what happened: created, classified, routed, delivered, …")
    ticket_id: str | None = Field(description="the ticket; null: it is about none")
    actor: str = Field(description="who did it")
    run_id: str | None = RUN_ID_FIELD
    detail: dict[str, Any] = Field(description="what belongs to the action")
    prev: str = Field(description="the hash of the event before it")
    hash: str = Field(description="SHA-256 of this event and `prev`")


class Whole(Ticket):
    """A ticket with its whole history, oldest first."""

    classifications: list[Classification] = Field(description="all answers")
    deliveries: list[Delivery] = Field(description="all its deliveries")
    events: list[Event] = Field(description="its part of the audit log")


class AgentSuggestion(BaseModel):
    """A category that an agent suggests for a ticket."""

    ticket_id: str = TICKET_ID_FIELD
    category: str = Field(description="the category")
    agent: str = Field(description="the agent's name, as it gave it")
    actor: str = Field(description="the person or key on whose behalf it acts")
    at: datetime = Field(description="when")
    note: str | None = Field(description="why, in the agent's words")


class Why(BaseModel):
    """The explanation of a ticket's decision."""

    ticket_id: str = TICKET_ID_FIELD
    status: Status = Field(description="where it stands")
    why: list[str] = Field(description="a sentence each: what was asked, what came back, what happens next")
    agent_suggestions: list[AgentSuggestion] = Field(default=[], description="what agents suggest; it decides nothing")


class Category(BaseModel):
    """A label a ticket may get; `was` are its former names."""

    name: str = Field(description="its name")
    description: str = Field(description="what belongs to it, as every classifier reads it")
    examples: list[str] = Field(description="texts that belong to it")
    was: list[str] = Field(description="its former names")


class Health(BaseModel):
    """The state of the server."""

    status: Literal["ok", "ready"] = Field(description="as asked: alive, or ready")


class Created(BaseModel):
    """A stored ticket. With `do`, also the results of its further steps."""

    ticket_id: str = TICKET_ID_FIELD
    ticket: Ticket = Field(description="the ticket as it is stored")
    classification: Classified | None = Field(
        default=None, description="with `do`: the answer just given, or the one that holds; null if there is none"
    )
    deliveries: list[Delivery] = Field(default=[], description="with `do=classify,route`")
    problem: Problem | None = Field(default=None, description="with `do`: the error of a step that failed")
