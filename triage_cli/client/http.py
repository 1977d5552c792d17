"""The HTTP connection to a server: requests, retries, and an error for every unexpected response."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from triage_cli.client import wire_errors, wire_format
from triage_cli.client.address import Address, printed_token
from triage_cli.domain.errors import BusyError, RefusedError, TriageError, UnavailableError, UsageError
from triage_cli.domain.serialization import all_encodable, number
from triage_cli.runtime.installation import USER_AGENT
from triage_cli.runtime.network import Network, is_loopback
from triage_cli.runtime.retry import retry_after
from triage_cli.runtime.unreachable import reason

# In seconds; the read timeout is for each piece: a server at work sends a blank each second.
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# Seconds before each retry of a lost request, if repeating it is safe.
RETRY_DELAYS = (0.3, 1.5)
# The longest time that a busy server may let a request wait, in seconds.
PATIENCE = 120.0
# The largest response that is not a stream, in bytes.
LARGEST_RESPONSE = 256 << 20
KEY_HEADER = "x-api-key"
PROBLEM = "application/problem+json"
AGAIN = "what was done is stored there; run the same command again"


# Query parameters; a value may be a list.
Params = Mapping[str, Any] | Sequence[tuple[str, Any]]


class ConnectionLostError(UnavailableError):
    """The server could not be reached, or its response broke off, so it is unknown what the server has done."""


class UnreachableError(ConnectionLostError):
    """There was no connection to the server, so the request was not sent."""


class Connection:
    """A connection to one server, which can be stopped."""

    def __init__(self, address: Address, network: Network) -> None:
        self.host = address.host
        is_plain = urlsplit(address.url).scheme == "http"
        self._tls_hint = f"give --remote https://{address.host} if the server speaks TLS" if is_plain else ""
        self._token_command = address.token_command
        self._token_lock = threading.Lock()
        self._has_answered = False
        self._patience = PATIENCE
        self.stopped_at: float | None = None
        self.spent = 0.0
        with self.translated():  # httpx refuses some names
            self._client = network.http_client(
                address.host,
                address.url,
                # A server on this machine is not behind a proxy.
                proxies=not is_loopback(urlsplit(address.url).hostname or ""),
                base_url=address.url,
                headers={KEY_HEADER: address.key, "user-agent": USER_AGENT, "accept-encoding": "identity"},
                timeout=TIMEOUT,
            )

    def stop(self) -> None:
        """End all waiting; a signal handler may call this."""
        self.stopped_at = self.stopped_at or time.monotonic()

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()

    def get(self, path: str, params: Params | None = None) -> tuple[Any, str | None]:
        """Return the response's JSON value, and the URL of its next page."""
        return self._send_repeatable("GET", path, {"params": params})

    def post(self, path: str, body: Mapping[str, Any], key: str) -> Any:
        """Send a request with an idempotency key, and return the response's JSON value."""
        return self._send_repeatable("POST", path, {"json": body, "headers": {"idempotency-key": key}})[0]

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, timeout: httpx.Timeout = TIMEOUT
    ) -> Any:
        """Send a request that is not repeated if its answer is lost, and return the response's JSON value."""
        try:
            options = {"timeout": timeout} if body is None else {"json": body, "timeout": timeout}
            return _parsed(self._body(self.send(method, path, options)))
        except wire_errors.ProtocolError as error:
            raise self.strange(error) from error

    def _send_repeatable(self, method: str, path: str, options: Mapping[str, Any]) -> tuple[Any, str | None]:
        """Send a request that may be repeated; return the JSON value and the URL of the next page."""
        for wait in (*RETRY_DELAYS, None):
            try:
                answer = self.send(method, path, options)
                value = _parsed(self._body(answer))
                return value, answer.links.get("next", {}).get("url")
            except ConnectionLostError:
                if wait is None or not self._has_answered or not self.wait(wait):
                    raise
            except wire_errors.ProtocolError as error:
                raise self.strange(error) from error
        raise AssertionError

    def _body(self, answer: httpx.Response) -> bytes:
        pieces, size = [], 0
        try:
            with self.translated():
                for piece in answer.iter_raw(1 << 16):
                    pieces.append(piece)
                    if (size := size + len(piece)) > LARGEST_RESPONSE:
                        raise wire_errors.ProtocolError("an answer without an end")
        finally:
            answer.close()
        return b"".join(pieces)

    def stream(self, path: str, options: Mapping[str, Any]) -> "Stream":
        """Send a request whose response is a stream of lines."""
        return Stream(self, self.send("POST", path, options))

    def send(self, method: str, path: str, options: Mapping[str, Any]) -> httpx.Response:
        """Return a response whose body is still to be read. Raises the server's error, or that there is no response.

        If the server is busy, the request is sent again after the time that it asks for: it has not begun it.
        """
        options = all_encodable(options)  # arguments in another encoding contain lone surrogates
        has_renewed = False
        while True:
            with self.translated():
                request = self._client.build_request(method, path, **options)
                answer = self._client.send(request, stream=True)
            self._has_answered = True
            if answer.is_success:
                self._patience = PATIENCE
                return answer
            error = self._without_key(self._refusal(answer))
            if answer.status_code == 401 and self._token_command and not has_renewed:
                self._renew(request.headers[KEY_HEADER])
                has_renewed = True
                continue
            wait = retry_after(answer.headers, time.time(), most=PATIENCE + 1) or 1.0
            if not isinstance(error, BusyError) or not self.wait(wait):
                raise error

    def _renew(self, refused: str) -> None:
        """Get a new token, unless another thread has replaced the refused one."""
        with self._token_lock:
            if self._client.headers[KEY_HEADER] == refused:
                self._client.headers[KEY_HEADER] = printed_token(self._token_command)

    def wait(self, seconds: float) -> bool:
        """Wait, and return whether to continue: False after a stop, or after `PATIENCE` seconds in total."""
        self._patience -= seconds
        until = time.monotonic() + seconds
        while self._patience >= 0 and self.stopped_at is None:
            if (left := until - time.monotonic()) <= 0:
                return True
            time.sleep(min(left, 0.05))
        return False

    def _refusal(self, answer: httpx.Response) -> TriageError:
        """Return the error that a response contains."""
        if _kind(answer) == PROBLEM:
            with suppress(wire_errors.ProtocolError):
                return wire_errors.problem_of(_parsed(self._body(answer)))
        answer.close()
        status = f"{self.host} answered {answer.status_code} {answer.reason_phrase}".rstrip()
        if answer.is_redirect:
            return UsageError(f"{status}: it is elsewhere", hint="give --remote the address that it moved to")
        if answer.status_code in (401, 403):
            return RefusedError(status, hint="a gateway in front of it may want a login; ask who runs it")
        if answer.status_code >= 500 or answer.status_code == 429:
            return ConnectionLostError(status, hint=AGAIN)
        hint = self._tls_hint if answer.status_code == 400 else ""  # what a TLS gateway answers to plain HTTP
        return UsageError(f"{status}, as no triage server does", hint=hint or "check the address given with --remote")

    def _without_key(self, error: TriageError) -> TriageError:
        """Return an error without the key, which whatever stands in between may repeat."""
        if key := self._client.headers[KEY_HEADER]:
            error.message, error.hint = (text.replace(key, "***") for text in (error.message, error.hint))
        return error

    def strange(self, why: object) -> UnavailableError:
        """Return the error for a response that does not follow the wire format."""
        hint = "check the address, the versions, and what stands in between"
        return UnavailableError(f"{self.host} sent an answer that triage does not understand: {why}", hint=hint)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise the errors of httpx as ours; a server that has answered before has the right address."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            hint = AGAIN if self._has_answered else "check --remote, and that triage serve runs there"
            raise UnreachableError(f"cannot reach {self.host}: {reason(error)}", hint=hint) from error
        except httpx.TimeoutException as error:
            raise ConnectionLostError(f"{self.host} has gone silent", hint=AGAIN) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            hint = f"{AGAIN}, or {self._tls_hint}" if self._tls_hint and not self._has_answered else AGAIN
            raise ConnectionLostError(f"the connection to {self.host} broke off", hint=hint) from error
        except httpx.InvalidURL as error:
            raise UsageError(f"{self.host} is no address", hint="give --remote https://HOST") from error


