"""The schemas of reports: statistics and runs."""

from datetime import datetime

from pydantic import BaseModel, Field

from triage_cli.api.schemas.shared_fields import QueryParameters
from triage_cli.api.schemas.ticket_selection import TicketConditions
from triage_cli.domain import StatsKey


class Waiting(BaseModel):
    """The tickets in a provider's batches."""

    tickets: int = Field(description="tickets in them")
    batches: int = Field(description="batches")
    since: datetime = Field(description="when the oldest was sent")


class Audited(BaseModel):
    """How many sure answers of a step the next step was asked to confirm, and how many it confirmed."""

    asked: int = Field(description="answers that were checked")
    agreed: int = Field(description="how many of them were confirmed")


class Stats(BaseModel):
    """Counts over everything; `deliveries` maps destination to state to count."""

    tickets: int = Field(description="all tickets")
    by_status: dict[str, int] = Field(description="tickets by status")
    by_category: dict[str, int] = Field(description="tickets by category")
    by_classifier: dict[str, int] = Field(description="tickets by classifier")
    by_day: dict[str, int] = Field(description="tickets by the day they were stored")
    deliveries: dict[str, dict[str, int]] = Field(description="deliveries by destination and state")
    cost_usd: float = Field(description="what all answers have cost")
    events: int = Field(description="events in the audit log")
    waiting: dict[str, Waiting] = Field(description="by classifier: what its batches hold")
    audited: dict[str, Audited] = Field(description="by step of a cascade: how its sure answers were checked")
    oldest_pending_delivery: datetime | None = Field(
        description="when the oldest delivery that is pending was created; null if none is"
    )


class StatsGroup(BaseModel):
    """The counts of a group of tickets, with the requested keys; a key is null if the tickets have no value."""

    category: str | None = Field(None, description="the group's category")
    status: str | None = Field(None, description="its status")
    day: str | None = Field(None, description="the day its tickets were stored")
    classifier: str | None = Field(None, description="its classifier")
    destination: str | None = Field(None, description="its destination")
    tickets: int = Field(description="tickets in the group")
    sure: int = Field(description="how many of them have a category")
    needs_review: int = Field(description="how many of them wait for a person")
    cost_usd: float = Field(description="what their answers have cost")


class StatsQueryIn(TicketConditions):
    """The tickets to count, and the keys of groups."""

    by: list[StatsKey] = Field(
        default_factory=list, description="the keys of a group; may be repeated", examples=[["category"]]
    )


class RunQuery(QueryParameters):
    """The number of runs."""

    limit: int = Field(50, ge=1, le=1000, description="runs in the answer", examples=[50])


class Run(BaseModel):
    """One bulk command or request. Without `ended_at` it still runs, or was killed (`exit_code` 137)."""

    run_id: str = Field(description="its id, which events have too")
    kind: str = Field(description="the command")
    command_line: str = Field(alias="words", description="as it was called")
    actor: str = Field(description="who called it")
    host: str = Field(description="the machine")
    pid: int = Field(description="its process")
    started_at: datetime = Field(description="when it began")
    ended_at: datetime | None = Field(description="when it ended")
    seconds: float | None = Field(description="how long it took")
    counts: dict[str, int] = Field(description="the number of tickets by result")
    cost_usd: float = Field(description="what its answers have cost")
    exit_code: int | None = Field(description="how it ended")
