"""The thread that sends the deliveries of all concurrent callers, so that those to one file are one write."""

import queue
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.errors import TriageError
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.ports.destinations import Destination
from triage_cli.runtime.queue_thread import QueueThread
from triage_cli.service.delivery.dispatcher import Dispatcher, switched_off

# Seconds without a submitted delivery after which the destinations are closed, with their connections.
IDLE_SECONDS = 10.0


class DispatchResult(NamedTuple):
    """How one delivery ended in the dispatch thread; without an outcome it was parked, perhaps because of an error."""

    delivery_id: str
    destination: Destination | None
    outcome: Outcome[Receipt] | None
    parked_because: TriageError | None = None


# Gets the result of a delivery in the dispatch thread, and must not raise.
HandOver = Callable[[DispatchResult | Exception], None]


class _Submission(NamedTuple):
    to_send: Sequence[OutgoingDelivery]
    hand_over: HandOver


class DispatchThread:
    """Has one `Dispatcher` at a time, in a thread that begins with the first delivery or by `begin`.

    `open_dispatcher` makes one, and `off` returns the destinations that are switched off; if it raises a `TriageError`,
    what was to be sent is parked. `heartbeat` is called several times a minute, to renew the lease on the deliveries;
    it must not raise.
    """

    def __init__(
        self,
        open_dispatcher: Callable[[], Dispatcher],
        off: Callable[[], frozenset[str]],
        heartbeat: Callable[[], None],
    ) -> None:
        self._open_dispatcher = open_dispatcher
        self._off = off
        self._heartbeat = heartbeat
        self._thread = QueueThread[_Submission]("dispatching", self._dispatch)
        # Submissions that were taken from the queue of the thread and are in no other list.
        self._submissions: deque[_Submission | None] = deque()
        self._hand_overs: dict[str, HandOver] = {}
        self._dispatcher: Dispatcher | None = None
        self._is_stopped = False

    def begin(self) -> None:
        """Begin the dispatch thread and its heartbeat, unless it has begun or ended. Raises `ExhaustedError`."""
        self._thread.begin()

    def send(self, to_send: Sequence[OutgoingDelivery], hand_over: HandOver) -> None:
        """Have deliveries attempted without waiting; after the end, all are parked.

        `hand_over` gets the result of each; what a destination raises, each gets that has no result yet.
        """
        if self._thread.put(_Submission(to_send, hand_over)):
            return
        for outgoing in to_send:
            hand_over(DispatchResult(outgoing.delivery.delivery_id, None, None))

    def stop(self) -> None:
        """Start no more attempts: submitted deliveries that wait are parked."""
        self._is_stopped = True

    def close(self) -> None:
        """End the dispatch thread, after the deliveries that are being attempted."""
        self.stop()
        self._thread.close()

    def _dispatch(self) -> None:
        while self._hand_overs or not self._thread.has_ended:
            try:
                self._take_submissions()
                if self._dispatcher is not None:
                    self._collect_results(self._dispatcher)
            except Exception as error:  # noqa: BLE001 - it belongs to the callers who wait
                self._await_results()
                while self._hand_overs:
                    _, hand_over = self._hand_overs.popitem()
                    hand_over(error)
                self._close_dispatcher()
        self._close_dispatcher()

    def _take_submissions(self) -> None:
        """Take the deliveries that callers have submitted; wait for some if none is being sent."""
        self._gather_submissions()
        to_send = self._await_results()
        if not self._hand_overs:
            self._close_dispatcher()
            self._heartbeat()
        try:
            off = self._off() if to_send else frozenset[str]()
        except TriageError as error:  # it concerns no delivery that is being sent
            for outgoing in to_send:
                self._hand_over(DispatchResult(outgoing.delivery.delivery_id, None, None, error))
            return
        for outgoing in to_send:
            if (name := outgoing.delivery.destination) in off:
                refused = Outcome[Receipt](None, Action.FAILED, None, switched_off(name), outgoing)
                self._hand_over(DispatchResult(outgoing.delivery.delivery_id, None, refused))
            else:
                if self._dispatcher is None:
                    self._dispatcher = self._open_dispatcher()
                self._dispatcher.put([outgoing])

    def _gather_submissions(self) -> None:
        with suppress(queue.Empty):
            self._submissions.append(self._thread.queue.get(block=not self._hand_overs, timeout=IDLE_SECONDS))
            while True:
                self._submissions.append(self._thread.queue.get_nowait())

    def _await_results(self) -> list[OutgoingDelivery]:
        """Note to whom the results of submitted deliveries are handed over, and return the deliveries."""
        submissions = [each for each in self._submissions if each]
        self._hand_overs |= {o.delivery.delivery_id: each.hand_over for each in submissions for o in each.to_send}
        self._submissions.clear()
        return [outgoing for each in submissions for outgoing in each.to_send]

    def _collect_results(self, dispatcher: Dispatcher) -> None:
        self._heartbeat()
        if self._is_stopped:
            dispatcher.stop()
        has_parked = False
        for queue_results in dispatcher.collect():
            for outcome in queue_results.outcomes:
                self._hand_over(
                    DispatchResult(outcome.outgoing.delivery.delivery_id, queue_results.destination, outcome)
                )
            for parked in queue_results.parked:
                has_parked = True
                self._hand_over(
                    DispatchResult(
                        parked.delivery.delivery_id, queue_results.destination, None, queue_results.parked_because
                    )
                )
        if has_parked and not dispatcher.open:  # next time, a destination that could not be opened is opened anew
            self._close_dispatcher()

    def _hand_over(self, dispatched: DispatchResult) -> None:
        self._hand_overs.pop(dispatched.delivery_id)(dispatched)

    def _close_dispatcher(self) -> None:
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close()
