"""The FastAPI application: its routers, error handlers, middleware and description."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from triage_cli import __version__
from triage_cli.api import docs_page, problems
from triage_cli.api.dependencies import ServerState
from triage_cli.api.middleware import AccessMiddleware
from triage_cli.api.openapi import openapi_method
from triage_cli.api.routes import admin, bulk, consultation, monitoring, queries, tickets, webhooks

# Plain endpoints that run at the same time: most of them wait for the disk or a provider.
THREADS = 100
# Threads for `/ready` alone, so that it answers even if all others are busy.
PROBES = 2


def create_app(server_state: ServerState, root_path: str = "") -> FastAPI:
    """Return the application for one server; `root_path` is the prefix under which a gateway shows it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        app.state.probes = anyio.CapacityLimiter(PROBES)
        server_state.worker.start()
        yield
        await anyio.to_thread.run_sync(server_state.close)

    app = FastAPI(
        title="triage",
        version=__version__,
        description="Support tickets in, decisions out: store, classify, route and audit.",
        openapi_url=None,  # `docs_page` has it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
    )
    app.state.server_state = server_state
    problems.install(app)
    groups = (docs_page, monitoring, bulk, tickets, queries, consultation, webhooks, admin)
    for router in (group.router for group in groups):
        app.include_router(router)
    app.openapi = openapi_method(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    app.add_middleware(AccessMiddleware, server_state=server_state, root_path=root_path)
    return app
