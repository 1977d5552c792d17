"""Requests and responses of the bulk endpoints, for the API's description."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from triage_cli.api.ndjson import OCTETS
from triage_cli.api.schemas.requests import Moment, QueryParameters, RequestBody, ShortName, ShortText, whole_number
from triage_cli.api.schemas.responses import Problem, Ticket
from triage_cli.client import wire_format
from triage_cli.domain.tickets import Priority, Status

# The media types of a table, with their formats; None: the format is detected.
TABLE_TYPES = {
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    OCTETS: None,
}
# A binary string, so that generated clients send a body unchanged, and return the lines unchanged.
_BINARY_STRING = {"type": "string", "format": "binary"}
_CSV_EXAMPLE = "external_id,subject,description\nT-1002,Refund?,I was charged twice\n"
_JSONL_EXAMPLE = '{"external_id": "T-1002", "subject": "Refund?", "description": "I was charged twice"}\n'
_TSV_EXAMPLE = _CSV_EXAMPLE.replace(",", "\t")
_TABLE_EXAMPLES = {"csv": _CSV_EXAMPLE, "tsv": _TSV_EXAMPLE, "jsonl": _JSONL_EXAMPLE, None: _CSV_EXAMPLE}
# A missing body counts as an empty one.
TABLE_BODIES = {
    media_type: {"schema": _BINARY_STRING | {"default": ""}, "example": _TABLE_EXAMPLES[table_format]}
    for media_type, table_format in TABLE_TYPES.items()
}
_LINE_STREAM = {
    "schema": _BINARY_STRING
    | {
        "description": "JSON objects, one a line",
        "contentMediaType": wire_format.LINES,
        "contentSchema": {"$ref": "#/components/schemas/Line"},
    },
    "example": '{"row": 0, "did": "rejected", "error": {"code": "not_found", '
    '"message": "no ticket T-7", "hint": ""}}\n'
    '{"end": {"rejected": 1}, "cost_usd": 0.0}\n',
}
OUTCOME_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "one outcome a line; the last line is `end` or `problem`",
        "content": {wire_format.LINES: _LINE_STREAM, OCTETS: _LINE_STREAM},
    }
}
# The most tickets that one bulk request may name.
MOST_TICKET_NAMES = 100_000
MOST_VERDICTS = 1000
SourceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,63}$")]
CLASSIFIER_TEXT = "one of the configuration; else its default"
WorkerCount = Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole_number)]
Count = Annotated[int, Field(ge=0, lt=1 << 53), BeforeValidator(whole_number)]
Usd = Annotated[float, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86_400)]


class BatchQuery(QueryParameters):
    """The steps for the tickets of one body, and how the tickets are read and classified."""

    do: Literal["", "classify,route"] = Field("", description="else they are only stored", examples=["classify,route"])
    source: SourceName | None = Field(
        None,
        description="the system that the ids come from; else as recognised by the columns, or `import`",
        examples=["shop"],
    )
    classifier: ShortName | None = Field(None, description=CLASSIFIER_TEXT, examples=["local"])
    workers: WorkerCount | None = Field(None, description="calls in flight", examples=[8])
    max_cost: Usd | None = Field(
        None,
        description="USD that this request may spend, together with its repetitions under the same Idempotency-Key",
        examples=[1.0],
    )
    spent_before: Usd = Field(
        0.0, description="USD of `max_cost` that earlier parts of the same input have spent", examples=[0.0]
    )
    max_wait: Seconds = Field(120.0, description="seconds to wait for a provider's outage", examples=[120.0])
    deadline: Seconds | None = Field(None, description="seconds after which nothing new is begun", examples=[600.0])


class SelectionIn(RequestBody):
    """A selection of tickets: those that meet all conditions, of the named ones or of all."""

    ids: Annotated[list[str], Field(max_length=MOST_TICKET_NAMES)] | None = Field(
        None, description="ids, unambiguous endings of 6 or more characters, or external ids"
    )
    statuses: list[Status] = Field(default_factory=list, description="any of these")
    category: ShortText | None = Field(None, description="tickets of this category")
    customer_id: ShortText | None = Field(None, description="tickets of this customer")
    priority: Priority | None = Field(None, description="tickets of this priority")
    classifier: ShortText | None = Field(None, description="tickets that this classifier answered")
    since: Moment | None = Field(None, description="stored at this time or later")
    search: ShortText | None = Field(None, description="a text in subject or description")
    limit: Count | None = Field(None, description="the most tickets")


class ClassifyPlanIn(RequestBody):
    """How to classify."""

    classifier: ShortName | None = Field(None, description=CLASSIFIER_TEXT)
    force: bool = Field(False, description="ask anew, and overrule verdicts")
    workers: WorkerCount | None = Field(None, description="calls in flight")
    max_cost: Usd | None = Field(None, description="USD that this request may spend")
    max_wait: Seconds = Field(120.0, description="seconds to wait for a provider's outage")
    deadline: Seconds | None = Field(None, description="seconds after which nothing new is begun")
    batch: bool = Field(False, description="leave paid steps to the provider's batches: answers within a day")


class RoutePlanIn(RequestBody):
    """How to route."""

    retry_dead: bool = Field(False, description="try dead letters again")
    again: bool = Field(False, description="send again what was accepted already")
    stay: Annotated[float, Field(ge=0, le=60)] = Field(0.0, description="seconds to wait for attempts that fall due")


class ReclassifyPlanIn(RequestBody):
    """How to ask again: the answers are proposals, or are applied."""

    classify: ClassifyPlanIn = Field(default_factory=ClassifyPlanIn, description="how to ask")
    apply: bool = Field(False, description="apply the answers, all or none")
    max_flips: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        None, description="with more, nothing changes: a number, or a share such as 2%"
    )
    reroute: bool = Field(False, description="also route tickets again that were routed")
    doubted: bool = Field(False, description="tickets without a sure answer now wait for a person, also routed ones")


class ClassifyManyIn(RequestBody):
    """Which tickets to classify, and how."""

    selection: SelectionIn = Field(default_factory=SelectionIn, description="which tickets")
    plan: ClassifyPlanIn = Field(default_factory=ClassifyPlanIn, description="how")


class RouteManyIn(RequestBody):
    """Which tickets to route, and how."""

    selection: SelectionIn = Field(default_factory=SelectionIn, description="which tickets")
    plan: RoutePlanIn = Field(default_factory=RoutePlanIn, description="how")


class ReclassifyManyIn(RequestBody):
    """Which tickets to ask again about, and how."""

    selection: SelectionIn = Field(default_factory=SelectionIn, description="which tickets")
    plan: ReclassifyPlanIn = Field(default_factory=ReclassifyPlanIn, description="how")


class NamedVerdict(RequestBody):
    """A person's category for the ticket of this name; an impossible one is rejected, the others are stored."""

    name: str = Field(description="its id, an ending of it, or its external id")
    category: str | None = Field(
        description="one of the configuration, in any case; null takes the verdict back, without note"
    )
    note: str | None = Field(None, description="why; kept with the verdict, and erased by `forget`")
    shown: str | None = Field(
        None,
        description="what the person saw: SHA-256 (hex) of the compact JSON array of subject, description, and the"
        " verdict's category and reason (null without one); if that has changed, the verdict is rejected",
    )
    source: str | None = Field(
        None, description="if several tickets have this external id: the source of the one meant"
    )


class VerdictsIn(RequestBody):
    """Verdicts on many tickets."""

    verdicts: Annotated[list[NamedVerdict], Field(max_length=MOST_VERDICTS)] = Field(description="one a ticket")


class ItemError(BaseModel):
    """The error of one item."""

    code: str = Field(description="as in a problem")
    message: str = Field(description="what went wrong")
    hint: str = Field(description="what to do next")


class Line(BaseModel):
    """A line of an answer: an outcome, or the last line, which is `end` with the counts, or `problem`."""

    row: int | None = Field(
        None, description="the item's place in the input; null for an earlier ticket that became undeliverable now"
    )
    did: str | None = Field(None, description="created, updated, unchanged, rejected, classified, routed, …")
    ticket: Ticket | None = Field(None, description="the ticket as it is now")
    flip: dict[str, Any] | None = Field(None, description="the category that holds, and the one just answered")
    error: ItemError | None = Field(None, description="the error of this item")
    end: dict[str, int] | None = Field(None, description="the number of items by result; on the last line")
    problem: Problem | None = Field(None, description="why the work ended early; the last line")
    cost_usd: float | None = Field(None, description="what this request has spent; on the last line")
