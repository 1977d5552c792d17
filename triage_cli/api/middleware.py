"""Middleware for every request: request id, authentication, role, limits of the body, access log."""

import asyncio
import re
import time
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triage_cli.api import problems
from triage_cli.api.auth import SIGNED, Authenticator, FailedKeys, is_open, required_role
from triage_cli.api.dependencies import Caller, ServerState
from triage_cli.api.server_log import RequestLog, error_log
from triage_cli.domain.api_keys import ROLES
from triage_cli.domain.errors import (
    MediaTypeError,
    RateLimitedError,
    RefusedError,
    RequestTimeoutError,
    TooLargeError,
    TriageError,
    UnauthenticatedError,
)
from triage_cli.runtime.resource_exhaustion import lack_of
from triage_cli.service.run_context import request_id

TABLE = "/tickets/batch"
BULK = (TABLE, "/classify", "/route", "/reclassify", "/verdicts")
KEPT_ENCODED = re.compile(r"%(2[5Ff])")
QUERY = "triage.query"  # where a scope has the query, which telemetry must not see


class AccessMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, server_state: ServerState, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path
        self._server_state = server_state
        self._keys = Authenticator(server_state.gate, server_state.limits, server_state.tokens)
        self._failed_keys = FailedKeys(server_state.limits.failed_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_log = RequestLog(scope, send)
        if self._server_state.draining or _has_two_lengths(scope):  # so that the next one comes over another connection
            request_log.headers["connection"] = "close"
        request_id.set(request_log.request_id)
        self._server_state.meter.begun()
        path, scope = _routed(scope, self._root_path)
        try:
            try:
                scope["caller"] = await self._admitted(scope, path, request_log)
                receive = self._bounded(scope, path, receive)
                await self._app(scope, receive, request_log.send)
            except TriageError as error:
                await problems.answer(error)(scope, receive, request_log.send)
            except Exception as error:
                error_log.exception("request %s failed", request_log.request_id)
                if request_log.status:
                    raise
                lack = lack_of(error)
                response = problems.answer(lack) if lack else problems.unexpected()
                await response(scope, receive, request_log.send)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._server_state.meter.answered(request_log.method, route, request_log.status, request_log.seconds)
            request_log.write_line()

    async def _admitted(self, scope: Scope, path: str, request_log: RequestLog) -> Caller:
        """Return the caller. Raises a `RefusedError` or `BusyError` if the request is not admitted."""
        method = scope["method"]
        if is_open(path):
            return Caller("", "", "")
        credential = _credential(Headers(scope=scope))
        try:
            caller = await self._caller(credential, request_log.headers)
        except UnauthenticatedError as error:
            if not (seconds := self._failed_keys.count(request_log.client_address)):
                raise
            request_log.is_silent = True
            hint = f"wait {seconds:.0f} s, and make a key: triage keys create"
            raise RateLimitedError("too many keys that are none", hint=hint, retry_after=seconds) from error
        request_log.actor = caller.name
        needed = required_role(method, path)
        if ROLES.index(caller.role) < ROLES.index(needed):
            raise RefusedError(f'"{caller.name}" has the role {caller.role}', hint=f"this takes the role {needed}")
        return caller

    async def _caller(self, credential: str, headers: dict[str, str]) -> Caller:
        """Return the caller with this credential; a thread's turn is taken only if finding it would wait."""
        if (caller := self._keys.admit_at_once(credential, headers)) is not None:
            return caller
        return await run_in_threadpool(self._keys.admit, credential, headers)

    def _bounded(self, scope: Scope, path: str, receive: Receive) -> Receive:
        """Return a `receive` that enforces the limits of size and time on the body."""
        limits = self._server_state.limits
        if (encoding := Headers(scope=scope).get("content-encoding", "").strip().lower()) not in ("", "identity"):
            raise MediaTypeError(f'a body in the encoding "{encoding[:20]}" is not read here', hint="send it as it is")
        bulk = path in BULK
        most = limits.hook_body if path.startswith(SIGNED) else limits.body
        if bulk:
            most = limits.bulk_body if path == TABLE else limits.bulk_json
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        size, until, done = 0, time.monotonic() + limits.body_seconds, False

        async def bounded() -> Message:
            nonlocal size, until, done
            if done:  # the next message is the disconnect
                return await receive()
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                late = RequestTimeoutError("the body did not come in time", hint="send it again, faster")
                raise problems.BodyError(late) from None
            size += len(message.get("body", b""))
            if size > most:
                raise problems.BodyError(_too_large(most))
            done = not message.get("more_body", False)
            if bulk:
                until = time.monotonic() + limits.body_seconds
            return message

        return bounded


def _routed(scope: Scope, root: str) -> tuple[str, Scope]:
    """Return a request's path below the root path, and the scope by which it is routed: a HEAD as the GET it is.

    A gateway may take the root path off or leave it. `%2F` and `%25` stay encoded in ticket names, so that a slash in
    an external id does not split the path. The server leaves out the body of what answers a HEAD.
    """
    path, raw = scope["path"], scope.get("raw_path", b"").decode("latin-1")
    if root and path.startswith(f"{root}/"):
        path, raw = path.removeprefix(root), raw.removeprefix(root)
    if raw.startswith("/tickets/") and "%" in raw:
        path = unquote(KEPT_ENCODED.sub(lambda found: f"%25{found[1].upper()}", raw))
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    query = scope.get(QUERY, scope["query_string"])
    return path, {**scope, "path": root + path, "root_path": root, "method": method, "query_string": query}


def _has_two_lengths(scope: Scope) -> bool:
    """Return whether a request's body has two lengths: a gateway may have gone by the other (RFC 9112, section 6.1).

    What follows may be a part of the body to the gateway, so it is not taken for a request.
    """
    headers = Headers(scope=scope)
    return "content-length" in headers and "transfer-encoding" in headers


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {most:,} bytes", hint="send less at once")


def _credential(headers: Headers) -> str:
    """Return the caller's credential: the key in X-API-Key, or a bearer token."""
    if key := headers.get("x-api-key", ""):
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
