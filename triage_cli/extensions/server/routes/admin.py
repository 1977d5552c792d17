"""Endpoints for administrators: API keys, erasure, the record of runs, proof of the audit log; and to undo imports."""

from typing import Annotated, Any

from fastapi import Depends, Path, Query
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server.auth import Caller
from triage_cli.extensions.server.dependencies import CurrentCaller, CurrentServer, CurrentTriage, json_only, new_router
from triage_cli.extensions.server.idempotency import reply
from triage_cli.extensions.server.ndjson import NdjsonResponse
from triage_cli.extensions.server.routes.bulk import ANSWERED_BY_LINES, outcome_stream
from triage_cli.extensions.server.schemas import administration
from triage_cli.extensions.server.schemas.records import described
from triage_cli.service import KeyRing, LocalTriage

router = new_router("administration", json_only)
imports_router = new_router("bulk", json_only)
KeyName = Annotated[str, Path(max_length=80, description="the key's name", examples=["prometheus"])]
RunName = Annotated[
    str,
    Path(
        max_length=80,
        description="the id of a run of the import, its last 6 or more characters, or `last`: the caller's last import",
        examples=["last"],
    ),
]


def _key_ring(server_state: CurrentServer, caller: CurrentCaller) -> KeyRing:
    return KeyRing(server_state.services.store, server_state.api_access, caller.name)


CurrentKeyRing = Annotated[KeyRing, Depends(_key_ring)]


def _key_record(key: dm.ApiKey) -> dict[str, Any]:
    return {field: getattr(key, field) for field in administration.Key.model_fields}


@router.get("/keys", response_model=list[administration.Key])
def list_keys(ring: CurrentKeyRing) -> Response:
    """List the API keys, oldest first."""
    return reply([_key_record(key) for key in ring.list()])


@router.post("/keys", status_code=201, response_model=described(dm.CreatedKey))
def create_key(body: administration.KeyIn, ring: CurrentKeyRing) -> Response:
    """Create an API key. It is shown only now, since only its hash is stored."""
    return reply(ring.create(body.name, body.role, body.expires_in)._asdict(), 201)


@router.post("/keys/{name:path}/rotate", response_model=described(dm.CreatedKey))
def rotate_key(name: KeyName, ring: CurrentKeyRing, body: administration.RotateIn | None = None) -> Response:
    """Create the next key with this name, which the audit log keeps. The key is shown only now."""
    body = body or administration.RotateIn()
    return reply(ring.rotate(name, body.overlap, body.expires_in)._asdict())


@router.delete("/keys/{name:path}", response_model=administration.Key)
def revoke_key(name: KeyName, ring: CurrentKeyRing) -> Response:
    """Revoke an API key: the next request with it is refused. Its name cannot be used again."""
    return reply(_key_record(ring.revoke(name)))


@router.post("/forget", **ANSWERED_BY_LINES)
def forget(body: administration.ForgetIn, server_state: CurrentServer, triage: CurrentTriage) -> NdjsonResponse:
    """Erase the text of a customer's tickets; the audit log holds none and stays valid.

    Deliveries, exports and backups are not erased: `routed_to` of a line's ticket says where its text is.
    """
    return outcome_stream(server_state, triage, triage.forget(body.customer_id))


@router.get("/runs", response_model=list[administration.Run])
def list_runs(query: Annotated[administration.RunQuery, Query()], triage: CurrentTriage) -> Response:
    """List bulk commands and requests, the latest first: what each did, at what cost, and how it ended."""
    return reply([dm.run_record(run) for run in triage.runs(query.limit)])


@router.post("/audit/verify", response_model=described(dm.Head))
def verify_audit_log(server_state: CurrentServer, body: administration.VerifyIn | None = None) -> Response:
    """Recompute the whole audit log, and return its head.

    409 with the code `check_failed` names the first event that was changed, moved, inserted or removed.
    """
    heads = (body or administration.VerifyIn()).heads
    kept_heads = heads if isinstance(heads, dict) else dict.fromkeys(heads, "that was expected")
    return reply(server_state.verify_audit_log(kept_heads)._asdict())


def own_import(triage: LocalTriage, caller: Caller, run: str) -> tuple[dm.Run, ...]:
    """Return the runs of an import that a caller may take back. Raises `RefusedError` if it is somebody else's."""
    runs = triage.imported(run)
    if caller.role != "admin" and runs[0].actor != caller.name:
        raise dm.RefusedError(
            f'the key "{caller.name}" has not made this import', hint="this takes a key of role admin"
        )
    return runs


@imports_router.get("/imports/{run}", response_model=list[administration.Run])
def get_import(run: RunName, triage: CurrentTriage, caller: CurrentCaller) -> Response:
    """Return the runs of an import, the oldest first: of one upload there may be several.

    Callers see their own imports, administrators all.
    """
    return reply([dm.run_record(one) for one in own_import(triage, caller, run)])


@imports_router.post("/imports/{run}/undo", **ANSWERED_BY_LINES)
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
    runs, dry_run = own_import(triage, caller, run), (body or administration.UndoIn()).dry_run
    return outcome_stream(server_state, triage, triage.undo(runs[0].run_id, dry_run=dry_run))
