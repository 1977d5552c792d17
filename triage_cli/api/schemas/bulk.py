"""The schemas of bulk requests: an uploaded table, and a line for each outcome."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from triage_cli.api.ndjson import OCTETS
from triage_cli.api.schemas.shared_fields import (
    CLASSIFIER_TEXT,
    ItemError,
    Problem,
    QueryParameters,
    Seconds,
    ShortName,
    Usd,
    WorkerCount,
)
from triage_cli.api.schemas.ticket_selection import Count
from triage_cli.api.schemas.tickets import Ticket
from triage_cli.client import wire_format

# A binary string, so that generated clients send a body unchanged, and return the lines unchanged.
BINARY_STRING = {"type": "string", "format": "binary"}
_LINE_STREAM = {
    "schema": BINARY_STRING
    | {
        "description": "JSON objects, one a line",
        "contentMediaType": wire_format.LINES_MEDIA_TYPE,
        "contentSchema": {"$ref": "#/components/schemas/Line"},
    },
    "example": '{"row": 0, "did": "rejected", "error": {"code": "not_found", '
    '"message": "no ticket T-7", "hint": ""}}\n'
    '{"end": {"rejected": 1}, "cost_usd": 0.0}\n',
}
OUTCOME_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "one outcome a line; the last line is `end` or `problem`",
        "content": {wire_format.LINES_MEDIA_TYPE: _LINE_STREAM, OCTETS: _LINE_STREAM},
    }
}


class Line(BaseModel):
    """A line of an answer: an outcome, or the last line, which is `end` with the counts, or `problem`."""

    row: int | None = Field(
        None, description="the item's place in the input; null for an earlier ticket that became undeliverable now"
    )
    did: str | None = Field(None, description="created, updated, unchanged, rejected, classified, routed, …")
    ticket: Ticket | None = Field(None, description="the ticket as it is now")
    flip: dict[str, Any] | None = Field(None, description="the category that holds, and the one just answered")
    preview: dict[str, Any] | None = Field(
        None, description="of a dry run: where the ticket would be sent, how the row was read, what asking would cost"
    )
    error: ItemError | None = Field(None, description="the error of this item")
    outdated: list[str] | None = Field(
        None,
        description="where a text that this item changed had been sent: the destinations that keep the earlier one",
    )
    end: dict[str, int] | None = Field(None, description="the number of items by result; on the last line")
    problem: Problem | None = Field(None, description="why the work ended early; the last line")
    cost_usd: float | None = Field(None, description="what this request has spent; on the last line")


# The media types of a table, with their formats; None: the format is detected.
TABLE_TYPES = {
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    OCTETS: None,
}
_CSV_EXAMPLE = "external_id,subject,description\nT-1002,Refund?,I was charged twice\n"
_TSV_EXAMPLE = _CSV_EXAMPLE.replace(",", "\t")
_JSONL_EXAMPLE = '{"external_id": "T-1002", "subject": "Refund?", "description": "I was charged twice"}\n'
_TABLE_EXAMPLES = {"csv": _CSV_EXAMPLE, "tsv": _TSV_EXAMPLE, "jsonl": _JSONL_EXAMPLE, None: _CSV_EXAMPLE}
# A missing body counts as an empty one.
TABLE_BODIES = {
    media_type: {"schema": BINARY_STRING | {"default": ""}, "example": _TABLE_EXAMPLES[table_format]}
    for media_type, table_format in TABLE_TYPES.items()
}
SourceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,63}$")]


class BatchQuery(QueryParameters):
    """The steps for the tickets of one body, and how the tickets are read and classified."""

    do: Literal["", "classify", "classify,route"] = Field(
        "", description="else they are only stored", examples=["classify,route"]
    )
    limit: Count | None = Field(None, description="the most rows, from the first one on", examples=[100])
    dry_run: bool = Field(
        False,
        description="store and send nothing, and answer how each row is read; with `do`, also what would become of it",
        examples=[False],
    )
    ask: bool = Field(
        False,
        description="in a dry run, also ask for answers that cost something, within `max_cost` or the budget, and "
        "store these answers; else `cost_usd` estimates what they would cost",
        examples=[False],
    )
    source: SourceName | None = Field(
        None,
        description="the system that the ids come from; else as recognised by the columns, or `import`",
        examples=["shop"],
    )
    same_tickets: bool = Field(
        False,
        description="known ids get whatever text comes; else the request is refused if most of those that it meets "
        "would get the text of another ticket",
        examples=[False],
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
