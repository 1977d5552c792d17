"""A webhook, by Standard Webhooks 1.0: one id over all attempts, a signature over each."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import NamedTuple

import httpx

from triage_cli import __version__
from triage_cli.destinations.payload import line
from triage_cli.destinations.ssrf_guard import Resolver, checked
from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.errors import DeliveryError
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.webhook_signing import signature
from triage_cli.runtime import exhausted
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.network import Network
from triage_cli.runtime.unreachable import host_of, reason

# At most so many requests to one destination at once.
WORKERS = 16
# And to all destinations together, in one process.
TOTAL = 64
# What cannot be handed over now may be later; every other refusal is final.
RETRIED = frozenset({408, 425, 429})
# A gateway's word that it has lost the receiver, which may have taken the request.
GATEWAYS = frozenset({502, 504})
# Before a byte of the request is sent.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
GONE = 410
# Of an answer, so much is read: only its status counts.
READ = 65_536
# And for so many seconds at most.
REST = 1.0
LONGEST_WAIT = 7 * 24 * 3600.0


class Target(NamedTuple):
    """Where to send, and how: `secrets` sign, the newest first; `guarded` refuses private addresses."""

    name: str
    url: str
    secrets: tuple[bytes, ...]
    timeout: float
    max_attempts: int
    schedule: tuple[float, ...]
    guarded: bool = False


@cache
def _all_requests() -> asyncio.Semaphore:
    """Return what bounds the requests of the process; it belongs to the bridge's loop."""
    return asyncio.Semaphore(TOTAL)


