"""Responses with the whole history of a ticket, and with its explanation."""

from pydantic import BaseModel, Field

from triage_cli.api.schemas.agent_suggestions import AgentSuggestion
from triage_cli.api.schemas.audit_log import Event
from triage_cli.api.schemas.classification import Classification
from triage_cli.api.schemas.deliveries import Delivery
from triage_cli.api.schemas.response_fields import TICKET_ID_FIELD
from triage_cli.api.schemas.tickets import Ticket
from triage_cli.domain.tickets import Status


class Whole(Ticket):
    """A ticket with its whole history, oldest first."""

    classifications: list[Classification] = Field(description="all answers")
    deliveries: list[Delivery] = Field(description="all its deliveries")
    events: list[Event] = Field(description="its part of the audit log")


class Why(BaseModel):
    """The explanation of a ticket's decision."""

    ticket_id: str = TICKET_ID_FIELD
    status: Status = Field(description="where it stands")
    why: list[str] = Field(description="a sentence each: what was asked, what came back, what happens next")
    agent_suggestions: list[AgentSuggestion] = Field(default=[], description="what agents suggest; it decides nothing")
