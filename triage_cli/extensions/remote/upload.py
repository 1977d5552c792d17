"""Uploads a long input to the remote in chunks: up to two in flight; one whose response is lost is sent again."""

import time
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from triage_cli import domain as dm
from triage_cli.extensions.remote.http_connection import (
    RETRY_DELAYS,
    UNKNOWN_TO_REMOTE,
    UPGRADE,
    Connection,
    ConnectionLostError,
    ResponseStream,
    StreamAbortedError,
)
from triage_cli.ports import wire_format
from triage_cli.runtime import OccurrenceCounter

T = TypeVar("T")

# Rows of the first uploaded chunk, and at most: a server that answers a chunk within QUICK seconds gets twice as many
# next, so that what each request costs is seldom paid; a slow one, as with a language model, has little to repeat.
ROWS, MOST_ROWS = 500, 4_000
QUICK = 5.0
# The number of chunks in flight.
AHEAD = 2
# Seconds for which uploaded chunks in flight are waited for after a stop.
GRACE = 2.0
PATH = "/tickets/batch"


class UploadPlan(NamedTuple, Generic[T]):
    """The options of an upload: query parameters, the type of its outcomes, and its limits in USD and seconds.

    `import_id` is what all its requests belong to.
    """

    params: Mapping[str, Any]
    kind: Hashable
    import_id: str
    max_cost: float | None = None
    deadline: float | None = None


class Upload(Generic[T]):
    """One upload of drafts to the remote; it keeps only the chunks in flight, and the next one, in memory."""

    def __init__(self, connection: Connection, plan: UploadPlan[T]) -> None:
        self._connection = connection
        self._plan = plan
        self._spent = 0.0
        self._began = time.monotonic()
        self._met: Sequence[int] = (0, 0)  # the counts of the guard against other tickets
        self._rows = 0  # of the chunks that were sent
        self._chunk_rows = ROWS
        self._most_in_flight = AHEAD if plan.max_cost is None else 1
        self._in_flight: deque[_UploadChunk] = deque()
        self._packed: deque[_UploadChunk] = deque()  # at most one, which is ready to be sent

    def send(self, drafts: Iterable[dm.TicketDraft | dm.Rejected]) -> Iterator[dm.Outcome[T]]:
        """Upload drafts and yield their outcomes, chunk after chunk.

        A chunk is sent once the remote has judged the one before it: so other tickets under known ids end the upload
        with nothing behind them on its way. With a cost limit, one chunk is in flight at a time, since each is uploaded
        with what the earlier ones have spent. The server recognises a repeated chunk by its key, and continues with
        what its earlier tries have spent.
        """
        with closing(OccurrenceCounter()) as seen:
            chunks = (self._packed_chunk(chunk, seen) for chunk in self._chunked(iter(drafts)))
            try:
                while True:
                    self._pack_next(chunks)
                    self._send_packed()
                    if not self._in_flight:
                        return
                    if self._most_in_flight > 1:  # while the remote judges
                        self._pack_next(chunks)
                    yield from self._received_outcomes(self._in_flight[0])
                    if self._in_flight.popleft().seconds() < QUICK:
                        self._chunk_rows = min(2 * self._chunk_rows, MOST_ROWS)
            except StreamAbortedError:
                return
            finally:
                for upload_chunk in self._in_flight:
                    upload_chunk.leave()

    def _chunked(self, drafts: Iterator[dm.TicketDraft | dm.Rejected]) -> Iterator[list[dm.TicketDraft | dm.Rejected]]:
        while chunk := list(dm.first_of(islice(drafts, self._chunk_rows))):
            yield chunk

    def _pack_next(self, chunks: Iterator["_UploadChunk"]) -> None:
        if not self._packed and self._connection.stopped_at is None:
            self._packed.extend(islice(chunks, 1))

    def _packed_chunk(self, chunk: list[dm.TicketDraft | dm.Rejected], seen: OccurrenceCounter) -> "_UploadChunk":
        drafts = [upload_row for upload_row in chunk if isinstance(upload_row, dm.TicketDraft)]
        seen_before = seen.count([dm.dedup.identify(draft).identity for draft in drafts])
        draft_lines = [wire_format.draft_line(d, n) for d, n in zip(drafts, seen_before, strict=True)]
        return _UploadChunk(self._connection, chunk, draft_lines)

    def _send_packed(self) -> None:
        """Send the chunk that is packed, unless one in flight is not judged yet."""
        may_be_sent = len(self._in_flight) < self._most_in_flight and all(chunk.judged for chunk in self._in_flight)
        if not self._packed or not may_be_sent or self._connection.stopped_at is not None:
            return
        chunk_params = dict(self._plan.params)
        if self._plan.max_cost is not None:
            chunk_params |= {"max_cost": self._plan.max_cost, "spent_before": self._spent}
        if self._plan.deadline is not None:
            chunk_params["deadline"] = max(0.0, self._began + self._plan.deadline - time.monotonic())
        upload_chunk = self._packed.popleft()
        self._in_flight.append(upload_chunk)
        upload_chunk.send(wire_format.first_line(self._met, self._rows, self._plan.import_id), chunk_params)
        self._rows += upload_chunk.rows

    def _received_outcomes(self, upload_chunk: "_UploadChunk") -> Iterator[dm.Outcome[T]]:
        """Yield a chunk's outcomes; after it was uploaded again, those that had not arrived before."""
        first_loss: ConnectionLostError | None = None
        for wait in (*RETRY_DELAYS, None):
            try:
                yield from self._outcomes_of(upload_chunk)
            except ConnectionLostError as error:
                first_loss = first_loss or error  # it says more than the errors of the retries
                if wait is None or not self._connection.wait(wait):
                    raise first_loss from error
            else:
                return

    def _outcomes_of(self, upload_chunk: "_UploadChunk") -> Iterator[dm.Outcome[T]]:
        if upload_chunk.number:
            response_stream, read = upload_chunk.response_stream(), dm.reader(self._plan.kind)
            for wire_record in response_stream.records(GRACE):
                try:
                    if (judged_counts := wire_format.judged_counts(wire_record)) is not None:
                        self._go_on_behind(upload_chunk, judged_counts)
                        continue
                    outcome = read(wire_record.get("value"))
                except dm.ProtocolError as error:
                    raise self._connection.strange_response(error) from error
                if outcome.row is None:  # of an earlier run's delivery
                    yield outcome
                elif (draft := upload_chunk.unanswered.pop(outcome.row, None)) is not None:
                    yield from upload_chunk.rejected(outcome.row)
                    yield outcome._replace(item=draft)
            if upload_chunk.unanswered:
                raise self._connection.strange_response(f"{len(upload_chunk.unanswered)} rows without an outcome")
            self._account(response_stream.end)
        yield from upload_chunk.rejected(None)

    def _go_on_behind(self, upload_chunk: "_UploadChunk", judged_counts: Sequence[int]) -> None:
        """Send the next chunk, now that this one was judged; a repeated one counts as judged at first."""
        if not upload_chunk.judged:
            upload_chunk.judged, self._met = True, judged_counts
            self._send_packed()

    def _account(self, end: wire_format.Record) -> None:
        """Add what a chunk has spent, by the last line of its response."""
        spent = end.get("cost_usd")
        if not isinstance(spent, int | float):
            raise self._connection.strange_response("an end without its numbers")
        self._spent += spent


