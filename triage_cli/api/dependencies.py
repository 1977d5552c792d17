"""Dependencies of the endpoints: the server's state, the caller, and the use cases for one request."""

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple, TypeVar
from weakref import WeakSet

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import Headers

from triage_cli.api.background import Worker
from triage_cli.api.metrics import Metrics
from triage_cli.api.ndjson import StreamSlots
from triage_cli.config import HookSpec
from triage_cli.domain.audit.events import Head
from triage_cli.domain.errors import MediaTypeError, UnavailableError
from triage_cli.domain.outcomes import Outcome
from triage_cli.ports.storage import ApiAccessStore
from triage_cli.service.concurrent_callers.single_tickets import SingleTickets
from triage_cli.service.delivery.destination_breakers import DestinationBreakers
from triage_cli.service.local_consultation import LocalConsultation
from triage_cli.service.local_triage import LocalTriage
from triage_cli.service.services import Services

MEGABYTE = 1 << 20
T = TypeVar("T")
Session = TypeVar("Session", LocalTriage, LocalConsultation)


class Limits(NamedTuple):
    """Limits of requests: requests per minute and key (None: no limit), bytes of a body, seconds for it.

    `hook_body` applies to incoming webhooks: HubSpot sends up to 100 events at once, each with up to 64 KB of text.
    `bulk_body` and `rows` apply to tables, which are read row by row, and `bulk_json` to the other bodies of bulk
    endpoints, which take sixteen times their size in memory. For both, `body_seconds` limits the wait for the next
    piece, elsewhere for the whole body. So many `failed_keys` in a row from one address are answered as such; then one
    a second.
    """

    per_minute: int | None = 6000
    body: int = MEGABYTE
    hook_body: int = 8 * MEGABYTE
    bulk_body: int = 256 * MEGABYTE
    bulk_json: int = 32 * MEGABYTE
    rows: int = 100_000
    body_seconds: float = 20.0
    failed_keys: int = 60


class Caller(NamedTuple):
    """The caller of a request and its role: reader, agent or admin. The audit log records the name.

    Limits and idempotency keys go by `caller_id`, which stays the same when a key is rotated.
    """

    caller_id: str
    name: str
    role: str


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


class Hook(NamedTuple):
    """An incoming webhook, and the secrets that sign it, the newest first."""

    spec: HookSpec
    secrets: tuple[bytes, ...]


class ServerState:
    """The state of a running server: its services, metrics, worker, and the sessions of running requests."""

    def __init__(
        self,
        services: Services,
        gate: ApiAccessStore,
        verify: Callable[[Mapping[str, str]], Head],
        limits: Limits = Limits(),  # noqa: B008 - immutable
        hooks: Mapping[str, Hook] | None = None,
        tokens: Callable[[str], Caller] | None = None,
        cors_origins: Sequence[str] = (),
    ) -> None:
        self.services = services._replace(served=True)
        self.gate = gate
        self.limits = limits
        self.hooks = hooks or {}
        self.verify = verify
        self.tokens = tokens
        self.cors_origins = cors_origins
        self.meter = Metrics()
        self.room = StreamSlots()
        shared = self.services._replace(routing_map=services.routing_map._replace(circuits=DestinationBreakers()))
        self.worker = Worker(shared, {name: hook.spec.on_create for name, hook in self.hooks.items()})
        self.singles = SingleTickets(shared)
        self.stopping = False
        self.draining = False  # about to stop: `/ready` says so, and all else is served
        self._sessions: WeakSet[LocalTriage | LocalConsultation] = WeakSet()
        self._lock = threading.Lock()

    def session(self, actor: str, command_line: str) -> LocalTriage:
        """Return the use cases for one request; they are stopped with the server."""
        return self.stopped_with_server(LocalTriage(self.services, actor, command_line))

    def stopped_with_server(self, session: Session) -> Session:
        """Return what a request works with; it is stopped with the server."""
        with self._lock:
            self._sessions.add(session)
            if self.stopping:
                session.stop()
        return session

    def stop(self) -> None:
        """Let no session take new work; what is in flight is completed and saved."""
        with self._lock:
            self.stopping = True
            for session in list(self._sessions):
                session.stop()
        self.worker.stop()
        self.singles.stop()

    def close(self) -> None:
        """End the background work, after all requests have ended."""
        self.worker.stop()
        self.worker.join()
        self.singles.close()


def only_outcome(outcomes: Iterable[Outcome[T]]) -> Outcome[T]:
    """Return the outcome of one ticket. Raises `UnavailableError` if there is none because the server is stopping."""
    for outcome in tuple(outcomes):  # all of them, so that the run ends
        return outcome
    raise UnavailableError("the server is shutting down", hint="nothing was changed; ask again in a moment")


async def current_server(request: Request) -> ServerState:
    """Return the state of the server that a request came to."""
    server_state: ServerState = request.app.state.server_state
    return server_state


async def current_caller(request: Request) -> Caller:
    """Return who made a request."""
    caller: Caller = request.scope["caller"]  # set by the middleware
    return caller


async def _triage(request: Request) -> LocalTriage:
    server_state, caller = await current_server(request), await current_caller(request)
    return server_state.session(caller.name, command_line(request))


def new_router(tag: str, *checks: Callable[[Request], Awaitable[None]]) -> APIRouter:
    """Return a router whose endpoints have this tag, and the name of their function as id in the API's description.

    `checks` look at each request first.
    """
    depends = [Depends(check) for check in checks]
    return APIRouter(tags=[tag], dependencies=depends, generate_unique_id_function=lambda route: route.name)


def command_line(request: Request) -> str:
    """Return what stands for a request in the record of its run: its endpoint."""
    return f"{request.method} {getattr(request.scope.get('route'), 'path', '')}"


async def json_only(request: Request) -> None:
    """Refuse a body that is no JSON."""
    _refuse_others(request, JSON)


async def json_or_form(request: Request) -> None:
    """Refuse a body that is neither JSON nor a form."""
    _refuse_others(request, JSON, FORM)


def media_type(headers: Headers) -> str:
    """Return the type of a body without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _refuse_others(request: Request, *accepted: str) -> None:
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and (given := media_type(request.headers)) not in accepted:
        raise MediaTypeError(f'a body of type "{given}" is not read here', hint=f"send {' or '.join(accepted)}")


# The types of the endpoints' parameters.
CurrentServer = Annotated[ServerState, Depends(current_server)]
CallerHere = Annotated[Caller, Depends(current_caller)]
TriageHere = Annotated[LocalTriage, Depends(_triage)]
