"""FastAPI dependencies of the endpoints: the server's state, the caller, and the use cases for one request."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute

from triage_cli.api.auth import Caller
from triage_cli.api.checked_route import CheckedRoute
from triage_cli.api.server_state import ServerState
from triage_cli.service import LocalTriage


async def current_server(request: Request) -> ServerState:
    """Return the state of the server that a request came to."""
    server_state: ServerState = request.app.state.server_state
    return server_state


async def current_caller(request: Request) -> Caller:
    """Return the caller of a request, as the middleware has authenticated it."""
    caller: Caller = request.scope["caller"]
    return caller


async def current_triage(request: Request) -> LocalTriage:
    """Return the use cases with a run for a request."""
    server_state, caller = await current_server(request), await current_caller(request)
    return server_state.session(caller.name, command_line(request))


def new_router(
    tag: str, *checks: Callable[[Request], Awaitable[None]], route_class: type[APIRoute] = CheckedRoute
) -> APIRouter:
    """Return a router whose endpoints have this tag, and the name of their function as id in the API's description.

    `checks` look at each request first. A plain `APIRoute` passes over query parameters that it does not know.
    """
    return APIRouter(
        tags=[tag],
        dependencies=[Depends(check) for check in checks],
        route_class=route_class,
        generate_unique_id_function=lambda route: route.name,
    )


def command_line(request: Request) -> str:
    """Return what stands for a request in the record of its run: its endpoint."""
    return f"{request.method} {getattr(request.scope.get('route'), 'path', '')}"


# The types of the parameters by which endpoints have their dependencies.
CurrentServer = Annotated[ServerState, Depends(current_server)]
CurrentCaller = Annotated[Caller, Depends(current_caller)]
CurrentTriage = Annotated[LocalTriage, Depends(current_triage)]
