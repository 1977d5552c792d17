"""Requests to route, and where a ticket went or would go."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from triage_cli.api.schemas.records import Response
from triage_cli.api.schemas.shared_fields import (
    DRY_RUN_FIELD,
    RUN_ID_FIELD,
    TICKET_ID_FIELD,
    Problem,
    QueryParameters,
    RequestBody,
    ShortName,
)
from triage_cli.api.schemas.ticket_selection import LIMIT_FIELD, Count, SelectionIn
from triage_cli.domain import Attempt, Status


class Delivery(Response):
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


class RouteIn(RequestBody):
    """How to route one ticket."""

    again: bool = Field(False, description="send it again to destinations that have accepted it")
    retry_dead: bool = Field(False, description="try dead letters again")


class RouteQuery(QueryParameters):
    """How to route, as the command line's options."""

    dry_run: bool = DRY_RUN_FIELD


class RouteManyQuery(RouteQuery):
    """How to route many tickets; the body may say the same."""

    limit: Count | None = LIMIT_FIELD


class RoutePlanIn(RequestBody):
    """How to route."""

    retry_dead: bool = Field(False, description="try dead letters again")
    again: bool = Field(False, description="send again what was accepted already")
    stay: Annotated[float, Field(ge=0, le=60)] = Field(0.0, description="seconds to wait for attempts that fall due")


class RouteManyIn(RequestBody):
    """Which tickets to route, and how."""

    selection: SelectionIn = Field(default_factory=SelectionIn, description="which tickets")
    plan: RoutePlanIn = Field(default_factory=RoutePlanIn, description="how")


class PreviewQuery(QueryParameters):
    """Assumptions about the ticket."""

    category: ShortName | None = Field(
        None, description="as if a person had given it this category", examples=["Billing"]
    )


class RoutePreview(BaseModel):
    """Where a ticket would be sent now; nothing is sent."""

    ticket_id: str = TICKET_ID_FIELD
    status: Status = Field(description="where the ticket stands")
    category: str | None = Field(description="the category that a rule was looked up for")
    rule: str | None = Field(description="the first rule that matches; null: none")
    destinations: list[str] = Field(description="where the rule sends it")
    new: list[str] = Field(description="which of them would get a delivery; the others have one already")
    due: list[str] = Field(default=[], description="where a delivery that is there already would be tried now")
    why: list[str] = Field(description="the same in sentences")


class Routed(BaseModel):
    """Where a ticket went."""

    ticket_id: str = TICKET_ID_FIELD
    routed_to: str | None = Field(description="the destinations that accepted it")
    deliveries: list[Delivery] = Field(description="all its deliveries so far")
    status: Status = Field(description="where the ticket stands now")
    problem: Problem | None = Field(
        default=None, description="why a delivery is still pending, or its result was not saved: code `unavailable`"
    )
    preview: RoutePreview | None = Field(default=None, description="with `dry_run`: where it would be sent")
