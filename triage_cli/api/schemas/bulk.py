"""What goes into the bulk endpoints and what comes out, as the description shows it."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from triage_cli.api.schemas.requests import In, Moment, Name, Priority, Short
from triage_cli.api.schemas.responses import Ticket
from triage_cli.domain.tickets import Status

# What one request may name.
MOST_IDS = 100_000
MOST_VERDICTS = 1000
Source = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,63}$")]
Workers = Annotated[int, Field(ge=1, le=1000)]
Usd = Annotated[float, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86_400)]


class BatchQuery(In):
    """What becomes of the tickets of one body, and how they are read and classified."""

    model_config = ConfigDict(strict=False)  # a query is all text

    do: Literal["", "classify,route"] = Field("", description="else they are only stored")
    source: Source | None = Field(None, description="whose ids these are; else told by the columns, or `import`")
    classifier: Name | None = None
    workers: Workers | None = Field(None, description="calls in flight")
    max_cost: Usd | None = Field(
        None, description="USD that this request may spend, in all the times that it is sent under one Idempotency-Key"
    )
    spent_before: Usd = Field(0.0, description="USD of `max_cost` that earlier parts of the same input have spent")
    max_wait: Seconds = Field(120.0, description="how long an outage is waited for")
    deadline: Seconds | None = Field(None, description="seconds after which nothing new is begun")


class SelectionIn(In):
    """Which tickets: by id, or all that match."""

    ids: Annotated[list[str], Field(max_length=MOST_IDS)] | None = Field(
        None, description="ids, unambiguous endings of 6 or more characters, or external ids"
    )
    statuses: list[Status] = Field(default_factory=list)
    category: Short | None = None
    customer_id: Short | None = None
    priority: Priority | None = None
    classifier: Short | None = None
    since: Moment | None = Field(None, description="stored at this time or later")
    search: Short | None = Field(None, description="a text in subject or description")
    limit: int | None = Field(None, ge=0, lt=1 << 53)


class ClassifyPlanIn(In):
    """How to classify."""

    classifier: Name | None = None
    force: bool = Field(False, description="ask anew, and overrule verdicts")
    workers: Workers | None = Field(None, description="calls in flight")
    max_cost: Usd | None = Field(None, description="USD that this request may spend")
    max_wait: Seconds = Field(120.0, description="how long an outage is waited for")
    deadline: Seconds | None = Field(None, description="seconds after which nothing new is begun")
    batch: bool = Field(False, description="leave paid steps to the provider's batches: answers within a day")


class RoutePlanIn(In):
    """How to route."""

    retry_dead: bool = Field(False, description="try dead letters again")
    again: bool = Field(False, description="send again what was accepted already")
    stay: Annotated[float, Field(ge=0, le=60)] = Field(0.0, description="seconds to stay for attempts that fall due")


class ReclassifyPlanIn(In):
    """How to ask again: as a proposal, or so that the answers hold."""

    classify: ClassifyPlanIn = Field(default_factory=ClassifyPlanIn)
    apply: bool = Field(False, description="let the answers hold, all or none")
    max_flips: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        None, description="with more, nothing changes: a number, or a share such as 2%"
    )
    reroute: bool = Field(False, description="send on what was routed already")


class ClassifyManyIn(In):
    """Which tickets to classify, and how."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"selection": {"limit": 100}, "plan": {"max_cost": 1.0}}]}
    )

    selection: SelectionIn = Field(default_factory=SelectionIn)
    plan: ClassifyPlanIn = Field(default_factory=ClassifyPlanIn)


class RouteManyIn(In):
    """Which tickets to route, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    selection: SelectionIn = Field(default_factory=SelectionIn)
    plan: RoutePlanIn = Field(default_factory=RoutePlanIn)


class ReclassifyManyIn(In):
    """Which tickets to ask again about, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"selection": {"category": "General"}}]})

    selection: SelectionIn = Field(default_factory=SelectionIn)
    plan: ReclassifyPlanIn = Field(default_factory=ReclassifyPlanIn)


class NamedVerdict(In):
    """A person's category for the ticket of this name; one that cannot be is rejected by itself."""

    name: str = Field(description="its id, an ending of it, or its external id")
    category: str | None = Field(description="one of the configuration, in any case; null takes the verdict back")
    note: str | None = None


class VerdictsIn(In):
    """Verdicts on many tickets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"verdicts": [{"name": "T-1", "category": "Billing"}]}]})

    verdicts: Annotated[list[NamedVerdict], Field(max_length=MOST_VERDICTS)]


class ItemError(In):
    """Why one item came to nothing."""

    code: str
    message: str
    hint: str


class Line(In):
    """A line of an answer: an outcome, or the last line, which is `end` with the counts, or `problem`."""

    row: int | None = Field(None, description="the item's place in the input")
    did: str | None = Field(None, description="created, updated, unchanged, rejected, classified, routed, …")
    ticket: Ticket | None = None
    flip: dict[str, Any] | None = None
    error: ItemError | None = None
    end: dict[str, int] | None = None
    problem: dict[str, Any] | None = None
    cost_usd: float | None = None
