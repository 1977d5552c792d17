"""Requests to route, and where a ticket went or would go."""

from typing import Annotated

from pydantic import BaseModel, Field

from triage_cli.api.schemas.deliveries import Delivery
from triage_cli.api.schemas.problems import Problem
from triage_cli.api.schemas.request_fields import QueryParameters, RequestBody, ShortName
from triage_cli.api.schemas.response_fields import TICKET_ID_FIELD
from triage_cli.api.schemas.ticket_selection import SelectionIn
from triage_cli.domain.tickets import Status


class RouteIn(RequestBody):
    """How to route one ticket."""

    again: bool = Field(False, description="send it again to destinations that have accepted it")
    retry_dead: bool = Field(False, description="try dead letters again")


class RoutePlanIn(RequestBody):
    """How to route."""

    retry_dead: bool = Field(False, description="try dead letters again")
    again: bool = Field(False, description="send again what was accepted already")
    stay: Annotated[float, Field(ge=0, le=60)] = Field(0.0, description="seconds to wait for attempts that fall due")


class RouteManyIn(RequestBody):
    """Which tickets to route, and how."""

    selection: SelectionIn = Field(default_factory=SelectionIn, description="which tickets")
    plan: RoutePlanIn = Field(default_factory=RoutePlanIn, description="how")


class Routed(BaseModel):
    """Where a ticket went."""

    ticket_id: str = TICKET_ID_FIELD
    routed_to: str | None = Field(description="the destinations that accepted it")
    deliveries: list[Delivery] = Field(description="all its deliveries so far")
    status: Status = Field(description="where the ticket stands now")
    problem: Problem | None = Field(
        default=None, description="why a delivery is still due, or its result was not saved: code `unavailable`"
    )


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
    why: list[str] = Field(description="the same in sentences")
