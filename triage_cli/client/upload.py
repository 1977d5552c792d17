"""A long input in parcels: two are on their way at a time, and one whose answer is lost is sent again."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Generic, NamedTuple, TypeVar

from triage_cli.client import protocol, protocol_errors
from triage_cli.client.http import WAITS, Connection, ConnectionLostError, Stream, StreamAbortedError
from triage_cli.domain import dedup, ids
from triage_cli.domain.occurrences import OccurrenceCounter
from triage_cli.domain.runs import Action, Outcome
from triage_cli.domain.serialization import compact
from triage_cli.domain.streams import bounded
from triage_cli.domain.tickets import Rejected, TicketDraft

T = TypeVar("T")

# Rows of one parcel, and how many parcels are on their way.
ROWS = 500
AHEAD = 2
# Once we are to stop, what is on its way is waited for so many seconds.
GRACE = 2.0
PATH = "/tickets/batch"


class UploadPlan(NamedTuple, Generic[T]):
    """What becomes of the drafts: what is asked beside them, what outcomes leave behind, USD and seconds in all."""

    params: Mapping[str, Any]
    value: Callable[[protocol.Record], T]
    max_cost: float | None = None
    deadline: float | None = None


class Upload(Generic[T]):
    """One input on its way; memory is that of the parcels on their way."""

    def __init__(self, connection: Connection, way: UploadPlan[T]) -> None:
        self._connection = connection
        self._way = way
        self._spent = 0.0
        self._began = time.monotonic()
        self._meetings = dedup.RewriteGuard()

    def send(self, drafts: Iterable[TicketDraft | Rejected]) -> Iterator[Outcome[T]]:
        """Send drafts and yield their outcomes, parcel after parcel.

        With a bound on cost one parcel is on its way at a time: the next is told what the ones before have spent. The
        server knows a parcel that is sent again by its key, and goes on with what its earlier tries have spent.
        """
        flying: deque[_UploadChunk] = deque()
        ahead = AHEAD if self._way.max_cost is None else 1
        with closing(OccurrenceCounter()) as seen:
            chunks = bounded(drafts, ROWS)
            try:
                while True:
                    while len(flying) < ahead and self._connection.stopped_at is None and (chunk := next(chunks, None)):
                        flying.append(self._packed(chunk, seen))
                        flying[-1].try_to_send()
                    if not flying:
                        return
                    yield from self._received(flying[0])
                    flying.popleft()
            except StreamAbortedError:
                return
            finally:
                for parcel in flying:
                    parcel.leave()

    def _packed(self, chunk: list[TicketDraft | Rejected], seen: OccurrenceCounter) -> "_UploadChunk":
        drafts = [row for row in chunk if isinstance(row, TicketDraft)]
        before = seen.count([dedup.identify(draft).identity for draft in drafts])
        met = (self._meetings.met, self._meetings.rewritten)
        lines = [compact({"met": met}), *(protocol.draft_line(d, n) for d, n in zip(drafts, before, strict=True))]
        params = dict(self._way.params)
        if self._way.max_cost is not None:
            params |= {"max_cost": self._way.max_cost, "spent_before": self._spent}
        if self._way.deadline is not None:
            params["deadline"] = max(0.0, self._began + self._way.deadline - time.monotonic())
        # Halves of surrogate pairs, which no UTF-8 holds, come through as JSON writes them.
        body = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        return _UploadChunk(self._connection, body, params, chunk, met)

    def _received(self, parcel: "_UploadChunk") -> Iterator[Outcome[T]]:
        """Yield a parcel's outcomes; of one that was sent again those that had not come before."""
        first: ConnectionLostError | None = None
        for wait in (*WAITS, None):
            try:
                yield from self._told(parcel)
            except ConnectionLostError as error:
                first = first or error  # it tells more than that the server is still away
                if wait is None or not self._connection.wait(wait):
                    raise first from error
            else:
                return

    def _told(self, parcel: "_UploadChunk") -> Iterator[Outcome[T]]:
        if parcel.number:
            stream = parcel.stream()
            for record in stream.records(GRACE):
                try:
                    outcome = protocol.outcome_of(record, self._way.value)
                except protocol_errors.ProtocolError as error:
                    raise self._connection.strange(error) from error
                draft = parcel.waiting.pop(outcome.place, None)
                if draft is not None:
                    yield from parcel.rejected(outcome.row)
                    yield outcome._replace(item=draft)
            if parcel.waiting:
                raise self._connection.strange(f"{len(parcel.waiting)} rows without an outcome")
            self._account(stream.end, parcel.met)
        yield from parcel.rejected(None)

    def _account(self, end: protocol.Record, before: tuple[int, int]) -> None:
        spent, met = end.get("cost_usd"), end.get("met")
        if not isinstance(spent, int | float) or not (isinstance(met, list) and [type(n) for n in met] == [int, int]):
            raise self._connection.strange("an end without its numbers")
        self._spent += spent
        self._meetings.add(met[0] - before[0], met[1] - before[1])


class _UploadChunk:
    """Some rows, until all their outcomes have come."""

    def __init__(
        self,
        connection: Connection,
        body: bytes,
        params: Mapping[str, Any],
        rows: Sequence[TicketDraft | Rejected],
        met: tuple[int, int],
    ) -> None:
        self._connection = connection
        headers = {"content-type": protocol.PARCEL, "idempotency-key": ids.new_id()}
        self._options = {"content": body, "params": params, "headers": headers}
        self._stream: Stream | None = None
        self._rejected = deque(row for row in rows if isinstance(row, Rejected))
        self.waiting = {row.row: row for row in rows if isinstance(row, TicketDraft)}
        self.number = len(self.waiting)
        self.met = met

    def try_to_send(self) -> None:
        """Send it, if there is something to send; if that fails, it is sent when its turn comes."""
        if self.number:
            try:
                self._stream = self._connection.stream(PATH, self._options)
            except ConnectionLostError:
                self._stream = None

    def stream(self) -> Stream:
        """Return the answer, for which it is sent if it is not on its way."""
        stream, self._stream = self._stream, None
        return stream or self._connection.stream(PATH, self._options)

    def rejected(self, before: int | None) -> Iterator[Outcome[Any]]:
        """Yield the outcomes of rows that were never sent: those before a row, or all that are left."""
        while self._rejected and (before is None or self._rejected[0].row < before):
            row = self._rejected.popleft()
            yield Outcome(row.row, Action.REJECTED, None, row.error, row)

    def leave(self) -> None:
        """Leave the server, which stops it."""
        if self._stream is not None:
            self._stream.close()
