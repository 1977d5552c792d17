"""Endpoints for operators: liveness, readiness and metrics.

The metrics are written directly in Prometheus's text format: nearly all are counted in the database on request, so the
registry of a client library would have nothing to keep.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from starlette.responses import Response

from triage_cli.api.dependencies import ServedHere
from triage_cli.api.metrics import family, line
from triage_cli.api.schemas import responses
from triage_cli.domain.errors import UnavailableError
from triage_cli.domain.tickets import STATUSES
from triage_cli.domain.views import Gauges

router = APIRouter(tags=["operations"])
TEXT = {"schema": {"type": "string"}, "example": 'triage_tickets{status="new"} 3\n'}
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/health", response_model=responses.Health)
async def health() -> dict[str, str]:
    """Tell that the process is alive."""
    return {"status": "ok"}


@router.get("/ready", response_model=responses.Health)
async def ready(served: ServedHere, request: Request) -> dict[str, str]:
    """Tell whether requests are to be sent here: the database answers, and the server is not about to end."""
    if served.draining:
        raise UnavailableError("the server is about to end", hint="ask another one")
    await run_sync(served.gate.ping, limiter=request.app.state.probes)
    return {"status": "ready"}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Metrics, a line each", "content": {"text/plain": TEXT}}},
)
def metrics(served: ServedHere) -> Response:
    """Return the numbers that a monitor watches, in Prometheus's text format."""
    lines = [*_gauges(served.gate.gauges(), datetime.now(UTC)), *served.meter.lines()]
    return Response("\n".join(lines) + "\n", media_type=MEDIA_TYPE)


def _gauges(gauges: Gauges, now: datetime) -> Iterator[str]:
    yield from family("triage_tickets", "gauge", "Tickets by status.")
    yield from (line("triage_tickets", {"status": s}, gauges.by_status.get(s, 0)) for s in STATUSES)
    yield from family("triage_oldest_new_seconds", "gauge", "How long the oldest new ticket has waited; 0: none does.")
    oldest = datetime.fromisoformat(gauges.oldest_new) if gauges.oldest_new else now
    yield line("triage_oldest_new_seconds", {}, round(max(0.0, (now - oldest).total_seconds()), 3))
    yield from family("triage_deliveries", "gauge", "Deliveries by destination and state.")
    for (destination, state), number in sorted(gauges.deliveries.items()):
        yield line("triage_deliveries", {"destination": destination, "state": state}, number)
    for name, help_text, numbers in (
        ("triage_answers_total", "Answers that classifiers were asked for.", gauges.answers),
        ("triage_answer_failures_total", "Answers that were none.", gauges.failures),
        ("triage_cost_usd_total", "What answers have cost, in USD.", gauges.cost_usd),
    ):
        yield from family(name, "counter", help_text)
        yield from (line(name, {"classifier": key}, number) for key, number in sorted(numbers.items()))
