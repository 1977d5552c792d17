"""Endpoints for operators: liveness, readiness and metrics."""

import anyio
from anyio.to_thread import run_sync
from fastapi import Request
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server.dependencies import CurrentServer, new_router
from triage_cli.extensions.server.schemas import administration

# Probes and scrapers add parameters of their own.
router = new_router("operations", route_class=APIRoute)
METRICS_TEXT = {"schema": {"type": "string"}, "example": 'triage_database_tickets{status="new"} 3.0\n'}

PROBE_TIMEOUT = 3.0  # seconds: a readiness probe waits no longer for a database that hangs


@router.get("/health", response_model=administration.Health)
async def health() -> dict[str, str]:
    """Return 200 while the process is alive."""
    return {"status": "ok"}


@router.get("/ready", response_model=administration.Health)
async def ready(server_state: CurrentServer, request: Request) -> dict[str, str]:
    """Return whether the server takes requests: the database answers, and the server is not about to stop."""
    if server_state.draining:
        raise dm.UnavailableError("the server is about to end", hint="ask another one")
    try:
        with anyio.fail_after(PROBE_TIMEOUT):
            await run_sync(server_state.api_access.ping, limiter=request.app.state.probes, abandon_on_cancel=True)
    except TimeoutError as late:
        raise dm.StoreUnavailableError(f"it did not answer within {PROBE_TIMEOUT:g} s") from late
    return {"status": "ready"}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Metrics, one line each", "content": {"text/plain": METRICS_TEXT}}},
)
def metrics(server_state: CurrentServer) -> Response:
    """Return the numbers that a monitor watches, in Prometheus's text format."""
    metrics_text = server_state.metrics.text(server_state.services.store.gauges())
    return Response(metrics_text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