class Stream:
    """The lines of one response. `end` is the last one, after it was read."""

    def __init__(self, connection: Connection, answer: httpx.Response) -> None:
        self._connection = connection
        self._answer = answer
        self.end: Mapping[str, Any] = {}

    def records(self, grace: float) -> Iterator[Mapping[str, Any]]:
        """Yield outcomes. Raises the problem that ended them, or `ConnectionLostError` if the response broke off.

        After a stop, outcomes are read for `grace` seconds more; then the connection is closed, which stops the server
        too.
        """
        try:
            for line in self._lines(grace):
                record = _parsed(line)
                if not isinstance(record, dict):
                    raise self._connection.strange("a line that is no object")
                cost = record.get("cost_usd") if record.keys() & {"end", "problem"} else None
                self._connection.spent += cost if isinstance(cost, int | float) else 0.0
                if "problem" in record:
                    raise wire_errors.problem_of(record["problem"])
                if "end" in record:
                    self.end = record
                    return
                yield record
        except wire_errors.ProtocolError as error:
            raise self._connection.strange(error) from error
        finally:
            self._answer.close()

    def _lines(self, grace: float) -> Iterator[bytes]:
        if _kind(self._answer) != wire_format.LINES:
            raise wire_errors.ProtocolError("a page, not lines")
        rest = b""
        with self._connection.translated():
            for piece in self._answer.iter_raw():  # with a size, it would wait until so much has arrived
                *lines, rest = (rest + piece).split(b"\n") if b"\n" in piece else [rest + piece]
                yield from lines
                if len(rest) > wire_format.LONGEST:
                    raise wire_errors.ProtocolError("a line without an end")
                stopped_at = self._connection.stopped_at
                if stopped_at is not None and time.monotonic() >= stopped_at + grace:
                    raise StreamAbortedError
        raise ConnectionLostError(f"{self._connection.host} broke off its answer", hint=AGAIN)

    def close(self) -> None:
        """Close the response."""
        self._answer.close()


class StreamAbortedError(Exception):
    """The stream was closed because of a stop."""


def _kind(answer: httpx.Response) -> str:
    media_type: str = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type


def _refuse_constant(number: str) -> float:
    raise wire_errors.ProtocolError(f"the number {number}")


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=number)
    except wire_errors.ProtocolError:
        raise
    except (ValueError, RecursionError) as error:
        raise wire_errors.ProtocolError("no JSON") from error
