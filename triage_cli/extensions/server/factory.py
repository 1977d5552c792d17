"""Makes the FastAPI application: its routers, error handlers, middleware and description."""

import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from triage_cli import __version__
from triage_cli.config import load_config
from triage_cli.extensions.server import pages, problems
from triage_cli.extensions.server.middleware import QUERY, AccessMiddleware, CompressionMiddleware
from triage_cli.extensions.server.openapi import openapi_method
from triage_cli.extensions.server.routes import (
    admin,
    analysis,
    bulk,
    consultation,
    monitoring,
    operations,
    queries,
    tickets,
    webhooks,
)
from triage_cli.extensions.server.server_state import ServerState, open_server_state

# The application's plain endpoints that run at the same time: most of them wait for the disk or a provider.
ENDPOINT_THREADS = 100
# What a page of an allowed origin may send to the application, and read of it.
CORS_OPTIONS: Mapping[str, Any] = {
    "allow_methods": ("GET", "POST", "DELETE"),
    "allow_headers": ("Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "If-Match", "X-Request-Id"),
    "expose_headers": ("ETag", "Link", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"),
}
PROBE_THREADS = 2  # threads for `/ready` alone, so that it answers even if all others are busy


class _Application(FastAPI):
    """FastAPI, whose telemetry is not told the query of a request, since that may hold words of a ticket."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, QUERY: scope["query_string"], "query_string": b""}
        await super().__call__(scope, receive, send)


def create_app(server_state: ServerState, root_path: str = "") -> FastAPI:
    """Return the application for one server; `root_path` is the prefix under which a gateway shows it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = ENDPOINT_THREADS
        app.state.probes = anyio.CapacityLimiter(PROBE_THREADS)
        server_state.background.start()
        if server_state.browsers.app:  # so that the first person does not wait until the order of review is loaded
            threading.Thread(target=lambda: list(server_state.services.ranked(["first"], [1.0]))).start()
        yield
        await anyio.to_thread.run_sync(server_state.close)

    app = _Application(
        title="triage",
        version=__version__,
        description="Support tickets in, decisions out: store, classify, route and audit.",
        openapi_url=None,  # `pages` has it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"logs": False},  # they would hold what was refused
    )
    app.state.server_state = server_state
    problems.install_error_handlers(app)
    modules = (monitoring, bulk, tickets, queries, consultation, analysis, webhooks, operations)
    routers = [pages.docs_router, *(module.router for module in modules), operations.left_router]
    routers += [admin.imports_router, admin.router]
    if server_state.browsers.app:
        routers.append(pages.app_router)
    for router in routers:
        # The routes as they are: `include_router` makes each anew at the first request.
        app.router.routes += router.routes
    app.openapi = openapi_method(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(AccessMiddleware, server_state=server_state, root_path=root_path)
    if origins := server_state.browsers.cors_origins:  # outermost: a browser asks without a key whether it may send one
        app.add_middleware(CORSMiddleware, allow_origins=origins, max_age=600, **CORS_OPTIONS)
    return app


def app(
    *, config: str | None = None, db: str | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> FastAPI:
    """Return the application as `triage serve` serves it, for `uvicorn --factory triage_cli.api:app` or a test client.

    `config` and `db` are as on the command line, `env` and `cwd` in place of this process's. A database that is missing
    is made. Raises `ConfigError`, or `StoreError` for a database that cannot be used.
    """
    env = os.environ if env is None else env
    loaded = load_config(config=config, db=db, env=env, cwd=cwd or Path.cwd())
    return create_app(open_server_state(loaded, env))
