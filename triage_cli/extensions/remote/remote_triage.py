"""The use cases on another instance, over HTTP: a running `triage serve` carries them out.

`RemoteTriage` has the connection; consultation, API keys and the verification of the audit log are over the same one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx

from triage_cli import domain as dm
from triage_cli.extensions.remote.http_connection import (
    TIMEOUT,
    Address,
    Connection,
    StreamAbortedError,
    UnreachableError,
)
from triage_cli.extensions.remote.upload import Upload, UploadPlan
from triage_cli.ports import Consultation, Operation, Triage, operations, wire_format
from triage_cli.runtime import Network

T = TypeVar("T")

VERDICTS = 500  # per request to the remote


class RemoteOperations:
    """Implements a port: each of its methods that a class below does not write is an operation of the remote."""

    port: type

    def operation(self, name: str, *values: Any, **named: Any) -> Any:
        """Have the remote carry out an operation."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """Return the operation of this name, as a method."""
        if name not in operations.SERVED[self.port]:
            raise AttributeError(name)
        return partial(self.operation, name)


class RemoteTriage(RemoteOperations):
    """Implements `ports.Triage` by requests to a remote; one object per command. A signal handler may call `stop`."""

    port = Triage

    def __init__(self, address: Address, network: Network, warn: Callable[[str], None] = lambda _: None) -> None:
        self.connection = Connection(address, network, warn)
        self._import_id = dm.ids.new_id()  # of what this command uploads

    def close(self) -> None:
        """Close the connection to the remote."""
        self.connection.close()

    def stop(self) -> None:
        """Stop sending new work; after a short wait the connections are closed, which stops the server too."""
        self.connection.stop()

    @property
    def spent(self) -> float:
        """Return what the remote has reported as spent, in USD; it does so at the end of each stream."""
        return self.connection.spent

    # -- streams

    def create(
        self, drafts: Iterable[dm.TicketDraft | dm.Rejected], *, same_tickets: bool = False
    ) -> Iterator[dm.Outcome[dm.Ticket]]:
        plan = UploadPlan[dm.Ticket](_guard_params(same_tickets), dm.Outcome[dm.Ticket], self._import_id)
        return Upload(self.connection, plan).send(drafts)

    def run(
        self, drafts: Iterable[dm.TicketDraft | dm.Rejected], plan: dm.ClassifyPlan, *, same_tickets: bool = False
    ) -> Iterator[dm.Outcome[dm.Routed]]:
        plan_params = dm.to_wire(plan._replace(max_cost=None, deadline=None))
        upload_params = {"do": "classify,route", **_guard_params(same_tickets), **plan_params}
        kind = dm.Outcome[dm.Routed]
        upload_plan = UploadPlan(upload_params, kind, self._import_id, plan.max_cost, plan.deadline)
        return Upload(self.connection, upload_plan).send(drafts)

    def give_verdicts(self, verdicts: Iterable[dm.VerdictDraft]) -> Iterator[dm.Outcome[dm.Ticket]]:
        for verdict_chunk in dm.chunked(verdicts, VERDICTS):
            if self.connection.stopped_at is not None:
                return
            drafts = {draft.row: draft for draft in verdict_chunk}
            for outcome in self.operation("give_verdicts", verdict_chunk):
                if outcome.row not in drafts:
                    raise self.connection.strange_response("an outcome of a row that was never sent")
                yield outcome._replace(item=drafts[outcome.row])

    # -- lists, a page at a time: whoever reads them may pause

    def find(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        if selection.ids is not None:
            named = dm.chunked(selection.ids, operations.PAGE)
            found = (self.operation("find", dm.Selection(ids=tuple(some_ids))) for some_ids in named)
            return islice(chain.from_iterable(found), selection.limit)
        if selection.order == "review":
            return islice(self._to_review(selection), selection.limit)
        return self._listed("find", selection, attrgetter("ticket_id"))

    def _to_review(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        while True:
            page = self.operation("review_page", selection._replace(limit=operations.PAGE))
            yield from page.tickets
            if not page.next:
                return
            selection = selection._replace(after=page.next)

    def events(self, query: dm.EventQuery) -> Iterator[dm.LoggedEvent]:
        if query.limit is None or query.limit <= operations.PAGE:
            yield from self._listed("events", query, attrgetter("seq"))
        else:  # the last ones
            yield from deque(self._listed("events", query._replace(limit=None), attrgetter("seq")), query.limit)

    def labelled_texts(self, query: dm.TextQuery) -> Iterator[dm.Labelled]:
        return self._listed("labelled_texts", query, attrgetter("text_id"))

    def _listed(self, name: str, query: Any, place: Callable[[Any], Any]) -> Iterator[Any]:
        """Yield what an operation lists, page after page; each begins behind the `place` of the last value before it.

        Raises `UnavailableError` if a page follows upon itself.
        """
        left = query.limit
        while left is None or left > 0:
            asked = operations.PAGE if left is None else min(left, operations.PAGE)
            page = self.operation(name, query if left is None else query._replace(limit=asked))
            yield from page
            if len(page) < asked:
                return
            if place(page[-1]) == query.after:
                raise self.connection.strange_response("a list whose next page is the same page again")
            query, left = query._replace(after=place(page[-1])), left and left - asked

    def operation(self, name: str, *values: Any, timeout: httpx.Timeout = TIMEOUT, **named: Any) -> Any:
        """Have the remote carry out an operation. Raises its error, and `UsageError` if it does not know it.

        Outcomes are yielded until their end or a stop; their request is never repeated.
        """
        operation = operations.operation(name)
        arguments = operation.arguments_to(*values, **named)
        if operation.answers_lines:
            return self._lines(operation, arguments)
        return self.converted(dm.reader(operation.result), self.connection.call(operation, arguments, timeout=timeout))

    def _lines(self, operation: Operation, arguments: Mapping[str, Any]) -> Iterator[Any]:
        read = dm.reader(operation.value)
        with suppress(StreamAbortedError):
            for line in self.connection.call_for_lines(operation, arguments).records(0.0):
                yield self.converted(read, line.get("value"))

    def converted(self, make: Callable[[Any], T], record: Any) -> T:
        """Convert a record of the remote. Raises `UnavailableError` if it does not follow the wire format."""
        try:
            return make(record)
        except dm.ProtocolError as error:
            raise self.connection.strange_response(error) from error


def _guard_params(same_tickets: bool) -> dict[str, Any]:
    return {"same_tickets": True} if same_tickets else {}


VERIFY_TIMEOUT = httpx.Timeout(3600.0, connect=10.0)  # in seconds; a log of many millions of events takes minutes


class RemoteKeyRing:
    """Manages the API keys of a remote, as `KeyRing` does those of a database.

    A request whose response is lost is not repeated: a key is shown once.
    """

    def __init__(self, remote_triage: RemoteTriage) -> None:
        self._remote = remote_triage

    def create(self, name: str, role: str, seconds: float | None = None) -> dm.CreatedKey:
        return self._created_key("/keys", {"name": name, "role": role, "expires_in": seconds})

    def rotate(self, name: str, overlap: float = 0.0, seconds: float | None = None) -> dm.CreatedKey:
        return self._created_key(f"{_key_path(name)}/rotate", {"overlap": overlap, "expires_in": seconds})

    def list(self) -> list[dm.ApiKey]:
        keys = self._remote.connection.get("/keys")
        return self._remote.converted(lambda records: [_api_key(one) for one in wire_format.rows_of(records)], keys)

    def revoke(self, name: str) -> dm.ApiKey:
        revoked = self._remote.connection.request("DELETE", _key_path(name), None)
        return self._remote.converted(_api_key, revoked)

    def _created_key(self, path: str, body: Mapping[str, Any]) -> dm.CreatedKey:
        created = self._remote.connection.request("POST", path, body)
        return cast("dm.CreatedKey", self._remote.converted(dm.reader(dm.CreatedKey), created))


def verify(remote_triage: RemoteTriage, heads: Mapping[str, str]) -> dm.Head:
    """Have a remote verify its audit log, and return its head. Raises `CheckError` for the first contradiction.

    The request is never repeated: the remote answers only after it has read the whole log, and would begin again.
    """
    verify_body = {"heads": dict(heads)}
    response = remote_triage.connection.request("POST", "/audit/verify", verify_body, timeout=VERIFY_TIMEOUT)
    return cast("dm.Head", remote_triage.converted(dm.reader(dm.Head), response))


def _key_path(key_name: str) -> str:
    return f"/keys/{quote(dm.encodable(key_name), safe='')}"


def _api_key(record: Any) -> dm.ApiKey:
    """Return an API key from the remote's record, which has no hash."""
    return cast("dm.ApiKey", dm.reader(dm.ApiKey)({**wire_format.object_of(record), "hash": None}))


