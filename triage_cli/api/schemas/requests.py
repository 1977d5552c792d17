"""Requests, for the API's description: they are checked, and unknown fields are refused."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from triage_cli.domain import times
from triage_cli.domain.insight.stats import StatsKey
from triage_cli.domain.serialization import all_encodable, compact, is_too_deep
from triage_cli.domain.tickets import MAX_SOURCE, SORTS, Priority, Status

# The blanks that Python strips, and control characters: a text with nothing else counts as empty.
BLANK_CHARACTERS = "\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
VISIBLE_CHARACTER = f"[^{BLANK_CHARACTERS}]"
# The longest name of a ticket in an address: a character may take twelve of the 64 KB that a request's head may have.
LONGEST_NAME = 4000
ShortText = Annotated[str, StringConstraints(max_length=1000)]
LongText = Annotated[str, StringConstraints(max_length=500_000)]
# The id of a ticket as the store makes it, or nothing.
PagePosition = Annotated[
    str, StringConstraints(pattern=r"^([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})?$")
]
ShortName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
# Values of the examples of requests. An imported collection sends them, so they fit together.
EXAMPLE_NAME, EXAMPLE_TICKET_ID = "T-1001", "01a20e9c-1d27-7000-8f6f-e2de12e6ffde"
EXAMPLE_SINCE, EXAMPLE_UNTIL = "2026-11-01T00:00:00Z", "2099-12-31T00:00:00Z"


def _rfc3339_or_as_is(value: object) -> object:
    return times.rfc3339(value) if isinstance(value, str) else value


Moment = Annotated[datetime, BeforeValidator(_rfc3339_or_as_is)]


def whole_number(value: object) -> object:
    """Accept 1.0 in a request as 1, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _storable_extra(extra: dict[str, Any]) -> dict[str, Any]:
    if is_too_deep(extra):
        raise ValueError("is nested too deeply")
    try:
        compact(extra)
    except ValueError:
        raise ValueError("holds a number that JSON has no word for, such as NaN") from None
    return cast("dict[str, Any]", all_encodable(extra))


TicketExtra = Annotated[dict[str, Any], AfterValidator(_storable_extra)]


class RequestBody(BaseModel):
    """The body of a request: an unknown field is an error and not ignored, and 0 is not false."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TicketIn(RequestBody):
    """A ticket to be stored. One of subject and description is enough; at least one must say something.

    With an external id, a stored ticket with this source and id is updated. A priority or time that cannot be read is
    kept unchanged in `extra`.
    """

    subject: LongText | None = Field(None, description="what it is about, in a line")
    description: LongText | None = Field(None, description="its text")
    customer_id: ShortText | None = Field(None, description="whose ticket it is")
    priority: ShortText | None = Field(
        None, description="low, normal, high, urgent, or a usual other word for one of them"
    )
    created_at: ShortText | None = Field(None, description="ISO 8601; without a zone it is UTC")
    external_id: ShortText | None = Field(None, description="its id where it comes from")
    # In identities, a tab separates the id from the source.
    source: Annotated[
        str, StringConstraints(min_length=1, max_length=MAX_SOURCE, pattern=rf"^[^\x00-\x1f]{{1,{MAX_SOURCE}}}$")
    ] = Field("api", description="where it comes from; external ids are unique within it")
    extra: TicketExtra = Field(default_factory=dict, description="whatever else is known of it; kept as it is")


class ClassifyIn(RequestBody):
    """How to classify one ticket."""

    classifier: ShortName | None = Field(None, description="one of the configuration; else its default")
    force: bool = Field(False, description="ask anew, and overrule a verdict")


class RouteIn(RequestBody):
    """How to route one ticket."""

    again: bool = Field(False, description="send it again to destinations that have accepted it")
    retry_dead: bool = Field(False, description="try dead letters again")


class VerdictIn(RequestBody):
    """A person's category for a ticket; null removes it, and takes no note."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"category": "Billing", "note": "a refund, says the invoice"}]}
    )

    category: ShortName | None = Field(description="one of the configuration, in any case")
    note: Annotated[str, StringConstraints(max_length=10_000)] | None = Field(
        None, description="why; kept with the verdict, and erased by `forget`"
    )


