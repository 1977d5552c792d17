"""The schemas of people's verdicts and of agents' suggestions."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from triage_cli.api.schemas.shared_fields import TICKET_ID_FIELD, RequestBody, ShortName

MOST_VERDICTS = 1000


class VerdictIn(RequestBody):
    """A person's category for a ticket; null removes it, and takes no note."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"category": "Billing", "note": "a refund, says the invoice"}]}
    )

    category: ShortName | None = Field(description="one of the configuration, in any case")
    note: Annotated[str, StringConstraints(max_length=10_000)] | None = Field(
        None, description="why; kept with the verdict, and erased by `forget`"
    )


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
