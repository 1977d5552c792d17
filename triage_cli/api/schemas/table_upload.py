"""The upload of a table of tickets: its media types, its examples, its parameters."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from triage_cli.api.ndjson import OCTETS
from triage_cli.api.schemas.outcome_lines import BINARY_STRING
from triage_cli.api.schemas.request_fields import CLASSIFIER_TEXT, QueryParameters, Seconds, ShortName, Usd, WorkerCount

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
