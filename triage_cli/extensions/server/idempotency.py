"""Requests with an `Idempotency-Key` are processed once; a repetition gets the first response.

A repetition of a bulk request, whose response is a stream, is refused while the first one runs.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from triage_cli import domain as dm
from triage_cli.extensions.server.dependencies import current_caller, current_server
from triage_cli.extensions.server.kept_answers import with_texts, without_texts
from triage_cli.extensions.server.server_log import error_log
from triage_cli.extensions.server.server_state import ServerState

# Seconds after which an unfinished request is given up, and the next one with its key may run. A running request renews
# its lease every RENEW_LEASE seconds, a bulk request with the lines of its response.
KEY_LEASE = 30.0
RENEW_LEASE = 10.0
# How long a repeated request waits for the first one, and how often it looks for the response, in seconds.
REPETITION_PATIENCE = 2.0
REPETITION_POLL = 0.05


def key_header(description: str) -> Any:
    """Return the header `Idempotency-Key`, with what an endpoint does by it."""
    examples = ["{{$guid}}"]  # Postman, which sends the example, fills in a new one for each request
    return Header(alias="Idempotency-Key", pattern=r"^[!-~]{0,255}$", description=description, examples=examples)


IdempotencyKey = Annotated[
    str | None, key_header("a repetition with the same body gets the first answer; empty: no key")
]


def reply(record: Any, status: int = 200, revision: int | None = None) -> Response:
    """Return a record as a JSON response; its `ETag` is the revision of the ticket, if it is about one."""
    headers = {} if revision is None else {"etag": etag(revision)}
    return Response(dm.to_json(record).encode("utf-8", "replace"), status, headers, "application/json")


def etag(revision: int) -> str:
    """Return the `ETag` of a ticket with this revision."""
    return f'"{revision}"'


class JsonAnswer(NamedTuple):
    """A JSON response that is still to be made."""

    status: int
    record: Any
    revision: int | None = None  # of the ticket in it; a repetition has none, since it may be another one by then

    def response(self) -> Response:
        """Return this JSON answer as a response."""
        return reply(self.record, self.status, self.revision)


class IdempotentRequest:
    """Runs a request's work at most once for its idempotency key, which also makes the `identity` of a new ticket."""

    def __init__(
        self, server_state: ServerState, caller_id: str, key: str | None, path: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._idempotency_keys = server_state.api_access
        self._store = server_state.services.store
        self._loop = loop
        self._caller_id = caller_id
        # A key may name a person, and what is stored under it outlives what is erased of a ticket.
        self._key = hashlib.sha256(key.encode()).hexdigest() if key else None
        self._path = path
        self.identity = f"key:{caller_id}:{key}" if key else None

    def __call__(self, body: BaseModel | None, work: Callable[[], JsonAnswer]) -> Response:
        """Return the response to the first request with the key.

        Raises `BusyError` while that request runs, and `UsageError` if its body was another one.
        """
        if self._key is None:
            return work().response()
        request_content = f"{self._path}\n{body.model_dump_json() if body else ''}".encode("utf-8", "surrogatepass")
        stored_response = self._begin(self._key, hashlib.sha256(request_content).hexdigest())
        if stored_response is not None:
            return stored_response
        try:
            with self._kept_at_work(self._key):
                json_answer = work()
        except BaseException:
            self._idempotency_keys.give_up(self._caller_id, self._key)
            raise
        ticket_id = json_answer.record["ticket_id"]
        kept_answer = dm.compact(without_texts(json_answer.record, lambda: self._store.history(ticket_id)))
        self._idempotency_keys.close(self._caller_id, self._key, json_answer.status, kept_answer, ticket_id)
        return json_answer.response()

    @contextmanager
    def _kept_at_work(self, key: str) -> Iterator[None]:
        """Renew the lease on the idempotency key until the work is done; the event loop of the server does that."""
        renewal = asyncio.run_coroutine_threadsafe(self._keep_renewing(key), self._loop)
        try:
            yield
        finally:
            renewal.cancel()

    async def _keep_renewing(self, key: str) -> None:
        while True:
            await asyncio.sleep(RENEW_LEASE)
            try:
                await asyncio.to_thread(self._idempotency_keys.renew, self._caller_id, key, KEY_LEASE)
            except dm.TriageError as error:  # the work fails too, if this lasts
                error_log.warning("a request at work could not say so: %s", error.sentence())

    def _begin(self, key: str, request_hash: str) -> Response | None:
        """Return the response to the first request, or None if this one is the first, and is to do the work."""
        wait_until = time.monotonic() + REPETITION_PATIENCE
        while (first_request := self._idempotency_keys.open(self._caller_id, key, request_hash, KEY_LEASE)) is not None:
            if first_request.status is not None and first_request.answer is None:
                raise _forgotten_error()
            if first_request.body_hash != request_hash:
                raise _other_request_error()
            if first_request.answer is not None:
                return self._repeated(first_request)
            if time.monotonic() > wait_until:
                raise _still_at_work_error()
            time.sleep(REPETITION_POLL)
        return None

    def _repeated(self, first_request: dm.StoredResponse) -> Response:
        """Return the response to the first request. Raises `ForgottenError` if its ticket was erased meanwhile."""
        history = self._store.history(first_request.ticket_id or "")
        if history.ticket.is_erased:
            raise _forgotten_error()
        return reply(with_texts(dm.from_json(first_request.answer or ""), history), first_request.status or 200)


class BulkRequestLock:
    """Refuses repetitions of a bulk request while it runs.

    No response is stored: what the request stored is recognised by its identity.
    """

    def __init__(self, server_state: ServerState, caller_id: str, key: str | None, body_hash: str) -> None:
        self._idempotency_keys = server_state.api_access
        self._caller_id = caller_id
        self._key = key or None
        self._request_hash = body_hash

    @property
    def name(self) -> str:
        """Return the request's name in the record of runs; a repetition finds by it what earlier tries have spent."""
        if self._key is None:
            return ""
        return hashlib.sha256(f"{self._caller_id}\n{self._key}\n{self._request_hash}".encode()).hexdigest()

    def take(self) -> None:
        """Take the lock. Raises `BusyError` while the same request runs, `UsageError` if the key had another body."""
        if self._key is None:
            return
        stored_response = self._idempotency_keys.open(self._caller_id, self._key, self._request_hash, KEY_LEASE)
        if stored_response is None:
            return
        raise _still_at_work_error() if stored_response.body_hash == self._request_hash else _other_request_error()

    def renew(self) -> None:
        """Renew the lease of a bulk request's lock."""
        if self._key is not None:
            self._idempotency_keys.renew(self._caller_id, self._key, KEY_LEASE)

    def __enter__(self) -> None:
        """Keep the lock on the bulk request, which was taken before."""

    def __exit__(self, *_: object) -> None:
        if self._key is not None:
            self._idempotency_keys.give_up(self._caller_id, self._key)


def _other_request_error() -> dm.UsageError:
    return dm.UsageError("this Idempotency-Key came with another request before", hint="take a new key")


def _forgotten_error() -> dm.ForgottenError:
    return dm.ForgottenError("the text of this ticket was erased, and so was the first answer", hint="do not ask again")


def _still_at_work_error() -> dm.BusyError:
    return dm.BusyError("the first request with this Idempotency-Key is still at work", hint="ask again later")


async def current_idempotent_request(request: Request, idempotency_key: IdempotencyKey = None) -> IdempotentRequest:
    """Return what runs a request's work once for its `Idempotency-Key`."""
    server_state, caller = await current_server(request), await current_caller(request)
    path = ""
    if idempotency_key:  # a repetition has the same method, path and query; to parse a URL takes its time
        path = f"{request.method} {request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
    return IdempotentRequest(server_state, caller.caller_id, idempotency_key, path, asyncio.get_running_loop())


CurrentIdempotency = Annotated[IdempotentRequest, Depends(current_idempotent_request)]
