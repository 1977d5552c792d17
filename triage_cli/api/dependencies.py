"""What every endpoint stands on: the use cases and the gate, who is calling, and the sessions at work."""

import threading
from collections.abc import Mapping
from typing import Annotated, NamedTuple
from weakref import WeakSet

from fastapi import Depends, Request

from triage_cli.api.background import Worker
from triage_cli.api.metrics import Metrics
from triage_cli.api.ndjson import StreamSlots
from triage_cli.config import HookSpec
from triage_cli.domain.errors import MediaTypeError
from triage_cli.ports.storage import ApiAccessStore
from triage_cli.service.intake.group_commit import GroupCommitter
from triage_cli.service.local_triage import LocalTriage
from triage_cli.service.services import Services

MEGABYTE = 1 << 20


class Limits(NamedTuple):
    """What callers are held to: requests a minute and key (None: any number), bytes of a body, seconds for it.

    `bulk_body` and `rows` hold for the endpoints that take many tickets at once; there `body_seconds` is how long the
    next piece may take, elsewhere the whole body.
    """

    per_minute: int | None = 6000
    body: int = MEGABYTE
    bulk_body: int = 256 * MEGABYTE
    rows: int = 100_000
    body_seconds: float = 20.0


class Caller(NamedTuple):
    """Who makes a request, and what that one may do: reader, agent or admin. The audit log has the name."""

    key_id: str
    name: str
    role: str


class Hook(NamedTuple):
    """A webhook that may come in, and the secrets that sign it, the newest first."""

    spec: HookSpec
    secrets: tuple[bytes, ...]


class ServerState:
    """One running server: what it stands on, what it counts, and the sessions that are at work just now."""

    def __init__(
        self,
        parts: Services,
        gate: ApiAccessStore,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        hooks: Mapping[str, Hook] | None = None,
    ) -> None:
        self.parts = parts
        self.gate = gate
        self.limits = limits
        self.hooks = hooks or {}
        self.meter = Metrics()
        self.room = StreamSlots()
        self.worker = Worker(parts, {name: hook.spec.on_create for name, hook in self.hooks.items()})
        self.together = GroupCommitter(parts.store, parts.categories)
        self.stopping = False
        self._sessions: WeakSet[LocalTriage] = WeakSet()
        self._lock = threading.Lock()

    def session(self, actor: str, command_line: str) -> LocalTriage:
        """Return the use cases for one request; they are told to stop when the server is."""
        triage = LocalTriage(self.parts, actor, command_line)
        with self._lock:
            self._sessions.add(triage)
            if self.stopping:
                triage.stop()
        return triage

    def stop(self) -> None:
        """Let no session take new work; what is in flight ends and is kept."""
        with self._lock:
            self.stopping = True
            for triage in list(self._sessions):
                triage.stop()
        self.worker.stop()

    def close(self) -> None:
        """End what is in the background, once all requests have ended."""
        self.worker.stop()
        self.worker.join()
        self.together.close()


async def _served(request: Request) -> ServerState:
    served: ServerState = request.app.state.served
    return served


async def _caller(request: Request) -> Caller:
    caller: Caller = request.scope["caller"]  # the door lets nobody in without
    return caller


async def _triage(request: Request) -> LocalTriage:
    served, caller = await _served(request), await _caller(request)
    route = request.scope.get("route")
    return served.session(caller.name, f"{request.method} {getattr(route, 'path', '')}")


async def json_only(request: Request) -> None:
    """Refuse a body that is no JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and media_type != "application/json":
        raise MediaTypeError(f'a body of type "{media_type}" is not read here', hint="send application/json")


# What an endpoint asks for as a parameter.
ServedHere = Annotated[ServerState, Depends(_served)]
CallerHere = Annotated[Caller, Depends(_caller)]
TriageHere = Annotated[LocalTriage, Depends(_triage)]
