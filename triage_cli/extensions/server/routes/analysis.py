"""The endpoint of the report."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server.dependencies import CurrentAnalysis, json_only, new_router
from triage_cli.extensions.server.idempotency import reply
from triage_cli.extensions.server.schemas import shared_fields as shared
from triage_cli.extensions.server.schemas.records import Moment, described
from triage_cli.extensions.server.schemas.shared_fields import param

router = new_router("analysis", json_only)


class ReportQuery(shared.QueryParameters):
    """The period of a report, up to now."""

    since: Moment | None = param(None, "its beginning; without it, a week ago", shared.EXAMPLE_SINCE)


@router.get("/report", response_model=described(dm.Report))
def report(query: Annotated[ReportQuery, Query()], current: CurrentAnalysis) -> Response:
    """Report what happened since: volume, who decided what, how sure and how right, what waits, spikes and drift."""
    since = datetime.now(UTC) - timedelta(days=7) if query.since is None else query.since.astimezone(UTC)
    return reply(dm.report_record(current.report(since)))
