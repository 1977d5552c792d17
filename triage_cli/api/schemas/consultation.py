"""Requests and responses of consultations, which change no ticket, for the API's description."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from triage_cli.api.schemas.requests import LongText, QueryParameters, RequestBody, ShortName
from triage_cli.api.schemas.responses import (
    CLASSIFIER_FIELD,
    CONFIDENCE_FIELD,
    CONFIDENCE_SOURCE_FIELD,
    REASON_FIELD,
    TICKET_ID_FIELD,
    Category,
    ConfidenceSource,
)
from triage_cli.domain.tickets import Status


class ClassifyTextIn(RequestBody):
    """A text to classify without storing it. One of subject and description is enough."""

    subject: LongText | None = Field(None, description="what it is about, in a line")
    description: LongText | None = Field(None, description="the text")
    classifier: ShortName | None = Field(None, description="one of the configuration; else its default")
    max_cost: float | None = Field(None, ge=0, description="USD that the answer may cost at most")


class SuggestionIn(RequestBody):
    """A category that an agent suggests. It decides nothing; only a person or a classifier decides."""

    category: ShortName = Field(description="one of the configuration, in any case")
    agent: Annotated[str, StringConstraints(min_length=1, max_length=60)] = Field(description="the agent's name")
    note: Annotated[str, StringConstraints(max_length=2000)] | None = Field(None, description="why")


class PreviewQuery(QueryParameters):
    """Assumptions about the ticket."""

    category: ShortName | None = Field(
        None, description="as if a person had given it this category", examples=["Billing"]
    )


class TextAnswer(BaseModel):
    """How a classifier would decide a ticket with this text; nothing is stored."""

    status: Literal["classified", "needs_review"] = Field(description="the status that a ticket would have")
    category: str | None = Field(description="the category; null: a person would decide")
    suggestion: str | None = Field(description="the guess, where a person would decide")
    confidence: float | None = CONFIDENCE_FIELD
    confidence_source: ConfidenceSource | None = CONFIDENCE_SOURCE_FIELD
    threshold: float | None = Field(description="the confidence at which it is sure")
    reason: str | None = REASON_FIELD
    classifier: str = CLASSIFIER_FIELD
    suspicious: list[str] = Field(description="kinds of text in it that address the classifier")
    cost_usd: float = Field(description="what the answer has cost")


class RoutePreview(BaseModel):
    """Where a ticket would be sent now; nothing is sent."""

    ticket_id: str = TICKET_ID_FIELD
    status: Status = Field(description="where the ticket stands")
    category: str | None = Field(description="the category that a rule was looked up for")
    rule: str | None = Field(description="the first rule that matches; null: none")
    destinations: list[str] = Field(description="where the rule sends it")
    new: list[str] = Field(description="which of them would get a delivery; the others have one already")
    why: list[str] = Field(description="the same in sentences")


class CategoryRule(BaseModel):
    """A rule that tickets of a category can match."""

    rule: str = Field(description="its name")
    when: str = Field(description="its further conditions in words; empty: none")
    destinations: list[str] = Field(description="where it sends them")


class CategoryProfile(Category):
    """A category, the confidence that its answers need, and where its tickets go."""

    thresholds: dict[str, float | None] = Field(
        description="by step of the default classifier: the confidence that it needs; null: none is enough"
    )
    rules: list[CategoryRule] = Field(description="the rules that its tickets can match, in order")
    covered: bool = Field(description="whether each of its tickets matches one of them")
