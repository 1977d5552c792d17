"""Responses to the senders of webhooks."""

from pydantic import BaseModel, Field

from triage_cli.api.schemas.shared_fields import TICKET_ID_FIELD


class Challenge(BaseModel):
    """The challenge that a sender of webhooks wants back."""

    challenge: str = Field(description="as it was sent")


class Ignored(BaseModel):
    """An event that the configuration leaves out; nothing was stored."""

    ignored: bool = Field(description="true")


class EventResult(BaseModel):
    """What became of one event; without ticket and error, the configuration leaves it out."""

    ticket_id: str | None = TICKET_ID_FIELD
    error: str | None = Field(description="why it is no ticket")


class Received(BaseModel):
    """What became of several events that came in one request."""

    events: list[EventResult] = Field(description="in their order")