class _UploadChunk:
    """Some rows of an upload, until all their outcomes have arrived; `judged` once the remote's guard has passed it."""

    def __init__(
        self, connection: Connection, rows: Sequence[dm.TicketDraft | dm.Rejected], lines: Sequence[str]
    ) -> None:
        self._connection = connection
        self._draft_lines = lines
        self._request_options: dict[str, Any] = {}
        self._response_stream: ResponseStream | None = None
        self._rejected = deque(upload_row for upload_row in rows if isinstance(upload_row, dm.Rejected))
        self.unanswered = {upload_row.row: upload_row for upload_row in rows if isinstance(upload_row, dm.TicketDraft)}
        self.rows = len(rows)
        self.number = len(self.unanswered)
        self.judged = not self.number
        self._sent_at = 0.0

    def seconds(self) -> float:
        """Return how long ago the chunk was sent."""
        return time.monotonic() - self._sent_at

    def send(self, first_line: str, params: Mapping[str, Any]) -> None:
        """Upload the chunk, unless it is empty; if that fails, `response_stream` uploads it again."""
        body = dm.writable_text("\n".join((first_line, *self._draft_lines)) + "\n").encode()
        self._draft_lines, self._sent_at = (), time.monotonic()
        upload_headers = {"content-type": wire_format.DRAFTS_MEDIA_TYPE, "idempotency-key": dm.ids.new_id()}
        self._request_options = {"content": body, "params": params, "headers": upload_headers}
        if self.number:
            with suppress(ConnectionLostError):
                self._response_stream = self._stream()

    def response_stream(self) -> ResponseStream:
        """Return the response to the chunk, which is uploaded if it is not in flight."""
        response_stream, self._response_stream = self._response_stream, None
        return response_stream or self._stream()

    def _stream(self) -> ResponseStream:
        try:
            return self._connection.stream(PATH, self._request_options)
        except dm.MediaTypeError as error:
            raise dm.UsageError(f"{UNKNOWN_TO_REMOTE} what this one uploads", hint=UPGRADE) from error

    def rejected(self, before: int | None) -> Iterator[dm.Outcome[Any]]:
        """Yield the outcomes of rejected rows, which are not uploaded: those before a row, or all that are left."""
        while self._rejected and (before is None or self._rejected[0].row < before):
            upload_row = self._rejected.popleft()
            yield dm.Outcome(upload_row.row, dm.Action.REJECTED, error=upload_row.error, item=upload_row)

    def leave(self) -> None:
        """Close the connection, which stops the server's work on the chunk."""
        if self._response_stream is not None:
            self._response_stream.close()