def request(target: Target, parcel: OutgoingDelivery, now: float) -> tuple[dict[str, str], bytes]:
    """Return headers and body of one attempt."""
    body = line(parcel).rstrip()
    message_id = parcel.delivery.delivery_id
    headers = {
        "content-type": "application/json",
        "user-agent": f"triage/{__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "idempotency-key": message_id,
    }
    if target.secrets:
        headers["webhook-signature"] = signature(target.secrets, message_id, int(now), body)
    return headers, body


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds a `Retry-After` asks for, between 0 and a week; None where it says nothing sensible."""
    value = headers.get("retry-after", "").strip()
    seconds: float | None = None
    with suppress(ValueError, OverflowError, TypeError):
        if value and (value[0].isdigit() or value[0] in "+-."):
            seconds = float(value)
        elif value:
            found = parsedate_to_datetime(value)
            seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() - now
    return None if seconds is None or seconds != seconds else min(max(seconds, 0.0), LONGEST_WAIT)  # noqa: PLR0124 - NaN


class WebhookDestination:
    """Posts deliveries to one URL, several at a time."""

    def __init__(
        self, target: Target, network: Network, *,
        resolver: Resolver | None = None, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.name = target.name
        # A destination that is an address alone has that for its name.
        self._said = f"the webhook at {host_of(target.url)}" if "://" in target.name else target.name
        self.workers = WORKERS
        self.max_attempts = target.max_attempts
        self.schedule = target.schedule
        self._target = target
        self._network = network
        self._resolver = resolver or network.resolve
        self._clock = clock

    def deliver(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Post parcels side by side; outcomes come as they arrive, and never keep the caller waiting.

        Raises at once `UsageError` when offline, `ConfigError` for authorities that cannot be read, `ExhaustedError`.
        """
        bridge()
        client = self._network.async_http_client(
            self.name,
            timeout=self._target.timeout,
            limits=httpx.Limits(max_connections=WORKERS, max_keepalive_connections=WORKERS),
        )
        return self._delivered(client, chunks)

    def _delivered(
        self, client: httpx.AsyncClient, chunks: Iterable[Sequence[OutgoingDelivery]]
    ) -> Iterator[Sequence[Outcome[Receipt]]]:
        async def send(parcel: OutgoingDelivery) -> Outcome[Receipt]:
            return await self._send(client, parcel)

        try:
            for arrived in bridge().map(chunks, send, workers=WORKERS, stopping=lambda: False, tick=0.0):
                yield [
                    result if isinstance(result, Outcome) else self._failed(parcel, result, 0.0)
                    for parcel, result in arrived
                ]
        finally:
            # Not waited for: a forgotten generator may be closed in the loop's own thread.
            asyncio.run_coroutine_threadsafe(client.aclose(), bridge().loop)

    async def _send(self, client: httpx.AsyncClient, parcel: OutgoingDelivery) -> Outcome[Receipt]:
        began = time.perf_counter()
        try:
            async with _all_requests(), asyncio.timeout(self._target.timeout) as until:
                status, headers = await self._post(client, parcel, until)
        except TimeoutError:
            error = DeliveryError(f"{self._said} did not answer within {self._target.timeout:g} s", doubtful=True)
        except httpx.InvalidURL:
            error = DeliveryError(f"{self._said} has a url that leads nowhere", hint="check the config", final=True)
        except httpx.HTTPError as problem:
            if lack := exhausted.of(problem, probing=True):
                return Outcome(0, Action.FAILED, None, lack, parcel)
            error = DeliveryError(
                f"{self._said} cannot be reached at {host_of(self._target.url)}: {reason(problem)}",
                doubtful=not isinstance(problem, UNSENT),
            )
        except DeliveryError as problem:
            error = problem
        else:
            seconds = time.perf_counter() - began
            if 200 <= status < 300:
                return Outcome(0, Action.DELIVERED, Receipt(status, seconds), None, parcel)
            return self._failed(parcel, self._refusal(status, headers), seconds)
        return self._failed(parcel, error, time.perf_counter() - began)

    async def _post(
        self, client: httpx.AsyncClient, parcel: OutgoingDelivery, until: asyncio.Timeout
    ) -> tuple[int, Mapping[str, str]]:
        headers, body = request(self._target, parcel, self._clock())
        url = httpx.URL(self._target.url)
        extensions = {}
        if self._target.guarded:
            port = url.port or (443 if url.scheme == "https" else 80)
            address = await asyncio.to_thread(checked, url.host, port, self._resolver)
            headers["host"] = url.netloc.decode("ascii")
            extensions = {"sni_hostname": url.host}
            url = url.copy_with(host=address)
        async with client.stream("POST", url, content=body, headers=headers, extensions=extensions) as answer:
            # What follows is read for the sake of the connection alone: if it breaks off or drips, the status has come.
            until.reschedule(asyncio.get_running_loop().time() + 2 * REST)
            with suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(REST):
                    size = 0
                    async for chunk in answer.aiter_raw():
                        size += len(chunk)
                        if size > READ:
                            break
            return answer.status_code, answer.headers

    def _refusal(self, status: int, headers: Mapping[str, str]) -> DeliveryError:
        retried = status in RETRIED or status >= 500
        why = "redirects, which is not followed" if 300 <= status < 400 else f"answered {status}"
        return DeliveryError(
            f"{self._said} {why}",
            final=not retried,
            status=status,
            retry_after=retry_after(headers, self._clock()) if retried else None,
            doubtful=status in GATEWAYS,
        )

    def _failed(self, parcel: OutgoingDelivery, error: Exception, seconds: float) -> Outcome[Receipt]:
        failure = error if isinstance(error, DeliveryError) else DeliveryError(f"{self._said}: {type(error).__name__}")
        return Outcome(0, Action.FAILED, Receipt(failure.status, seconds), failure, parcel)


def as_text(target: Target, parcel: OutgoingDelivery) -> str:
    """Return the exact request as `route --dry-run` prints it, but for the time and the signature of the attempt."""
    headers, body = request(target, parcel, datetime.now(UTC).timestamp())
    shown = "".join(f"{name}: {value}\n" for name, value in headers.items())
    return f"POST {target.url}\n{shown}\n{body.decode()}"
