"""Agents' suggestions in requests and responses."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from triage_cli.api.schemas.request_fields import RequestBody, ShortName
from triage_cli.api.schemas.response_fields import TICKET_ID_FIELD


class SuggestionIn(RequestBody):
    """A category that an agent suggests. It decides nothing; only a person or a classifier decides."""

    category: ShortName = Field(description="one of the configuration, in any case")
    agent: Annotated[str, StringConstraints(min_length=1, max_length=60)] = Field(description="the agent's name")
    note: Annotated[str, StringConstraints(max_length=2000)] | None = Field(None, description="why")


class AgentSuggestion(BaseModel):
    """A category that an agent suggests for a ticket."""

    ticket_id: str = TICKET_ID_FIELD
    category: str = Field(description="the category")
    agent: str = Field(description="the agent's name, as it gave it")
    actor: str = Field(description="the person or key on whose behalf it acts")
    at: datetime = Field(description="when")
    note: str | None = Field(description="why, in the agent's words")
