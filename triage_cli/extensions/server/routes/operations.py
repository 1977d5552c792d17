"""Operations of the ports, which the command line asks of another instance; and the paths that were such before."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import NoneType
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server.auth import Caller
from triage_cli.extensions.server.dependencies import (
    CurrentCaller,
    CurrentServer,
    current_analysis,
    current_consultation,
    current_triage,
    json_only,
    new_router,
)
from triage_cli.extensions.server.idempotency import reply
from triage_cli.extensions.server.problems import spoken
from triage_cli.extensions.server.routes.admin import own_import
from triage_cli.extensions.server.routes.bulk import outcome_stream, value_line
from triage_cli.extensions.server.schemas.operations import described_operation
from triage_cli.extensions.server.server_log import request_warnings
from triage_cli.ports import Analysis, Consultation, Operation, Triage, operations

router = new_router("client", json_only)
UPGRADE = "upgrade the older one of the two"
# What carries out the methods of each port for a request.
CURRENT: Mapping[type, Callable[[Request], Any]] = {
    Analysis: current_analysis,
    Triage: current_triage,
    Consultation: current_consultation,
}
# What some operations ask about the caller first, beside the role.
ALLOWED: Mapping[str, Callable[[Any, Caller, str], object]] = {"imported": own_import, "undo": own_import}


async def received_arguments(request: Request) -> Mapping[str, Any]:
    """Return the object of JSON that a request has sent. Raises `UsageError` for another protocol or another body."""
    protocol = request.headers.get(operations.PROTOCOL_HEADER, operations.PROTOCOL)
    if protocol != operations.PROTOCOL:
        raise dm.UsageError(f"this server speaks protocol {operations.PROTOCOL}, and not {protocol[:20]}", hint=UPGRADE)
    body = await request.body()
    try:
        arguments = dm.all_encodable(dm.from_json(body.decode() or "{}"))
    except (ValueError, RecursionError) as error:
        raise dm.UsageError("the body is no JSON", hint="send JSON in UTF-8") from error
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict) or dm.is_too_deep(arguments):
        raise dm.UsageError("the body is no object of JSON, or one that is nested too deeply", hint="send an object")
    return arguments


def endpoint_of(operation: Operation) -> Callable[..., Response]:
    """Return what answers a request for an operation."""
    allowed = ALLOWED.get(operation.name)

    def carry_out(
        arguments: Annotated[Mapping[str, Any], Depends(received_arguments)],
        current: Annotated[Any, Depends(CURRENT[operation.port])],
        server_state: CurrentServer,
        caller: CurrentCaller,
    ) -> Response:
        try:
            call = operation.arguments_from(arguments)
        except dm.ProtocolError as error:
            raise dm.UsageError(str(error), hint="/docs describes what it takes") from error
        missing = ", ".join(sorted(operation.required - call.keys()))
        if missing:
            raise dm.UsageError(f"{operation.name} takes {missing}, too", hint="/docs describes what it takes")
        if allowed:
            allowed(current, caller, call["name"])
        value = getattr(current, operation.name)(**call)
        if operation.answers_lines:
            return outcome_stream(server_state, current, value, value_line)
        if isinstance(value, Iterator):
            value = islice(value, operations.PAGE)
        returned = {} if operation.result is NoneType else {"result": dm.to_wire(value)}
        warnings = [*map(spoken, request_warnings.get() or ())]
        return reply(returned | {"warnings": warnings, "cost_usd": current.paid})

    return carry_out


for name in operations.ROLES:
    one = operations.operation(name)
    router.add_api_route(
        operations.PATH + name, endpoint_of(one), methods=["POST"], name=f"operation_{name}", **described_operation(one)
    )


# Paths of earlier versions, whose clients send them queries and bodies of all kinds.
left_router = new_router("client", route_class=APIRoute)
LEFT_PATHS = ("/spikes", "/drift", "/suspects", "/discover", "/learn", "/plan", "/eval", "/readings/{header}")


def refuse_older_client() -> Response:
    """Say to a client of an earlier version that this path is no more."""
    raise dm.OutdatedClientError("this client is older than the server", hint="upgrade it")


for path in LEFT_PATHS:
    left_router.add_api_route(path, refuse_older_client, methods=["GET", "POST"], include_in_schema=False)
