"""The response to a bulk request: a stream of JSON lines, one for each outcome, then the end or the problem."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from triage_cli.api import problems
from triage_cli.api.ndjson import NdjsonResponse
from triage_cli.api.schemas import bulk as outcome_schemas
from triage_cli.api.server_log import error_log
from triage_cli.api.server_state import ServerState
from triage_cli.api.spoken_hints import spoken
from triage_cli.client import wire_outcomes
from triage_cli.domain import Outcome, TriageError, UnavailableError, compact
from triage_cli.service import LocalTriage

# What an endpoint tells FastAPI that answers by JSON lines.
ANSWERED_BY_LINES: dict[str, Any] = {
    "status_code": 200,
    "response_class": NdjsonResponse,
    "responses": outcome_schemas.OUTCOME_LINES,
}


def outcome_stream(server_state: ServerState, triage: LocalTriage, outcomes: Iterable[Outcome[Any]]) -> NdjsonResponse:
    """Return the response that streams a line for each outcome. Raises `OverloadedError`."""
    server_state.stream_slots.take()
    return NdjsonResponse(
        server_state.stream_slots, lambda: outcome_lines(server_state, triage, outcomes), triage.stop, lambda: None
    )


def outcome_lines(server_state: ServerState, triage: LocalTriage, outcomes: Iterable[Outcome[Any]]) -> Iterator[str]:
    """Yield a line for each outcome, then exactly one `end` or `problem`."""
    counts_by_action: Counter[str] = Counter()
    try:
        for outcome in outcomes:
            counts_by_action[outcome.action] += 1
            yield wire_outcomes.outcome_line(outcome, spoken) + "\n"
        _raise_if_stopping(server_state)
    except TriageError as error:
        problem = problems.problem_details(error)
    except Exception:  # noqa: BLE001 - the stream's status was sent long ago
        error_log.exception("a bulk request failed")
        hint = "run it again, and look into the server's log"
        problem = problems.problem_details(TriageError("something unexpected went wrong on the server", hint=hint))
    else:
        yield compact({"end": counts_by_action, "cost_usd": triage.paid}) + "\n"
        return
    yield compact({"problem": problem, "cost_usd": triage.paid}) + "\n"


def _raise_if_stopping(server_state: ServerState) -> None:
    """Raise an error if the outcomes ended because the server is stopping."""
    if server_state.stopping:
        raise UnavailableError("the server is shutting down", hint="what was done is stored; send the same again")
