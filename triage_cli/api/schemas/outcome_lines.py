"""The JSON lines of a bulk endpoint's response."""

from typing import Any

from pydantic import BaseModel, Field

from triage_cli.api.ndjson import OCTETS
from triage_cli.api.schemas.problems import ItemError, Problem
from triage_cli.api.schemas.tickets import Ticket
from triage_cli.client import wire_outcomes

# A binary string, so that generated clients send a body unchanged, and return the lines unchanged.
BINARY_STRING = {"type": "string", "format": "binary"}
_LINE_STREAM = {
    "schema": BINARY_STRING
    | {
        "description": "JSON objects, one a line",
        "contentMediaType": wire_outcomes.LINES_MEDIA_TYPE,
        "contentSchema": {"$ref": "#/components/schemas/Line"},
    },
    "example": '{"row": 0, "did": "rejected", "error": {"code": "not_found", '
    '"message": "no ticket T-7", "hint": ""}}\n'
    '{"end": {"rejected": 1}, "cost_usd": 0.0}\n',
}
OUTCOME_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "one outcome a line; the last line is `end` or `problem`",
        "content": {wire_outcomes.LINES_MEDIA_TYPE: _LINE_STREAM, OCTETS: _LINE_STREAM},
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
    error: ItemError | None = Field(None, description="the error of this item")
    end: dict[str, int] | None = Field(None, description="the number of items by result; on the last line")
    problem: Problem | None = Field(None, description="why the work ended early; the last line")
    cost_usd: float | None = Field(None, description="what this request has spent; on the last line")
