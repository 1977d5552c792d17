"""Endpoints for imports: what one was, and to take it back."""

from typing import Annotated

from fastapi import Path
from starlette.responses import Response

from triage_cli.api.auth import Caller
from triage_cli.api.dependencies import CurrentCaller, CurrentServer, CurrentTriage, json_only, new_router
from triage_cli.api.idempotency import reply
from triage_cli.api.ndjson import NdjsonResponse
from triage_cli.api.routes.bulk import ANSWERED_BY_LINES, outcome_stream
from triage_cli.api.schemas import administration
from triage_cli.domain import RefusedError, Run, run_record
from triage_cli.service import LocalTriage

router = new_router("bulk", json_only)
RunName = Annotated[
    str,
    Path(
        max_length=80,
        description="the id of a run of the import, its last 6 or more characters, or `last`: the caller's last import",
        examples=["last"],
    ),
]


def _own_import(triage: LocalTriage, caller: Caller, run: str) -> tuple[Run, ...]:
    """Return the runs of an import that a caller may take back. Raises `RefusedError` if it is somebody else's."""
    runs = triage.imported(run)
    if caller.role != "admin" and runs[0].actor != caller.name:
        raise RefusedError(f'the key "{caller.name}" has not made this import', hint="this takes a key of role admin")
    return runs


@router.get("/imports/{run}", response_model=list[administration.Run])
def get_import(run: RunName, triage: CurrentTriage, caller: CurrentCaller) -> Response:
    """Return the runs of an import, the oldest first: of one upload there may be several.

    Callers see their own imports, administrators all.
    """
    return reply([run_record(one) for one in _own_import(triage, caller, run)])


@router.post("/imports/{run}/undo", **ANSWERED_BY_LINES)
def undo_import(
    run: RunName,
    server_state: CurrentServer,
    triage: CurrentTriage,
    caller: CurrentCaller,
    body: administration.UndoIn | None = None,
) -> NdjsonResponse:
    """Take an import back: the tickets that it made, and nobody has touched since, are withdrawn with their text.

    `did` of a line is `withdrawn`, and `routed_to` of its ticket says where its text was sent, or perhaps sent; or the
    ticket stays: `decided` by a person, `rewritten` by a later import, `asked` about in a batch, or `changed` by this
    import, which had not made it. Callers take back their own imports, administrators all.
    """
    runs, dry_run = _own_import(triage, caller, run), (body or administration.UndoIn()).dry_run
    return outcome_stream(server_state, triage, triage.undo(runs[0].run_id, dry_run=dry_run))
