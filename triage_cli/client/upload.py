"""Uploads a long input in chunks: two are in flight at a time, and a chunk whose response is lost is sent again."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Generic, NamedTuple, TypeVar

from triage_cli.client import wire_errors, wire_format
from triage_cli.client.http import RETRY_DELAYS, Connection, ConnectionLostError, Stream, StreamAbortedError
from triage_cli.domain import dedup, ids
from triage_cli.domain.chunks import bounded
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.runtime.occurrence_counter import OccurrenceCounter

T = TypeVar("T")

# Rows of one chunk, and the number of chunks in flight.
ROWS = 500
AHEAD = 2
# Seconds for which chunks in flight are waited for after a stop.
GRACE = 2.0
PATH = "/tickets/batch"


class UploadPlan(NamedTuple, Generic[T]):
    """The options of an upload: query parameters, the conversion of outcomes, and its limits in USD and seconds."""

    params: Mapping[str, Any]
    value: Callable[[wire_format.Record], T]
    max_cost: float | None = None
    deadline: float | None = None


class Upload(Generic[T]):
    """One upload; it keeps only the chunks in flight in memory."""

    def __init__(self, connection: Connection, plan: UploadPlan[T]) -> None:
        self._connection = connection
        self._plan = plan
        self._spent = 0.0
        self._began = time.monotonic()
        self._rewrite_guard = dedup.RewriteGuard()

    def send(self, drafts: Iterable[TicketDraft | Rejected]) -> Iterator[Outcome[T]]:
        """Send drafts and yield their outcomes, chunk after chunk.

        With a cost limit, one chunk is in flight at a time, since each is sent with what the earlier ones have spent.
        The server recognises a repeated chunk by its key, and continues with what its earlier tries have spent.
        """
        in_flight: deque[_UploadChunk] = deque()
        ahead = AHEAD if self._plan.max_cost is None else 1
        with closing(OccurrenceCounter()) as seen:
            chunks = bounded(drafts, ROWS)
            try:
                while True:
                    while (
                        len(in_flight) < ahead and self._connection.stopped_at is None and (chunk := next(chunks, None))
                    ):
                        in_flight.append(self._packed(chunk, seen))
                        in_flight[-1].try_to_send()
                    if not in_flight:
                        return
                    yield from self._received(in_flight[0])
                    in_flight.popleft()
            except StreamAbortedError:
                return
            finally:
                for upload_chunk in in_flight:
                    upload_chunk.leave()

    def _packed(self, chunk: list[TicketDraft | Rejected], seen: OccurrenceCounter) -> "_UploadChunk":
        drafts = [upload_row for upload_row in chunk if isinstance(upload_row, TicketDraft)]
        before = seen.count([dedup.identify(draft).identity for draft in drafts])
        met = (self._rewrite_guard.met, self._rewrite_guard.rewritten)
        lines = [compact({"met": met}), *(wire_format.draft_line(d, n) for d, n in zip(drafts, before, strict=True))]
        params = dict(self._plan.params)
        if self._plan.max_cost is not None:
            params |= {"max_cost": self._plan.max_cost, "spent_before": self._spent}
        if self._plan.deadline is not None:
            params["deadline"] = max(0.0, self._began + self._plan.deadline - time.monotonic())
        # Lone surrogates, which UTF-8 cannot encode, are sent as JSON escapes.
        body = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        return _UploadChunk(self._connection, body, params, chunk, met)

    def _received(self, upload_chunk: "_UploadChunk") -> Iterator[Outcome[T]]:
        """Yield a chunk's outcomes; after a repetition, those that had not arrived before."""
        first: ConnectionLostError | None = None
        for wait in (*RETRY_DELAYS, None):
            try:
                yield from self._outcomes_of(upload_chunk)
            except ConnectionLostError as error:
                first = first or error  # it says more than the errors of the retries
                if wait is None or not self._connection.wait(wait):
                    raise first from error
            else:
                return

    def _outcomes_of(self, upload_chunk: "_UploadChunk") -> Iterator[Outcome[T]]:
        if upload_chunk.number:
            stream = upload_chunk.stream()
            for record in stream.records(GRACE):
                try:
                    outcome = wire_format.outcome_of(record, self._plan.value, rowless="do" in self._plan.params)
                except wire_errors.ProtocolError as error:
                    raise self._connection.strange(error) from error
                if outcome.row is None:  # of an earlier run's delivery
                    yield outcome
                    continue
                draft = upload_chunk.unanswered.pop(outcome.row, None)
                if draft is not None:
                    yield from upload_chunk.rejected(outcome.row)
                    yield outcome._replace(item=draft)
            if upload_chunk.unanswered:
                raise self._connection.strange(f"{len(upload_chunk.unanswered)} rows without an outcome")
            self._account(stream.end, upload_chunk.met)
        yield from upload_chunk.rejected(None)

    def _account(self, end: wire_format.Record, before: tuple[int, int]) -> None:
        spent, met = end.get("cost_usd"), end.get("met")
        if not isinstance(spent, int | float) or not (isinstance(met, list) and [type(n) for n in met] == [int, int]):
            raise self._connection.strange("an end without its numbers")
        self._spent += spent
        self._rewrite_guard.add(met[0] - before[0], met[1] - before[1])


class _UploadChunk:
    """Some rows, until all their outcomes have arrived."""

    def __init__(
        self,
        connection: Connection,
        body: bytes,
        params: Mapping[str, Any],
        rows: Sequence[TicketDraft | Rejected],
        met: tuple[int, int],
    ) -> None:
        self._connection = connection
        headers = {"content-type": wire_format.PARCEL, "idempotency-key": ids.new_id()}
        self._options = {"content": body, "params": params, "headers": headers}
        self._stream: Stream | None = None
        self._rejected = deque(upload_row for upload_row in rows if isinstance(upload_row, Rejected))
        self.unanswered = {upload_row.row: upload_row for upload_row in rows if isinstance(upload_row, TicketDraft)}
        self.number = len(self.unanswered)
        self.met = met

    def try_to_send(self) -> None:
        """Send the chunk, unless it is empty; if that fails, `stream` sends it again."""
        if self.number:
            with suppress(ConnectionLostError):
                self._stream = self._connection.stream(PATH, self._options)

    def stream(self) -> Stream:
        """Return the response; sends the chunk if it is not in flight."""
        stream, self._stream = self._stream, None
        return stream or self._connection.stream(PATH, self._options)

    def rejected(self, before: int | None) -> Iterator[Outcome[Any]]:
        """Yield the outcomes of rows that were not sent: those before a row, or all that are left."""
        while self._rejected and (before is None or self._rejected[0].row < before):
            upload_row = self._rejected.popleft()
            yield Outcome(upload_row.row, Action.REJECTED, None, upload_row.error, upload_row)

    def leave(self) -> None:
        """Close the connection, which stops the server."""
        if self._stream is not None:
            self._stream.close()
