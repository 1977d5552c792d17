"""Attempts the deliveries of concurrent callers, and saves how each went with what other callers save."""

import logging
import queue
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.deliveries import Failure, OutgoingDelivery, Receipt, Routed
from triage_cli.domain.errors import TriageError
from triage_cli.domain.outcomes import Outcome
from triage_cli.ports.destinations import Destination
from triage_cli.service.concurrent_callers.group_commit import GroupCommitter, Prepared
from triage_cli.service.concurrent_callers.group_dispatch import GroupDispatcher, GroupResult
from triage_cli.service.delivery.attempt_recorder import AttemptRecorder, AttemptResult
from triage_cli.service.delivery.dispatcher import Dispatcher
from triage_cli.service.delivery.retry_policy import RetryPolicy
from triage_cli.service.delivery.ticket_failures import UnfinishedTicket, with_offline_error
from triage_cli.service.run_context import RunContext
from triage_cli.service.services import Services

# Seconds that the end waits for requests whose deliveries were attempted, until they have saved the results.
CLOSE_SECONDS = 20.0

errors = logging.getLogger("triage.errors")


class _Attempted(NamedTuple):
    """How the attempt at a delivery went, and in whose name it was made."""

    context: RunContext
    delivery_id: str
    outcome: Outcome[Receipt]
    destination: Destination | None


# What comes of each delivery: its saved result, that it was parked, or why there is no result.
Ended = queue.SimpleQueue[AttemptResult | GroupResult | Exception]


