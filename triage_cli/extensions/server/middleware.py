"""Middleware around every request: its caller, role, limits, path, and its line in the log; compressed bodies."""

import math
import re
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

from triage_cli import domain as dm
from triage_cli.extensions.server import problems
from triage_cli.extensions.server.auth import (
    METRICS_PATH,
    Authenticator,
    Caller,
    FailedKeys,
    credential_of,
    is_open,
    required_role,
)
from triage_cli.extensions.server.ndjson import OCTETS
from triage_cli.extensions.server.problems import is_for_command_line
from triage_cli.extensions.server.request_limits import limited_body
from triage_cli.extensions.server.server_log import RequestLog, error_log, request_warnings
from triage_cli.extensions.server.server_state import ServerState
from triage_cli.ports import LINES_MEDIA_TYPE
from triage_cli.runtime import lack_of
from triage_cli.service import request_id

COMMAND_LINE = "triage/"  # how the User-Agent of our command line begins, whatever its version
KEPT_ENCODED = re.compile(r"%(2[5Ff])")
# Asked every few seconds by machines: only their failures are logged.
PROBE_PATHS = ("/health", "/ready", METRICS_PATH)
QUERY = "triage.query"  # where a scope has the query, which telemetry must not see


class AccessMiddleware:
    """ASGI middleware around the whole application, which lets in only callers whose role allows the request."""

    def __init__(self, app: ASGIApp, server_state: ServerState, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path
        self._server_state = server_state
        limits = server_state.limits
        self._authenticator = Authenticator(server_state.api_access, limits.per_minute, server_state.other_callers)
        self._failed_keys = FailedKeys(limits.failed_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, answer its errors, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_log = RequestLog(scope, send)
        if self._server_state.draining or _has_two_lengths(scope):  # so that the next one comes over another connection
            request_log.headers["connection"] = "close"
        request_id.set(request_log.request_id)
        request_warnings.set([])
        is_for_command_line.set(Headers(scope=scope).get("user-agent", "").startswith(COMMAND_LINE))
        metrics = self._server_state.metrics
        metrics.count_request()
        path, scope = _path_and_scope(scope, self._root_path)
        try:
            try:
                scope["caller"] = await self._admitted(scope, path, request_log)
                receive = limited_body(self._server_state.limits, scope, path, receive)
                await self._app(scope, receive, request_log.send)
            except dm.TriageError as error:
                await problems.problem_response(error)(scope, receive, request_log.send)
            except Exception as error:
                error_log.exception("request %s failed", request_log.request_id)
                if request_log.status:
                    raise
                lack = lack_of(error)
                response = problems.problem_response(lack) if lack else problems.unexpected_problem()
                await response(scope, receive, request_log.send)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            metrics.count_response(request_log.method, route, request_log.status, request_log.seconds)
            request_log.is_silent |= path in PROBE_PATHS and request_log.status < 400
            request_log.write_line()

    async def _admitted(self, scope: Scope, path: str, request_log: RequestLog) -> Caller:
        """Return the caller. Raises a `RefusedError` or `BusyError` if the request is not admitted."""
        method = scope["method"]
        if is_open(path):
            return Caller("", "", "")
        credential = credential_of(Headers(scope=scope))
        try:
            caller = self._authenticator.admit_at_once(credential, request_log.headers)
            if caller is None:  # to find it would wait, so a thread does
                caller = await run_in_threadpool(self._authenticator.admit, credential, request_log.headers)
        except dm.UnauthenticatedError as error:
            if not (seconds := self._failed_keys.count(request_log.client_address)):
                raise
            request_log.is_silent = True
            told = "too many keys that are none" if credential else "too many requests without a key"
            advice = "make a key: triage keys create" if credential else "send a key"
            hint = f"wait {math.ceil(seconds)} s, and {advice}"
            raise dm.RateLimitedError(told, hint=hint, retry_after=seconds) from error
        request_log.actor = caller.name
        needed_role = required_role(method, path)
        if dm.ROLES.index(caller.role) < dm.ROLES.index(needed_role):
            raise dm.RefusedError(
                f'"{caller.name}" has the role {caller.role}', hint=f"this takes the role {needed_role}"
            )
        return caller


def _path_and_scope(scope: Scope, root_path: str) -> tuple[str, Scope]:
    """Return a request's path below the root path, and the scope by which it is routed: a HEAD as the GET it is.

    A gateway may take the root path off or leave it. `%2F` and `%25` stay encoded in ticket names, so that a slash in
    an external id does not split the path. The server leaves out the body of what answers a HEAD.
    """
    path, raw_path = scope["path"], scope.get("raw_path", b"").decode("latin-1")
    if root_path and path.startswith(f"{root_path}/"):
        path, raw_path = path.removeprefix(root_path), raw_path.removeprefix(root_path)
    if raw_path.startswith("/tickets/") and "%" in raw_path:
        path = unquote(KEPT_ENCODED.sub(lambda escape: f"%25{escape[1].upper()}", raw_path))
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    query = scope.get(QUERY, scope["query_string"])
    return path, {**scope, "path": root_path + path, "root_path": root_path, "method": method, "query_string": query}


def _has_two_lengths(scope: Scope) -> bool:
    """Return whether a request's body has two lengths: a gateway may have gone by the other (RFC 9112, section 6.1).

    What follows may be a part of the body to the gateway, so it is not taken for a request.
    """
    headers = Headers(scope=scope)
    return "content-length" in headers and "transfer-encoding" in headers


# A response of so many bytes or more is compressed. Streams are not: compression would hold their lines back.
COMPRESSED_BYTES = 4096
STREAMED_TYPES = (LINES_MEDIA_TYPE, OCTETS)
REFUSED_QUALITY = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")  # of an encoding that a client does not take


class CompressionMiddleware:
    """Starlette's compression for clients that accept gzip; its own middleware also takes `gzip;q=0` for that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compress a response if its client accepts gzip."""
        responder = self._app
        if scope["type"] == "http" and _accepts_gzip(Headers(scope=scope).get("accept-encoding", "")):
            responder = GZipResponder(self._app, COMPRESSED_BYTES, 5, exclude_content_types=STREAMED_TYPES)
        elif scope["type"] == "http":  # tells caches that the answer could have been another one
            responder = IdentityResponder(self._app, COMPRESSED_BYTES, exclude_content_types=STREAMED_TYPES)
        await responder(scope, receive, send)


def _accepts_gzip(accept_encoding: str) -> bool:
    """Return whether a header Accept-Encoding names gzip, with another quality than 0."""
    encodings = (encoding.partition(";") for encoding in accept_encoding.lower().split(","))
    return any(name.strip() == "gzip" and not REFUSED_QUALITY.fullmatch(quality) for name, _, quality in encodings)