# The errors after which no provider can have been asked, since the remote refused the request or was not reached.
NOT_BEGUN = (dm.UsageError, dm.RefusedError, dm.BusyError, UnreachableError)
LONGEST_OUTAGE = 20.0  # seconds for which a remote waits for a provider, while its caller waits


class RemoteConsultation(RemoteOperations):
    """Implements `ports.Consultation` on the connection of a `RemoteTriage`."""

    port = Consultation

    def __init__(self, remote_triage: RemoteTriage) -> None:
        self._remote = remote_triage
        self.spent = 0.0

    def operation(self, name: str, *values: Any, **named: Any) -> Any:
        return self._remote.operation(name, *values, **named)

    def classify_text(self, question: dm.TextQuestion, plan: dm.ClassifyPlan) -> dm.TextAnswer:
        """Have the remote classify a text without storing it, in its budget. Sent once: each time may cost money.

        If it fails, all that it was permitted to cost counts as spent, unless the remote cannot have begun.
        """
        plan = plan._replace(max_wait=min(plan.max_wait, LONGEST_OUTAGE))
        try:
            text_answer = cast("dm.TextAnswer", self._remote.operation("classify_text", question, plan))
        except NOT_BEGUN:
            raise
        except dm.TriageError:
            self.spent += plan.max_cost or 0.0
            raise
        self.spent += text_answer.cost_usd
        return text_answer