class GroupDeliveries:
    """The deliveries of all callers. `shared` returns the run that holds them while they are being sent."""

    def __init__(self, services: Services, committer: GroupCommitter, shared: Callable[[], RunContext]) -> None:
        self._routing_map = services.routing_map
        self._store = services.store
        self._committer = committer
        self._shared = shared
        self._dispatcher = GroupDispatcher(self._open_dispatcher, services.store.switched_off, self._heartbeat)
        self._open_requests = 0  # requests that wait for deliveries or their results
        self._all_delivered = threading.Condition()
        self._lock = threading.Lock()
        # Deliveries that the run holds though nobody sends them, and whether they were attempted.
        self._to_free: dict[str, bool] = {}

    def send(self, context: RunContext, to_send: Sequence[OutgoingDelivery]) -> Ended:
        """Have the deliveries of a saved decision attempted and the results saved, without waiting for them."""
        ended = Ended()

        def attempted(result: GroupResult | Exception) -> None:
            try:
                if isinstance(result, GroupResult) and result.outcome is not None:
                    attempt = _Attempted(context, result.delivery_id, result.outcome, result.destination)
                    self._committer.put(self._prepare, attempt, ended.put)
                else:
                    ended.put(result)
            except Exception as error:  # noqa: BLE001 - it belongs to the one who waits, such as a lack of threads
                ended.put(error)

        if to_send:
            self._dispatcher.send(to_send, attempted)
        return ended

    def outcome(
        self, context: RunContext, outcome: Outcome[Routed], to_send: Sequence[OutgoingDelivery], ended: Ended
    ) -> Outcome[Routed]:
        """Wait for the results of what was sent, and return the outcome of the ticket with them.

        A delivery whose result cannot be saved is freed, and the outcome has the error: the decision stays stored.
        """
        unfinished = UnfinishedTicket(outcome, len(to_send))
        unsaved = {outgoing.delivery.delivery_id: True for outgoing in to_send}
        with self._freed_at_end(unsaved):
            for _ in to_send:
                result = ended.get()
                if isinstance(result, AttemptResult):
                    unfinished.add_result(result, result.failures)
                    unsaved.pop(result.delivery_id, None)
                    continue
                try:
                    parked = self._parked(context, result)
                except TriageError as error:
                    unfinished.add_result(None, [Failure("", error)])
                    if isinstance(result, GroupResult):
                        unsaved[result.delivery_id] = False
                else:
                    because = parked.parked_because
                    unfinished.add_result(None, [Failure(parked.delivery_id, because)] if because else [])
                    del unsaved[parked.delivery_id]
        return with_offline_error(unfinished.outcome, self._routing_map.offline)

    @contextmanager
    def freed_on_error(self, to_send: Collection[OutgoingDelivery]) -> Iterator[None]:
        """After an error before deliveries are sent, free them: the decision may be stored all the same."""
        try:
            yield
        except Exception:
            with self._lock:
                self._to_free |= {outgoing.delivery.delivery_id: False for outgoing in to_send}
            self._free()
            self._dispatcher.begin()  # its heartbeat frees what cannot be freed now
            raise

    def stop(self) -> None:
        """Begin no more attempts."""
        self._dispatcher.stop()

    def close(self) -> None:
        """Complete what is being attempted."""
        self._dispatcher.close()
        with self._all_delivered:
            self._all_delivered.wait_for(lambda: not self._open_requests, CLOSE_SECONDS)

    # -- steps

    def _parked(self, context: RunContext, result: GroupResult | Exception) -> GroupResult:
        """Free a delivery that was parked, and return it. Raises the error of one without a result."""
        if isinstance(result, Exception):
            raise result
        because = result.parked_because
        self._store.let_go([result.delivery_id], context.lease, because.sentence() if because else None)
        return result

    def _prepare(self, attempted: Sequence[_Attempted]) -> list[Prepared[AttemptResult] | Exception]:
        """Return the changes that save results. A ticket that has changed meanwhile is saved again, by itself."""
        shared = self._shared()
        by_itself = RunContext(self._store, shared.run, shared.stop)
        recorder = AttemptRecorder(by_itself, {one.delivery_id: one.context for one in attempted})
        policies = {one.delivery_id: RetryPolicy.of(one.destination) for one in attempted}
        changes = recorder.changes([one.outcome for one in attempted], policies)
        by_delivery = {result.delivery_id: (change, result) for change, result in changes}
        return [_to_save(recorder, one, *by_delivery[one.delivery_id]) for one in attempted]

    def _heartbeat(self) -> None:
        """Renew the lease, and free what is to be freed. What fails is tried again, and ends no attempt."""
        try:
            self._shared().heartbeat()
        except TriageError as error:
            errors.warning("the lease on deliveries was not renewed: %s", error.sentence())
        self._free()

    @contextmanager
    def _freed_at_end(self, unsaved: Mapping[str, bool]) -> Iterator[None]:
        """Count a request as delivering; at its end, free the deliveries whose results are not saved by then."""
        with self._all_delivered:
            self._open_requests += 1
        try:
            yield
        finally:
            try:
                with self._lock:
                    self._to_free |= unsaved
                self._free()
            finally:
                with self._all_delivered:
                    self._open_requests -= 1
                    self._all_delivered.notify_all()

    def _free(self) -> None:
        """Free the deliveries that nobody sends; what cannot be freed now, the next heartbeat frees."""
        for attempted in (True, False):
            with self._lock:
                freed = [delivery_id for delivery_id, tried in self._to_free.items() if tried == attempted]
            if not freed:
                continue
            try:
                self._store.let_go(freed, self._shared().lease, attempted=attempted)
            except TriageError:
                return
            with self._lock:
                for delivery_id in freed:
                    self._to_free.pop(delivery_id, None)

    def _open_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self._routing_map.destination,
            breakers=self._routing_map.circuits,
            at_once=True,
            check=self._store.check_room,
        )


def _to_save(
    recorder: AttemptRecorder, attempted: _Attempted, change: Change, result: AttemptResult
) -> Prepared[AttemptResult]:
    def finish(conflicts: Sequence[Conflict | None]) -> AttemptResult:
        if conflicts[0] is None:
            return result
        (again,) = recorder.record([attempted.outcome], RetryPolicy.of(attempted.destination))
        return again

    return Prepared([change], finish)
