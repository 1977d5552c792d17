"""The remote: its address and key, checked before anything is sent, and the HTTP connection to it.

Requests, retries, and an error for every unexpected response of the server.
"""

import json
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx

from triage_cli import domain as dm
from triage_cli.ports import Operation, operations, wire_format
from triage_cli.runtime import USER_AGENT, Network, is_loopback, reason, retry_after

# The remote's timeouts in seconds; the read timeout is for each piece: a server at work sends a blank each second.
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
RETRY_DELAYS = (0.3, 1.5)  # seconds before each retry of a lost request, if repeating it is safe
PATIENCE = 120.0  # the longest time that a busy server may let a request wait, in seconds
# The largest response that is not a stream, in bytes.
LARGEST_RESPONSE = 256 << 20
KEY_HEADER = "x-api-key"
PROBLEM = "application/problem+json"
AGAIN = f"what was done is stored there; {dm.Step.AGAIN}"
PROTOCOL = {operations.PROTOCOL_HEADER: operations.PROTOCOL}
READ_AGAIN = "nothing was changed; try again in a moment"
LONGEST_LOCATION = 200  # characters of an address that a message shows
COMMAND_VARIABLE = "TRIAGE_TOKEN_COMMAND"
COMMAND_SECONDS = 60.0  # in which the command must print its token


