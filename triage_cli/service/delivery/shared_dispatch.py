"""Sends deliveries of concurrent callers from one thread, so that those to one file are one write."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.errors import TriageError
from triage_cli.domain.runs import Outcome
from triage_cli.ports.adapters import Destination
from triage_cli.service.delivery.dispatcher import Dispatcher

# Seconds without a delivery after which the destinations are closed, with their connections.
IDLE_SECONDS = 10.0


class SharedResult(NamedTuple):
    """How one delivery ended; without an outcome it was parked, for a reason that may be an error."""

    delivery_id: str
    destination: Destination | None
    outcome: Outcome[Receipt] | None
    parked_because: TriageError | None = None


class _Submitted(NamedTuple):
    to_send: Sequence[OutgoingDelivery]
    results: "queue.SimpleQueue[SharedResult | Exception]"


class SharedDispatcher:
    """Has one `Dispatcher` at a time, in a thread that begins with the first delivery.

    `open_dispatcher` makes one. `heartbeat` is called several times a minute, to renew the lease on the deliveries.
    """

    def __init__(self, open_dispatcher: Callable[[], Dispatcher], heartbeat: Callable[[], None]) -> None:
        self._open_dispatcher = open_dispatcher
        self._heartbeat = heartbeat
        self._submitted: queue.SimpleQueue[_Submitted | None] = queue.SimpleQueue()
        self._waiting: dict[str, queue.SimpleQueue[SharedResult | Exception]] = {}
        self._dispatcher: Dispatcher | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = self._closed = False

    def send(self, to_send: Sequence[OutgoingDelivery]) -> Iterator[SharedResult]:
        """Attempt deliveries, and yield each result as it comes; after the end, all are parked.

        Raises what a destination raises.
        """
        results: queue.SimpleQueue[SharedResult | Exception] = queue.SimpleQueue()
        with self._lock:
            if self._closed:
                for outgoing in to_send:
                    results.put(SharedResult(outgoing.delivery.delivery_id, None, None))
            else:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="dispatching", daemon=True)
                    self._thread.start()
                self._submitted.put(_Submitted(to_send, results))
        for _ in to_send:
            result = results.get()
            if isinstance(result, Exception):
                raise result
            yield result

    def stop(self) -> None:
        """Start no more attempts: what waits is parked."""
        self._stopping = True

    def close(self) -> None:
        """End the thread, after what is being attempted."""
        self.stop()
        with self._lock:
            self._closed = True
            self._submitted.put(None)  # the last: nothing is put after it
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        ending = False
        while not (ending and not self._waiting):
            try:
                ending = self._take() or ending
                if self._dispatcher is not None:
                    self._collect(self._dispatcher)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                for results in self._waiting.values():
                    results.put(error)
                self._waiting.clear()
                self._close_dispatcher()
        self._close_dispatcher()

    def _take(self) -> bool:
        """Take what callers have submitted, and wait for it if nothing is being sent; return whether to end."""
        try:
            submitted = self._submitted.get(block=not self._waiting, timeout=IDLE_SECONDS)
            while submitted is not None:
                self._waiting |= {o.delivery.delivery_id: submitted.results for o in submitted.to_send}
                if self._dispatcher is None:
                    self._dispatcher = self._open_dispatcher()
                self._dispatcher.put(submitted.to_send)
                submitted = self._submitted.get_nowait()
        except queue.Empty:
            if not self._waiting:
                self._close_dispatcher()
                self._heartbeat()
            return False
        return True

    def _collect(self, dispatcher: Dispatcher) -> None:
        self._heartbeat()
        if self._stopping:
            dispatcher.stop()
        has_parked = False
        for collected in dispatcher.collect():
            for outcome in collected.outcomes:
                if not isinstance(outcome.item, OutgoingDelivery):
                    raise TypeError(outcome)
                self._hand_over(SharedResult(outcome.item.delivery.delivery_id, collected.destination, outcome))
            for parked in collected.parked:
                has_parked = True
                self._hand_over(
                    SharedResult(parked.delivery.delivery_id, collected.destination, None, collected.parked_because)
                )
        if has_parked and not dispatcher.open:  # a destination that could not be opened is opened anew next time
            self._close_dispatcher()

    def _hand_over(self, result: SharedResult) -> None:
        self._waiting.pop(result.delivery_id).put(result)

    def _close_dispatcher(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.close()
            self._dispatcher = None
