"""The record of runs in responses."""

from datetime import datetime

from pydantic import BaseModel, Field

from triage_cli.api.schemas.request_fields import QueryParameters


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
