"""Deliveries and their attempts in responses."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from triage_cli.api.schemas.response_fields import RUN_ID_FIELD, TICKET_ID_FIELD


class Attempt(BaseModel):
    """One try at a delivery."""

    delivery_id: str = Field(description="the delivery")
    number: int = Field(description="the number of the try, from 1")
    at: datetime = Field(description="when it ended")
    status: int | None = Field(description="the HTTP status that came back")
    error: str | None = Field(description="why it was not accepted")
    seconds: float = Field(description="how long it took")
    answer: str | None = Field(description="the beginning of a refusal")


class Delivery(BaseModel):
    """What one destination gets for one decision."""

    delivery_id: str = Field(description="its id, the same in all attempts")
    ticket_id: str = TICKET_ID_FIELD
    classification_id: str | None = Field(description="the answer it follows from")
    category: str = Field(description="the ticket's category then")
    destination: str = Field(description="where it goes")
    rule: str = Field(description="the rule that sends it there")
    config_hash: str = Field(description="the routing map then")
    replaces: str | None = Field(description="the delivery elsewhere that it replaces")
    state: Literal["pending", "accepted", "dead", "superseded"] = Field(description="where it stands")
    attempts: int = Field(description="how often it was tried")
    due_at: datetime = Field(description="when it is tried next")
    last_status: int | None = Field(description="the HTTP status of the last try")
    last_error: str | None = Field(description="why the last try failed")
    run_id: str | None = RUN_ID_FIELD
    at: datetime = Field(description="when it was decided on")
    done_at: datetime | None = Field(description="when it was accepted, or given up")
    doubtful: bool = Field(description="whether it may have arrived although no answer came")
    kept: dict[str, str | int | float | bool] = Field(description="what the destination's `keep` has kept of an answer")
    tries: list[Attempt] = Field(description="its attempts, the first one first")
