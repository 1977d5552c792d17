"""What all endpoints need: their routers, the server's state, the caller, the use cases, the media type of a body.

A request must never do more than it was asked for: query parameters and bodies that a route does not take are refused.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, get_origin
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from triage_cli import domain as dm
from triage_cli.extensions.server.auth import Caller
from triage_cli.extensions.server.server_state import ServerState
from triage_cli.service import LocalConsultation, LocalTriage
from triage_cli.wiring import LocalAnalysis

SHOWN_NAME = 60  # characters of a parameter's name in an error


class CheckedRoute(APIRoute):
    """A route whose query parameters are all known, and repeated only if they are lists."""

    @cached_property
    def _is_list_by_name(self) -> Mapping[str, bool]:
        """Return the names of the query parameters, and which of them may be repeated."""
        return dict(_query_parameters(self.dependant))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Raises `UsageError` for a parameter that is unknown, or repeated in vain."""
        if scope["query_string"] and scope["method"] in (self.methods or ()):
            self._check_names(scope["query_string"].decode("latin-1"))
        await super().handle(scope, receive, send)

    def _check_names(self, query: str) -> None:
        for name, count in Counter(name for name, _ in parse_qsl(query, keep_blank_values=True)).items():
            is_list = self._is_list_by_name.get(name)
            if is_list is None:
                known_names = ", ".join(self._is_list_by_name)
                raise dm.UsageError(
                    f'"{name[:SHOWN_NAME]}" is no query parameter of {self.path}',
                    hint=f"it takes {known_names}" if known_names else "it takes none; /docs describes what it takes",
                )
            if count > 1 and not is_list:
                raise dm.UsageError(f"{name} is given more than once", hint="give it once, or ask for each by itself")


def _query_parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Yield the name of each query parameter, and whether it is a list; those of a model are its fields."""
    for parameter in dependant.query_params:
        field: FieldInfo = parameter.field_info
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((name, get_origin(one.annotation) is list) for name, one in model.model_fields.items())
        else:
            yield parameter.alias, get_origin(model) is list
    for dependency in dependant.dependencies:
        yield from _query_parameters(dependency)


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
    return server_state.use_cases(caller.name, command_line(request))


async def current_analysis(request: Request) -> LocalAnalysis:
    """Return the analysis for a request."""
    server_state, caller = await current_server(request), await current_caller(request)
    return server_state.stopped_with_server(server_state.analysis(caller.name, command_line(request)))


async def current_consultation(request: Request) -> LocalConsultation:
    """Return the consultation for a request."""
    server_state, caller = await current_server(request), await current_caller(request)
    consultation = LocalConsultation(server_state.services, caller.name, command_line(request))
    return server_state.stopped_with_server(consultation)


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
CurrentAnalysis = Annotated[LocalAnalysis, Depends(current_analysis)]
CurrentTriage = Annotated[LocalTriage, Depends(current_triage)]
CurrentConsultation = Annotated[LocalConsultation, Depends(current_consultation)]


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def media_type(headers: Headers) -> str:
    """Return the media type of a body without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_only(request: Request) -> None:
    """Refuse a body that is no JSON."""
    _refuse_other_types(request, JSON)


async def json_or_form(request: Request) -> None:
    """Refuse a body that is neither JSON nor a form."""
    _refuse_other_types(request, JSON, FORM)


def _refuse_other_types(request: Request, *accepted_types: str) -> None:
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and (body_type := media_type(request.headers)) not in accepted_types:
        raise other_type_error(body_type, accepted_types)


def other_type_error(body_type: str, accepted_types: Iterable[str]) -> dm.MediaTypeError:
    """Return the error for a body whose media type is not accepted."""
    hint = f"send {' or '.join(accepted_types)}"
    return dm.MediaTypeError(f'a body of type "{body_type}" is not read here', hint=hint)
