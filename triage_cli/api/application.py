"""The FastAPI application: its routers, error handlers, middleware and description."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

from triage_cli import __version__
from triage_cli.api import docs_page, problems
from triage_cli.api.middleware import QUERY, AccessMiddleware
from triage_cli.api.ndjson import OCTETS
from triage_cli.api.openapi import openapi_method
from triage_cli.api.routes import admin, bulk, consultation, monitoring, queries, tickets, webhooks
from triage_cli.api.server_state import ServerState
from triage_cli.client.wire_format import LINES

# Plain endpoints that run at the same time: most of them wait for the disk or a provider.
THREADS = 100
# An answer of so many bytes or more is compressed if the client accepts gzip. Streams are not: compression would hold
# their lines back.
COMPRESSED = 4096
STREAMED = (LINES, OCTETS)
REFUSED = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")  # the quality of an encoding that a client does not take
# What a page of an allowed origin may send and read.
CORS: Mapping[str, Any] = {
    "allow_methods": ("GET", "POST", "DELETE"),
    "allow_headers": ("Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "X-Request-Id"),
    "expose_headers": ("Link", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"),
}
# Threads for `/ready` alone, so that it answers even if all others are busy.
PROBES = 2


class _Application(FastAPI):
    """FastAPI, whose telemetry is not told the query of a request, since that may hold words of a ticket."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, QUERY: scope["query_string"], "query_string": b""}
        await super().__call__(scope, receive, send)


class _Compression:
    """Starlette's compression for clients that accept gzip; its own middleware also takes `gzip;q=0` for that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        responder = self._app
        if scope["type"] == "http" and _accepts_gzip(Headers(scope=scope).get("accept-encoding", "")):
            responder = GZipResponder(self._app, COMPRESSED, 5, exclude_content_types=STREAMED)
        elif scope["type"] == "http":  # tells caches that the answer could have been another one
            responder = IdentityResponder(self._app, COMPRESSED, exclude_content_types=STREAMED)
        await responder(scope, receive, send)


def _accepts_gzip(accepted: str) -> bool:
    """Return whether a header Accept-Encoding names gzip, with another quality than 0."""
    codings = (coding.partition(";") for coding in accepted.lower().split(","))
    return any(name.strip() == "gzip" and not REFUSED.fullmatch(quality) for name, _, quality in codings)


def create_app(server_state: ServerState, root_path: str = "") -> FastAPI:
    """Return the application for one server; `root_path` is the prefix under which a gateway shows it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        app.state.probes = anyio.CapacityLimiter(PROBES)
        server_state.background.start()
        yield
        await anyio.to_thread.run_sync(server_state.close)

    app = _Application(
        title="triage",
        version=__version__,
        description="Support tickets in, decisions out: store, classify, route and audit.",
        openapi_url=None,  # `docs_page` has it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"logs": False},  # they would hold what was refused
    )
    app.state.server_state = server_state
    problems.install(app)
    groups = (docs_page, monitoring, bulk, tickets, queries, consultation, webhooks, admin)
    for router in (group.router for group in groups):
        app.router.routes += router.routes  # as they are; `include_router` makes each anew at the first request
    app.openapi = openapi_method(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    app.add_middleware(_Compression)
    app.add_middleware(AccessMiddleware, server_state=server_state, root_path=root_path)
    if server_state.cors_origins:  # outermost, since a browser asks without a key whether it may send one
        app.add_middleware(CORSMiddleware, allow_origins=server_state.cors_origins, max_age=600, **CORS)
    return app
