"""Sends deliveries of concurrent callers from one thread, so that those to one file are one write."""

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

# Seconds without a delivery after which the destinations are closed, with their connections.
IDLE_SECONDS = 10.0


class GroupResult(NamedTuple):
    """How one delivery ended; without an outcome it was parked, for a reason that may be an error."""

    delivery_id: str
    destination: Destination | None
    outcome: Outcome[Receipt] | None
    parked_because: TriageError | None = None


# Gets the result of a delivery in the thread that sends, and must not raise.
HandOver = Callable[[GroupResult | Exception], None]


class _Submitted(NamedTuple):
    to_send: Sequence[OutgoingDelivery]
    hand_over: HandOver


class GroupDispatcher:
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
        self._thread = QueueThread[_Submitted]("dispatching", self._run)
        self._submitted: deque[_Submitted | None] = deque()  # what was taken from the queue and is in no other list
        self._hand_overs: dict[str, HandOver] = {}
        self._dispatcher: Dispatcher | None = None
        self._is_stopped = False

    def begin(self) -> None:
        """Begin the thread, and with it the heartbeat, unless it has begun or ended. Raises `ExhaustedError`."""
        self._thread.begin()

    def send(self, to_send: Sequence[OutgoingDelivery], hand_over: HandOver) -> None:
        """Have deliveries attempted without waiting; after the end, all are parked.

        `hand_over` gets the result of each; what a destination raises, each gets that has no result yet.
        """
        if self._thread.put(_Submitted(to_send, hand_over)):
            return
        for outgoing in to_send:
            hand_over(GroupResult(outgoing.delivery.delivery_id, None, None))

    def stop(self) -> None:
        """Start no more attempts: what waits is parked."""
        self._is_stopped = True

    def close(self) -> None:
        """End the thread, after what is being attempted."""
        self.stop()
        self._thread.close()

    def _run(self) -> None:
        while self._hand_overs or not self._thread.has_ended:
            try:
                self._take()
                if self._dispatcher is not None:
                    self._collect(self._dispatcher)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                self._await_submitted()
                while self._hand_overs:
                    _, hand_over = self._hand_overs.popitem()
                    hand_over(error)
                self._close_dispatcher()
        self._close_dispatcher()

    def _take(self) -> None:
        """Take what callers have submitted, and wait for it if nothing is being sent."""
        self._gather()
        to_send = self._await_submitted()
        if not self._hand_overs:
            self._close_dispatcher()
            self._heartbeat()
        try:
            off = self._off() if to_send else frozenset[str]()
        except TriageError as error:  # it concerns nothing that is being sent
            for outgoing in to_send:
                self._hand_over(GroupResult(outgoing.delivery.delivery_id, None, None, error))
            return
        for outgoing in to_send:
            if (name := outgoing.delivery.destination) in off:
                refused = Outcome[Receipt](None, Action.FAILED, None, switched_off(name), outgoing)
                self._hand_over(GroupResult(outgoing.delivery.delivery_id, None, refused))
            else:
                if self._dispatcher is None:
                    self._dispatcher = self._open_dispatcher()
                self._dispatcher.put([outgoing])

    def _gather(self) -> None:
        with suppress(queue.Empty):
            self._submitted.append(self._thread.queue.get(block=not self._hand_overs, timeout=IDLE_SECONDS))
            while True:
                self._submitted.append(self._thread.queue.get_nowait())

    def _await_submitted(self) -> list[OutgoingDelivery]:
        """Note who waits for what was submitted, and return it."""
        submitted = [each for each in self._submitted if each]
        self._hand_overs |= {o.delivery.delivery_id: each.hand_over for each in submitted for o in each.to_send}
        self._submitted.clear()
        return [outgoing for each in submitted for outgoing in each.to_send]

    def _collect(self, dispatcher: Dispatcher) -> None:
        self._heartbeat()
        if self._is_stopped:
            dispatcher.stop()
        has_parked = False
        for collected in dispatcher.collect():
            for outcome in collected.outcomes:
                self._hand_over(GroupResult(outcome.outgoing.delivery.delivery_id, collected.destination, outcome))
            for parked in collected.parked:
                has_parked = True
                self._hand_over(
                    GroupResult(parked.delivery.delivery_id, collected.destination, None, collected.parked_because)
                )
        if has_parked and not dispatcher.open:  # a destination that could not be opened is opened anew next time
            self._close_dispatcher()

    def _hand_over(self, result: GroupResult) -> None:
        self._hand_overs.pop(result.delivery_id)(result)

    def _close_dispatcher(self) -> None:
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close()
