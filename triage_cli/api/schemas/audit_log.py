"""The audit log in requests and responses: its events, its head."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from triage_cli.api.schemas.request_fields import (
    EXAMPLE_SINCE,
    EXAMPLE_UNTIL,
    Moment,
    QueryParameters,
    RequestBody,
    ShortText,
)
from triage_cli.api.schemas.response_fields import RUN_ID_FIELD

HeadHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PlacesByHead = Annotated[
    dict[HeadHash, Annotated[str, StringConstraints(max_length=5000)]],
    Field(max_length=10_000, json_schema_extra={"additionalProperties": False}),
]


class VerifyIn(RequestBody):
    """Heads that must be in the audit log."""

    heads: Annotated[list[HeadHash], Field(max_length=10_000)] | PlacesByHead = Field(
        default_factory=list,
        description="heads that were kept elsewhere; as an object, by where each was kept, which an error repeats",
    )


class Head(BaseModel):
    """The head of the audit log: kept elsewhere, it proves later that nothing before it was changed."""

    head: str = Field(description="the hash of the last event")
    events: int = Field(description="how many there are")


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
