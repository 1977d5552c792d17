"""The schemas of bulk requests: an uploaded table, and a line for each outcome."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field

from triage_cli.extensions.server.ndjson import OCTETS
from triage_cli.extensions.server.schemas import shared_fields as shared
from triage_cli.extensions.server.schemas.shared_fields import param
from triage_cli.extensions.server.schemas.ticket_selection import Count
from triage_cli.extensions.server.schemas.tickets import Ticket
from triage_cli.ports import wire_format

# A binary string, so that generated clients send a body unchanged, and return the lines unchanged.
BINARY_STRING = {"type": "string", "format": "binary"}


def lines_of(schema: Mapping[str, Any], example: str) -> dict[str, Any]:
    """Return the content of an answer whose lines have this schema."""
    media_type = wire_format.LINES_MEDIA_TYPE
    described = {"description": "JSON objects, one a line", "contentMediaType": media_type, "contentSchema": schema}
    content = {"schema": BINARY_STRING | described, "example": example}
    return {media_type: content, OCTETS: content}


_EXAMPLE = '{"row": 0, "did": "rejected", "error": {"code": "not_found", "message": "no ticket T-7", "hint": ""}}\n'
OUTCOME_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "one outcome a line; the last line is `end` or `problem`",
        "content": lines_of(
            {"$ref": "#/components/schemas/Line"},
            _EXAMPLE + '{"end": {"rejected": 1}, "run": "01a1e8c4-7c00-7000-8000-5b2f6e1d9a37", "cost_usd": 0.0}\n',
        ),
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
    error: shared.ItemError | None = Field(None, description="the error of this item")
    outdated: list[str] | None = Field(
        None,
        description="where a text that this item changed had been sent: the destinations that keep the earlier one",
    )
    as_before: bool | None = Field(
        None, description="true: the ticket is as an earlier request left it, and this one did nothing with it"
    )
    end: dict[str, int] | None = Field(
        None, description="the number of items by result, and with `do` of tickets by status; on the last line"
    )
    problem: shared.Problem | None = Field(None, description="why the work ended early; the last line")
    run: str | None = Field(
        None,
        description="the id of this request's run, by which `GET /runs` and `/imports/{run}` have it; on the last line",
    )
    cost_usd: float | None = Field(None, description="what this request has spent; on the last line")
    warnings: list[str] | None = Field(
        None, description="what became of it that nobody asked for, such as a promise that fell; on the last line"
    )


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


class BatchQuery(shared.QueryParameters):
    """The steps for the tickets of one body, and how the tickets are read and classified."""

    do: Literal["", "classify", "classify,route"] = param("", "else they are only stored", "classify,route")
    limit: Count | None = param(None, "the most rows, from the first one on", 100)
    dry_run: bool = param(
        False, "store and send nothing, and answer how each row is read; with `do`, also what would become of it", False
    )
    ask: bool = param(
        False,
        "in a dry run, also ask for answers that cost something, within `max_cost` or the budget, and "
        "store these answers; else `cost_usd` estimates what they would cost",
        False,
    )
    source: shared.SourceName | None = param(
        None,
        "the system that the ids come from; else as recognised by the columns, or `import`; a row's own is in `extra`",
        "shop",
    )
    same_tickets: bool = param(
        False,
        "known ids get whatever text comes; else the request is refused if most of those that it meets "
        "would get the text of another ticket",
        False,
    )
    classifier: shared.ShortName | None = param(None, shared.CLASSIFIER_TEXT, "local")
    workers: shared.WorkerCount | None = param(None, "calls in flight", 8)
    max_cost: shared.Usd | None = param(
        None, "USD that this request may spend, together with its repetitions under the same Idempotency-Key", 1.0
    )
    spent_before: shared.Usd = param(0.0, "USD of `max_cost` that earlier parts of the same input have spent", 0.0)
    max_wait: shared.Seconds = param(120.0, "seconds to wait for a provider's outage", 120.0)
    deadline: shared.Seconds | None = param(None, "seconds after which nothing new is begun", 600.0)