def printed_token(token_command: str) -> str:
    """Run the token command, without a shell, and return the token that it prints.

    Raises `UsageError` if it cannot be run, and `RefusedError` if it gives no token. Its output is never shown, since
    that may be a secret.
    """
    try:
        command_arguments = shlex.split(token_command)
        token_run = subprocess.run(  # noqa: S603 - the user's own command
            command_arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=COMMAND_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise dm.RefusedError(
            f"{COMMAND_VARIABLE} gave no token within {COMMAND_SECONDS:g} s", hint="run it by itself"
        ) from error
    except (OSError, ValueError, IndexError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no command line"
        raise dm.UsageError(
            f"{COMMAND_VARIABLE} cannot be run: {why}", hint="give a program and its arguments"
        ) from error
    if token_run.returncode:
        raise dm.RefusedError(
            f"{COMMAND_VARIABLE} ended with {token_run.returncode}", hint="run it by itself, and log in if it asks"
        )
    token = token_run.stdout.decode("utf-8", "replace").strip()
    if not dm.is_credential(token):
        raise dm.RefusedError(f"{COMMAND_VARIABLE} printed no valid token", hint="run it by itself")
    return token


class Address(NamedTuple):
    """The URL of the remote and its API key; `token_command` prints a new token once the server refuses the old one."""

    url: str
    key: str
    token_command: str = ""

    @property
    def host(self) -> str:
        """Return the host and port of the address, for messages."""
        return urlsplit(self.url).netloc


def checked_address(url: str, key: str, *, token_command: str = "", insecure: bool) -> Address:
    """Return the remote's address. Raises `UsageError` if the key would be unencrypted, `RefusedError` without a key.

    Without an API key, `token_command` is run for one.
    """
    remote_url = urlsplit(url)
    if remote_url.query or remote_url.fragment:
        raise dm.UsageError(
            "the remote is an address with a query", hint="give --remote https://HOST, or http://127.0.0.1:8000"
        )
    if remote_url.scheme == "http" and not insecure and not is_loopback(remote_url.hostname or ""):
        raise dm.UsageError(
            f"{remote_url.netloc} is another machine, and over http:// key and tickets would be sent unencrypted",
            hint="use https://, or --insecure where the network is your own",
        )
    if not key and not token_command:
        hint = "export TRIAGE_API_KEY; triage keys create makes one there"
        raise dm.RefusedError(f"{remote_url.netloc} takes a key", hint=hint)
    if key and not dm.is_credential(key):
        hint = "copy it again as triage keys create printed it; of a JSON record, the value of key alone"
        raise dm.RefusedError("TRIAGE_API_KEY holds no valid key", hint=hint)
    return Address(url.rstrip("/"), key or printed_token(token_command), "" if key else token_command)


class ConnectionLostError(dm.UnavailableError):
    """The server could not be reached, or its response broke off, so it is unknown what the server has done."""


class UnreachableError(ConnectionLostError):
    """There was no connection to the server, so the request was not sent."""


class Connection:
    """The HTTP connection of a command to one server, the remote; it can be stopped."""

    def __init__(self, address: Address, network: Network, warn: Callable[[str], None] = lambda _: None) -> None:
        self.host = address.host
        self.warn = warn
        is_plain = urlsplit(address.url).scheme == "http"
        self._tls_hint = f"give --remote https://{address.host} if the server speaks TLS" if is_plain else ""
        self._token_command = address.token_command
        self._token_lock = threading.Lock()
        self._server_has_answered = False
        self._patience = PATIENCE
        self.stopped_at: float | None = None
        self.spent = 0.0
        with self.translated_httpx_errors():  # httpx refuses some names
            self._http_client = network.http_client(
                address.host,
                address.url,
                # A server on this machine is not behind a proxy.
                proxies=not is_loopback(urlsplit(address.url).hostname or ""),
                base_url=address.url,
                headers={KEY_HEADER: address.key, "user-agent": USER_AGENT, "accept-encoding": "identity"},
                timeout=TIMEOUT,
            )

    def pass_on_warnings(self, response_record: Mapping[str, Any]) -> None:
        """Warn of what the end of an answer warns of. Raises `ProtocolError` if that is no list of sentences."""
        for warning in wire_format.warnings_in(response_record):
            self.warn(warning)

    def stop(self) -> None:
        """End all waiting for the server; a signal handler may call this."""
        self.stopped_at = self.stopped_at or time.monotonic()

    def close(self) -> None:
        """Close the HTTP connection's sockets."""
        self._http_client.close()

    def get(self, path: str) -> Any:
        """Get a path of the server, and return the JSON value."""
        return self._send_repeatable_request("GET", path, {})

    def call(self, operation: Operation, arguments: Mapping[str, Any], *, timeout: httpx.Timeout = TIMEOUT) -> Any:
        """Have the server carry out an operation, and return the JSON of its result; pass on what it warns of."""
        path = operations.PATH + operation.name
        options = {"json": arguments, "headers": PROTOCOL, "timeout": timeout}
        tries = RETRY_DELAYS if operation.name in operations.REPEATABLE else ()
        with known_to_remote(path):
            answer = self._send_repeatable_request("POST", path, options, tries)
        try:
            answer = wire_format.object_of(answer)
            self.pass_on_warnings(answer)
        except dm.ProtocolError as error:
            raise self.strange_response(error) from error
        return answer.get("result")

    def call_for_lines(self, operation: Operation, arguments: Mapping[str, Any]) -> "ResponseStream":
        """Have the server carry out an operation that answers by lines. The request is never repeated."""
        path = operations.PATH + operation.name
        with known_to_remote(path):
            return ResponseStream(self, self.send("POST", path, {"json": arguments, "headers": PROTOCOL}))

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, timeout: httpx.Timeout = TIMEOUT
    ) -> Any:
        """Send the server a request that is not repeated if its response is lost, and return the JSON value."""
        try:
            request_options = {"timeout": timeout} if body is None else {"json": body, "timeout": timeout}
            return _parsed_response(self._body_of(self.send(method, path, request_options)))
        except dm.ProtocolError as error:
            raise self.strange_response(error) from error

    def _send_repeatable_request(
        self, method: str, path: str, options: Mapping[str, Any], delays: Sequence[float] = RETRY_DELAYS
    ) -> Any:
        """Send the server a request that may be repeated, and return the JSON value."""
        for wait in (*delays, None):
            try:
                return _parsed_response(self._body_of(self.send(method, path, options)))
            except ConnectionLostError:
                if wait is None or not self._server_has_answered or not self.wait(wait):
                    raise
            except dm.ProtocolError as error:
                raise self.strange_response(error) from error
        raise AssertionError

    def _body_of(self, response: httpx.Response) -> bytes:
        response_pieces, response_size = [], 0
        try:
            with self.translated_httpx_errors():
                for piece in response.iter_raw(1 << 16):
                    response_pieces.append(piece)
                    if (response_size := response_size + len(piece)) > LARGEST_RESPONSE:
                        raise dm.ProtocolError("an answer without an end")
        finally:
            response.close()
        return b"".join(response_pieces)

    def stream(self, path: str, request_options: Mapping[str, Any]) -> "ResponseStream":
        """Send the server a request whose response is a stream of lines."""
        return ResponseStream(self, self.send("POST", path, request_options))

    def send(self, method: str, path: str, request_options: Mapping[str, Any]) -> httpx.Response:
        """Return a response whose body is still to be read. Raises the server's error, or that there is no response.

        If the server is busy, the request is sent again after the time that it asks for: it has not begun it.
        """
        request_options = dm.all_encodable(request_options)  # arguments in another encoding contain lone surrogates
        token_renewed = False
        while True:
            with self.translated_httpx_errors():
                request = self._http_client.build_request(method, path, **request_options)
                response = self._http_client.send(request, stream=True)
            self._server_has_answered = True
            if response.is_success:
                self._patience = PATIENCE
                return response
            error = self._without_key(self._refusal(response))
            if response.status_code == 401 and self._token_command and not token_renewed:
                self._renew_token(request.headers[KEY_HEADER])
                token_renewed = True
                continue
            wait = retry_after(response.headers, time.time(), most=PATIENCE + 1) or 1.0
            if not isinstance(error, dm.BusyError) or not self.wait(wait):
                raise error

    def _renew_token(self, refused: str) -> None:
        """Get a new token, unless another thread has replaced the refused one."""
        with self._token_lock:
            if self._http_client.headers[KEY_HEADER] == refused:
                self._http_client.headers[KEY_HEADER] = printed_token(self._token_command)

    def wait(self, seconds: float) -> bool:
        """Wait for the server, and return whether to go on: False after a stop, or after `PATIENCE` seconds in all."""
        self._patience -= seconds
        wait_until = time.monotonic() + seconds
        while self._patience >= 0 and self.stopped_at is None:
            if (seconds_left := wait_until - time.monotonic()) <= 0:
                return True
            time.sleep(min(seconds_left, 0.05))
        return False

    def _refusal(self, response: httpx.Response) -> dm.TriageError:
        """Return the error that a server's response contains."""
        if _media_type_of(response) == PROBLEM:
            with suppress(dm.ProtocolError):
                return wire_format.problem_of(_parsed_response(self._body_of(response)))
        response.close()
        status = f"{self.host} answered {response.status_code} {response.reason_phrase}".rstrip()
        if response.is_redirect:
            hint = "give --remote that address without the request's path; if it is a login page, ask who runs it"
            return dm.UsageError(f"{status}: it is elsewhere, at {_location_of(response)}", hint=hint)
        if response.status_code in (401, 403):
            return dm.RefusedError(status, hint="a gateway in front of it may want a login; ask who runs it")
        if response.status_code >= 500 or response.status_code == 429:
            return ConnectionLostError(status, hint=_again(response.request))
        hint = self._tls_hint if response.status_code == 400 else ""  # what a TLS gateway answers to plain HTTP
        return dm.UsageError(
            f"{status}, as no triage server does", hint=hint or "check the address given with --remote"
        )

    def _without_key(self, error: dm.TriageError) -> dm.TriageError:
        """Return a server's error without the API key, which whatever stands in between may repeat."""
        if key := self._http_client.headers[KEY_HEADER]:
            error.message, error.hint = (dm.hide_secrets(text, [key]) for text in (error.message, error.hint))
        return error

    def strange_response(self, why: object) -> dm.UnavailableError:
        """Return the error for a server's response that does not follow the wire format."""
        hint = "check the address, the versions, and what stands in between"
        return dm.UnavailableError(f"{self.host} sent an answer that triage does not understand: {why}", hint=hint)

    @contextmanager
    def translated_httpx_errors(self) -> Iterator[None]:
        """Raise the errors of httpx as ours; a server that has answered before has the right address."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            hint = "check --remote, and that triage serve runs there"
            hint = _again(error.request) if self._server_has_answered else hint
            raise UnreachableError(f"cannot reach {self.host}: {reason(error)}", hint=hint) from error
        except httpx.TimeoutException as error:
            raise ConnectionLostError(f"{self.host} has gone silent", hint=_again(error.request)) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            hint = _again(error.request)
            hint = f"{hint}, or {self._tls_hint}" if self._tls_hint and not self._server_has_answered else hint
            raise ConnectionLostError(f"the connection to {self.host} broke off", hint=hint) from error
        except httpx.InvalidURL as error:
            raise dm.UsageError(f"{self.host} is no address", hint="give --remote https://HOST") from error


class ResponseStream:
    """The lines of one response of the server. `end` is the last one, after it was read."""

    def __init__(self, connection: Connection, response: httpx.Response) -> None:
        self._connection = connection
        self._response = response
        self.end: Mapping[str, Any] = {}

    def records(self, grace: float) -> Iterator[Mapping[str, Any]]:
        """Yield a response's outcomes. Raises the problem that ended them, or `ConnectionLostError` if it broke off.

        After a stop, outcomes are read for `grace` seconds more; then the HTTP connection is closed, which stops the
        server too.
        """
        try:
            for line in self._response_lines(grace):
                response_record = _parsed_response(line)
                if not isinstance(response_record, dict):
                    raise self._connection.strange_response("a line that is no object")
                if response_record.keys() & {"end", "problem"}:
                    cost = response_record.get("cost_usd")
                    self._connection.spent += cost if isinstance(cost, int | float) else 0.0
                    self._connection.pass_on_warnings(response_record)
                if "problem" in response_record:
                    raise wire_format.problem_of(response_record["problem"])
                if "end" in response_record:
                    self.end = response_record
                    return
                yield response_record
        except dm.ProtocolError as error:
            raise self._connection.strange_response(error) from error
        finally:
            self._response.close()

    def _response_lines(self, grace: float) -> Iterator[bytes]:
        if _media_type_of(self._response) != wire_format.LINES_MEDIA_TYPE:
            raise dm.ProtocolError("a page, not lines")
        unfinished_line = b""
        with self._connection.translated_httpx_errors():
            for piece in self._response.iter_raw():  # with a size, it would wait until so much has arrived
                unfinished_line += piece
                if b"\n" in piece:
                    *lines, unfinished_line = unfinished_line.split(b"\n")
                    yield from lines
                if len(unfinished_line) > wire_format.LONGEST_LINE:
                    raise dm.ProtocolError("a line without an end")
                stopped_at = self._connection.stopped_at
                if stopped_at is not None and time.monotonic() >= stopped_at + grace:
                    raise StreamAbortedError
        raise ConnectionLostError(f"{self._connection.host} broke off its answer", hint=AGAIN)

    def close(self) -> None:
        """Close the response, which stops the server."""
        self._response.close()


class StreamAbortedError(Exception):
    """The stream of a response was closed because of a stop."""


UPGRADE = "upgrade the remote, or run the command on its machine"
UNKNOWN_TO_REMOTE = "the remote is of an earlier version, which does not know"


@contextmanager
def known_to_remote(path: str) -> Iterator[None]:
    """Raise `UsageError` if an older server does not know a path."""
    try:
        yield
    except dm.NoEndpointError as error:
        raise dm.UsageError(f"{UNKNOWN_TO_REMOTE} {path}", hint=UPGRADE) from error


def _again(request: httpx.Request) -> str:
    """Return what to do after a request without an answer: a read has changed nothing."""
    is_read = request.method == "GET" or request.url.path.rpartition("/")[2] in operations.REPEATABLE
    return READ_AGAIN if is_read else AGAIN


def _location_of(response: httpx.Response) -> str:
    """Return where a redirect leads, without its query, which may hold what is nobody's business."""
    location = response.headers.get("location", "")
    try:
        address = urlsplit(urljoin(str(response.url), location))
    except ValueError:
        return "no address"
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"[:LONGEST_LOCATION]


def _media_type_of(response: httpx.Response) -> str:
    media_type: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type


def _refuse_constant(number: str) -> float:
    raise dm.ProtocolError(f"the number {number}")


def _parsed_response(response_text: bytes) -> Any:
    try:
        return json.loads(response_text, parse_constant=_refuse_constant, parse_float=dm.json_number)
    except dm.ProtocolError:
        raise
    except (ValueError, RecursionError) as error:
        raise dm.ProtocolError("no JSON") from error
