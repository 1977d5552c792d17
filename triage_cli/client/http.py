"""The connection to a server: requests, what is sent again, and every strange answer as one sentence."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from triage_cli import __version__
from triage_cli.client import protocol, protocol_errors
from triage_cli.domain.errors import BusyError, RefusedError, TriageError, UnavailableError, UsageError
from triage_cli.domain.serialization import all_encodable, number
from triage_cli.runtime.network import Network, is_loopback
from triage_cli.runtime.retry_after import retry_after
from triage_cli.runtime.unreachable import reason

# Seconds: to connect, and between two pieces of an answer; a stream that is at work sends a blank each second.
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
# What was lost is sent again after so many seconds, where that is safe.
WAITS = (0.3, 1.5)
# So long a server may ask us to wait until it takes a request, in seconds.
PATIENCE = 120.0
# No answer that is not streamed is longer, in bytes.
MOST = 256 << 20
PROBLEM = "application/problem+json"
AGAIN = "what was done is stored there; run the same command again"


# A query: a value may be a list of several.
Params = Mapping[str, Any] | Sequence[tuple[str, Any]]


class ConnectionLostError(UnavailableError):
    """A request found no server, or its answer broke off: nobody knows how far it came."""


class Address(NamedTuple):
    """Where a server is, and the key it knows us by."""

    url: str
    key: str

    @property
    def host(self) -> str:
        """Return what it is called in messages."""
        return urlsplit(self.url).netloc


def checked(url: str, key: str, *, insecure: bool) -> Address:
    """Return where to go. Raises `UsageError` for a key in the clear, `RefusedError` without a key."""
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise UsageError(
            "the remote is an address with a query", hint="give --remote https://HOST, or http://127.0.0.1:8000"
        )
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"{parts.netloc} is another machine, and by http:// key and tickets would cross the network in the clear",
            hint="use https://, or --insecure where the network is your own",
        )
    if not key:
        hint = "export TRIAGE_API_KEY; triage keys create makes one there"
        raise RefusedError(f"{parts.netloc} takes a key", hint=hint)
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise RefusedError("TRIAGE_API_KEY holds what is no key", hint="copy it again as triage keys create printed it")
    return Address(url.rstrip("/"), key)


class Connection:
    """One server, and whether we are to stop."""

    def __init__(self, address: Address, network: Network) -> None:
        self.host = address.host
        self._met = False
        self._patience = PATIENCE
        self.stopped_at: float | None = None
        self.spent = 0.0
        self._client = network.http_client(
            address.host,
            # What stands on this machine is behind no proxy.
            proxies=not is_loopback(urlsplit(address.url).hostname or ""),
            base_url=address.url,
            headers={"x-api-key": address.key, "user-agent": f"triage/{__version__}", "accept-encoding": "identity"},
            timeout=TIMEOUT,
        )

    def stop(self) -> None:
        """Wait for nothing any more; a signal's handler may call this."""
        self.stopped_at = self.stopped_at or time.monotonic()

    def close(self) -> None:
        """Let go of the sockets."""
        self._client.close()

    def get(self, path: str, params: Params | None = None) -> tuple[Any, str | None]:
        """Return an answer's JSON value, and where its next page is."""
        return self._safely("GET", path, {"params": params})

    def post(self, path: str, body: Mapping[str, Any], key: str) -> Any:
        """Send something that is done once however often it is sent, and return the answer's JSON value."""
        return self._safely("POST", path, {"json": body, "headers": {"idempotency-key": key}})[0]

    def _safely(self, method: str, path: str, options: Mapping[str, Any]) -> tuple[Any, str | None]:
        """Send what may be sent again; return the answer's JSON value and where its next page is."""
        for wait in (*WAITS, None):
            try:
                answer = self.send(method, path, options)
                value = _parsed(self._body(answer))
                return value, answer.links.get("next", {}).get("url")
            except ConnectionLostError:
                if wait is None or not self._met or not self.wait(wait):
                    raise
            except protocol_errors.ProtocolError as error:
                raise self.strange(error) from error
        raise AssertionError

    def _body(self, answer: httpx.Response) -> bytes:
        pieces, size = [], 0
        try:
            with self.translated():
                for piece in answer.iter_raw(1 << 16):
                    pieces.append(piece)
                    if (size := size + len(piece)) > MOST:
                        raise protocol_errors.ProtocolError("an answer without an end")
        finally:
            answer.close()
        return b"".join(pieces)

    def stream(self, path: str, options: Mapping[str, Any]) -> "Stream":
        """Send a request that is answered by lines."""
        return Stream(self, self.send("POST", path, options))

    def send(self, method: str, path: str, options: Mapping[str, Any]) -> httpx.Response:
        """Return an answer whose body is still to be read. Raises what the server told, or that there is none.

        Where the server asks for a while, it is sent again then: nothing was done yet.
        """
        options = all_encodable(options)  # what is typed in another encoding has halves of surrogate pairs
        while True:
            with self.translated():
                answer = self._client.send(self._client.build_request(method, path, **options), stream=True)
            self._met = True
            if answer.is_success:
                self._patience = PATIENCE
                return answer
            error = self._refusal(answer)
            if not isinstance(error, BusyError) or not self.wait(_seconds(answer)):
                raise error

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether to go on: not once we are to stop, nor for ever."""
        self._patience -= seconds
        until = time.monotonic() + seconds
        while self._patience >= 0 and self.stopped_at is None:
            if (left := until - time.monotonic()) <= 0:
                return True
            time.sleep(min(left, 0.05))
        return False

    def _refusal(self, answer: httpx.Response) -> TriageError:
        """Return the error that an answer tells."""
        if _kind(answer) == PROBLEM:
            with suppress(protocol_errors.ProtocolError):
                return protocol_errors.problem_of(_parsed(self._body(answer)))
        answer.close()
        status = f"{self.host} answered {answer.status_code} {answer.reason_phrase}".rstrip()
        if answer.is_redirect:
            return UsageError(f"{status}: it is elsewhere", hint="give --remote the address that it moved to")
        if answer.status_code in (401, 403):
            return RefusedError(status, hint="a gateway in front of it may want a login; ask who runs it")
        if answer.status_code >= 500 or answer.status_code == 429:
            return ConnectionLostError(status, hint=AGAIN)
        return UsageError(f"{status}, as no triage server does", hint="check the address given with --remote")

    def strange(self, why: object) -> UnavailableError:
        """Return the error of an answer that was not agreed on."""
        hint = "check the address, the versions, and what stands in between"
        return UnavailableError(f"{self.host} answered what triage does not understand: {why}", hint=hint)

    def translated(self) -> "_Translated":
        """Return a block in which what httpx raises is told in our words."""
        return _Translated(self.host, met=self._met)


class _Translated:
    """Tells what httpx raises in our words."""

    def __init__(self, host: str, *, met: bool) -> None:
        self._host = host
        self._met = met  # a server that has answered before was the right address, and is away now

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            hint = AGAIN if self._met else "check --remote, and that triage serve runs there"
            raise ConnectionLostError(f"cannot reach {self._host}: {reason(error)}", hint=hint) from error
        if isinstance(error, httpx.TimeoutException):
            raise ConnectionLostError(f"{self._host} has gone silent", hint=AGAIN) from error
        if isinstance(error, httpx.TransportError | httpx.DecodingError):
            raise ConnectionLostError(f"the connection to {self._host} broke off", hint=AGAIN) from error
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            raise UsageError(f"{self._host} is no address", hint="give --remote https://HOST") from error


class Stream:
    """The lines of one answer. `end` is the last one, once it has come."""

    def __init__(self, connection: Connection, answer: httpx.Response) -> None:
        self._connection = connection
        self._answer = answer
        self.end: Mapping[str, Any] = {}

    def records(self, grace: float) -> Iterator[Mapping[str, Any]]:
        """Yield outcomes. Raises the problem that ended them, or `ConnectionLostError` where they broke off.

        Once we are to stop, they are waited for so many seconds more; then the server is left, which makes it stop too.
        """
        try:
            for line in self._lines(grace):
                record = _parsed(line)
                if not isinstance(record, dict):
                    raise self._connection.strange("a line that is no object")
                cost = record.get("cost_usd") if record.keys() & {"end", "problem"} else None
                self._connection.spent += cost if isinstance(cost, int | float) else 0.0
                if "problem" in record:
                    raise protocol_errors.problem_of(record["problem"])
                if "end" in record:
                    self.end = record
                    return
                yield record
        except protocol_errors.ProtocolError as error:
            raise self._connection.strange(error) from error
        finally:
            self._answer.close()

    def _lines(self, grace: float) -> Iterator[bytes]:
        if _kind(self._answer) != protocol.LINES:
            raise protocol_errors.ProtocolError("a page, not lines")
        rest = b""
        with self._connection.translated():
            for piece in self._answer.iter_raw():  # with a size it would wait until so much has come
                *lines, rest = (rest + piece).split(b"\n") if b"\n" in piece else [rest + piece]
                yield from lines
                if len(rest) > protocol.LONGEST:
                    raise protocol_errors.ProtocolError("a line without an end")
                stopped_at = self._connection.stopped_at
                if stopped_at is not None and time.monotonic() >= stopped_at + grace:
                    raise StreamAbortedError
        raise ConnectionLostError(f"{self._connection.host} broke off its answer", hint=AGAIN)

    def close(self) -> None:
        """Leave."""
        self._answer.close()


class StreamAbortedError(Exception):
    """We have left, since we were told to stop."""


def _kind(answer: httpx.Response) -> str:
    media_type: str = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type


def _strict(number: str) -> float:
    raise protocol_errors.ProtocolError(f"the number {number}")


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_strict, parse_float=number)
    except protocol_errors.ProtocolError:
        raise
    except (ValueError, RecursionError) as error:
        raise protocol_errors.ProtocolError("no JSON") from error


def _seconds(answer: httpx.Response) -> float:
    return retry_after(answer.headers, time.time(), most=PATIENCE + 1) or 1.0