class QueryParameters(BaseModel):
    """The parameters of a query, all as text; an empty one counts as not given."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, sent_parameters: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in sent_parameters.items()
            if value not in ("", [""]) or name not in cls.model_fields
        }


class CreateQuery(QueryParameters):
    """The further steps for a new ticket."""

    do: Literal["", "classify", "classify,route"] = Field(
        "", description="else it is only stored", examples=["classify"]
    )
    classifier: ShortName | None = Field(
        None, description="one of the configuration; else its default", examples=["local"]
    )


SORT_PATTERN = f"^(?:(?:{'|'.join(SORTS)})(?::(?:asc|desc))?)?$"


class TicketConditions(QueryParameters):
    """A selection of tickets: all conditions must hold."""

    status: list[Status] = Field(default_factory=list, description="may be repeated", examples=[["new"]])
    category: list[ShortText] = Field(default_factory=list, description="may be repeated", examples=[["Billing"]])
    suggestion: list[ShortText] = Field(
        default_factory=list,
        description="the guess of a classifier that was not sure; may be repeated",
        examples=[["Billing"]],
    )
    customer_id: ShortText | None = Field(None, description="tickets of this customer", examples=["C-9"])
    priority: Priority | None = Field(None, description="tickets of this priority", examples=["high"])
    classifier: ShortText | None = Field(None, description="tickets that this classifier answered", examples=["local"])
    since: Moment | None = Field(None, description="stored at this time or later", examples=[EXAMPLE_SINCE])
    until: Moment | None = Field(None, description="stored at this time or earlier", examples=[EXAMPLE_UNTIL])
    source: list[ShortText] = Field(default_factory=list, description="may be repeated", examples=[["shop"]])
    destination: list[ShortText] = Field(
        default_factory=list,
        description="a destination that the ticket has a delivery to; may be repeated",
        examples=[["billing"]],
    )
    verdict: bool | None = Field(None, description="whether a person's category holds", examples=[False])
    min_confidence: float | None = Field(None, ge=0, le=1, description="at least so sure", examples=[0.5])
    max_confidence: float | None = Field(None, ge=0, le=1, description="at most so sure", examples=[1.0])
    search: ShortText | None = Field(None, description="a text in subject or description", examples=["refund"])


class TicketQuery(TicketConditions):
    """A selection of tickets, with order and limit."""

    name: Annotated[str, StringConstraints(max_length=LONGEST_NAME)] | None = Field(
        None, description="only the one of this name; here it may hold a slash", examples=[EXAMPLE_NAME]
    )
    sort: Annotated[str, StringConstraints(pattern=SORT_PATTERN)] = Field(
        "",
        description="a key of the record, descending with `:desc`; ties by ticket_id. Default: `order`",
        examples=["created_at:desc"],
    )
    order: Literal["newest", "review"] = Field(
        "newest",
        description="`review`: what waits for a person, the most informative first, on one page",
        examples=["newest"],
    )
    limit: int = Field(50, ge=1, le=1000, description="tickets on one page", examples=[50])
    after: PagePosition = Field(
        "", description="the ticket_id after which a page begins; `Link: rel=next` has it", examples=[EXAMPLE_TICKET_ID]
    )


class StatsQueryIn(TicketConditions):
    """The tickets to count, and the keys of groups."""

    by: list[StatsKey] = Field(
        default_factory=list, description="the keys of a group; may be repeated", examples=[["category"]]
    )


class EventQueryIn(QueryParameters):
    """A selection of events: all conditions must hold."""

    action: list[ShortText] = Field(
        default_factory=list, description="what happened; may be repeated", examples=[["created"]]
    )
    actor: ShortText | None = Field(None, description="who did it", examples=["zendesk-bot"])
    since: Moment | None = Field(None, description="recorded at this time or later", examples=[EXAMPLE_SINCE])
    until: Moment | None = Field(None, description="recorded at this time or earlier", examples=[EXAMPLE_UNTIL])
    limit: int = Field(100, ge=1, le=1000, description="events on one page", examples=[100])
    after: int | None = Field(
        None, ge=0, le=1 << 53, description="the seq after which a page begins; without it: the last ones", examples=[0]
    )
