"""A ticket in requests and responses: as it is posted, as a webhook brings it, as it is stored."""

from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, Field

from triage_cli import domain as dm
from triage_cli.extensions.server.schemas import shared_fields as shared
from triage_cli.extensions.server.schemas.classification import FURTHER_ANSWERS_FIELD, Classified, Delivery
from triage_cli.extensions.server.schemas.records import Response
from triage_cli.extensions.server.schemas.shared_fields import param

# The blanks that Python strips, and control characters: a text with nothing else counts as empty.
BLANK_CHARACTERS = "\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
VISIBLE_CHARACTER = f"[^{BLANK_CHARACTERS}]"


def _storable_extra(extra: dict[str, Any]) -> dict[str, Any]:
    if dm.is_too_deep(extra):
        raise ValueError("is nested too deeply")
    try:
        dm.compact(extra)
    except ValueError:
        raise ValueError("holds a number that JSON has no word for, such as NaN") from None
    return cast("dict[str, Any]", dm.all_encodable(extra))


TicketExtra = Annotated[dict[str, Any], AfterValidator(_storable_extra)]


class TicketIn(shared.RequestBody):
    """A ticket to be stored. One of subject and description is enough; at least one must say something.

    With an external id, a stored ticket with this source and id is updated. A priority or time that cannot be read is
    kept unchanged in `extra`.
    """

    subject: shared.LongText | None = Field(None, description="what it is about, in a line")
    description: shared.LongText | None = Field(None, description="its text")
    customer_id: shared.ShortText | None = Field(None, description="whose ticket it is")
    priority: shared.ShortText | None = Field(
        None, description="low, normal, high, urgent, or a usual other word for one of them"
    )
    created_at: shared.ShortText | None = Field(None, description="ISO 8601; without a zone it is UTC")
    external_id: shared.ShortText | None = Field(None, description="its id where it comes from")
    source: shared.SourceName = Field("api", description="where it comes from; external ids are unique within it")
    extra: TicketExtra = Field(default_factory=dict, description="whatever else is known of it; kept as it is")


class CreateQuery(shared.QueryParameters):
    """The further steps for a new ticket."""

    do: Literal["", "classify", "classify,route"] = param("", "else it is only stored", "classify")
    classifier: shared.ShortName | None = param(None, "one of the configuration; else its default", "local")


class Ticket(Response, of=dm.Ticket, keys=(*dm.TICKET_KEYS[:-3], "answers", *dm.TICKET_KEYS[-3:], "asked")):
    """A ticket, always with all keys; unknown values are null."""

    answers: dict[str, dm.GivenAnswer] = FURTHER_ANSWERS_FIELD
    asked: bool = Field(
        default=False, description="in lines of `POST /classify`: whether a classifier was asked just now; else no key"
    )


class Similar(Ticket):
    """A ticket with a similar text."""

    similarity: float = Field(description="how similar the texts are, up to 1: the cosine of their weighed words")


class ChangedProblem(shared.Problem):
    """The problem of a verdict on a ticket that has changed."""

    ticket: Ticket | None = Field(None, description="the ticket as it is now")


class Created(BaseModel):
    """A stored ticket. With `do`, also the results of its further steps."""

    ticket_id: str = shared.TICKET_ID_FIELD
    ticket: Ticket = Field(description="the ticket as it is stored")
    classification: Classified | None = Field(
        default=None, description="with `do`: the answer just given, or the one that holds; null if there is none"
    )
    deliveries: list[Delivery] = Field(default=[], description="with `do=classify,route`")
    problem: shared.Problem | None = Field(default=None, description="with `do`: the error of a step that failed")


class Whole(Ticket):
    """A ticket with its whole history, oldest first."""

    classifications: list[dm.Classification] = Field(description="all answers")
    deliveries: list[Delivery] = Field(description="all its deliveries")
    events: list[dm.LoggedEvent] = Field(description="its part of the audit log")


class Challenge(BaseModel):
    """The challenge that a sender of webhooks wants back."""

    challenge: str = Field(description="as it was sent")


class Ignored(BaseModel):
    """An event that the configuration leaves out; nothing was stored."""

    ignored: bool = Field(description="true")


class EventResult(BaseModel):
    """What became of one event; without ticket and error, the configuration leaves it out."""

    ticket_id: str | None = shared.TICKET_ID_FIELD
    error: str | None = Field(description="why it is no ticket")


class Received(BaseModel):
    """What became of several events that came in one request."""

    events: list[EventResult] = Field(description="in their order")
