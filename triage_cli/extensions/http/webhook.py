"""Webhooks by Standard Webhooks 1.0: all attempts have the same id, and each has its signature."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.destinations import payload_line
from triage_cli.extensions.http.http_sender import GONE, WORKERS, HttpSender, Send, beginning_of, refusal, shown_request
from triage_cli.runtime import USER_AGENT, Endpoint, HttpRequest, Network, Resolver, host_of

# Only the status of an answer counts. Its body is read for at most so many seconds, so that the connection can be
# reused.
BODY_SECONDS = 1.0


class WebhookTarget(NamedTuple):
    """A webhook's address and options: `secrets` sign, the newest first; `guarded` refuses private addresses."""

    name: str
    url: str
    secrets: tuple[bytes, ...]
    timeout: float
    max_attempts: int
    schedule: tuple[float, ...]
    guarded: bool = False


def webhook_request(target: WebhookTarget, outgoing: dm.OutgoingDelivery, now: float) -> HttpRequest:
    """Return the signed request of one attempt at a webhook."""
    body = payload_line(outgoing).rstrip()
    webhook_id = outgoing.delivery.delivery_id
    headers = {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now)),
        "idempotency-key": webhook_id,
        **outgoing.request_headers,
    }
    if target.secrets:
        headers["webhook-signature"] = dm.signature(target.secrets, webhook_id, int(now), body)
    return HttpRequest("POST", target.url, headers, body)


class WebhookDestination:
    """Posts deliveries to the URL of one webhook, several at a time."""

    def __init__(self, target: WebhookTarget, network: Network, *, resolver: Resolver | None = None) -> None:
        self.name = target.name
        host = host_of(target.url)
        is_unnamed = "://" in target.name  # shown by its address
        self._shown_name = f"the webhook at {host}" if is_unnamed else target.name
        self.workers = WORKERS
        self.max_attempts = target.max_attempts
        self.schedule = target.schedule
        self._target = target
        endpoint = Endpoint(self._shown_name, "" if is_unnamed else host, target.timeout, BODY_SECONDS, target.guarded)
        self._sender = HttpSender(endpoint, network, resolver=resolver)

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        return self._sender.deliver(self.name, chunks, self._post)

    async def _post(self, send: Send, outgoing: dm.OutgoingDelivery) -> dm.Receipt:
        answer = await send(webhook_request(self._target, outgoing, time.time()))
        if 200 <= answer.status < 300:
            return dm.Receipt(answer.status)
        error = refusal(self._shown_name, answer)
        error.gone, error.answer = answer.status == GONE, beginning_of(answer)
        raise error


def webhook_as_text(target: WebhookTarget, outgoing: dm.OutgoingDelivery) -> str:
    """Return the request as `route --dry-run` prints it; only the time and the signature differ at the attempt."""
    return shown_request(webhook_request(target, outgoing, time.time()))
