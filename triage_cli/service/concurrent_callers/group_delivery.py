"""The deliveries of concurrent callers: attempted by the dispatch thread, their results saved by group commit."""

import logging
import queue
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.deliveries import Failure, OutgoingDelivery, Receipt, Routed
from triage_cli.domain.errors import TriageError
from triage_cli.domain.outcomes import Outcome
from triage_cli.ports.destinations import Destination
from triage_cli.service.concurrent_callers.dispatch_thread import DispatchResult, DispatchThread
from triage_cli.service.concurrent_callers.group_commit import Prepared
from triage_cli.service.concurrent_callers.held_deliveries import HeldDeliveries
from triage_cli.service.concurrent_callers.shared_run import SharedRun
from triage_cli.service.delivery.attempt_recorder import AttemptRecorder, AttemptResult
from triage_cli.service.delivery.dispatcher import Dispatcher
from triage_cli.service.delivery.retry_policy import RetryPolicy
from triage_cli.service.delivery.ticket_failures import UnfinishedTicket, with_offline_error
from triage_cli.service.run_context import RunContext
from triage_cli.service.services import Services

# Seconds that the end waits for callers whose deliveries were attempted, until they have saved the results.
CLOSE_SECONDS = 20.0

errors = logging.getLogger("triage.errors")


class _GroupAttempt(NamedTuple):
    """How the attempt at a caller's delivery went; `context` has the caller's name."""

    context: RunContext
    delivery_id: str
    outcome: Outcome[Receipt]
    destination: Destination | None


# What comes of each delivery of a caller: its saved result, that it was parked, or why there is no result.
Ended = queue.SimpleQueue[AttemptResult | DispatchResult | Exception]


class GroupDeliveries:
    """The deliveries of all callers; the shared run holds them while they are being sent."""

    def __init__(self, services: Services, shared_run: SharedRun) -> None:
        self._routing_map = services.routing_map
        self._store = services.store
        self._shared_run = shared_run
        self._held_deliveries = HeldDeliveries(services.store, shared_run)
        self._dispatch_thread = DispatchThread(self._open_dispatcher, services.store.switched_off, self._heartbeat)
        self._delivering_callers = 0  # that wait for their deliveries, or for the saved results
        self._all_delivered = threading.Condition()

    def send(self, context: RunContext, to_send: Sequence[OutgoingDelivery]) -> Ended:
        """Have a caller's deliveries attempted and the results saved, without waiting for them."""
        ended = Ended()

        def save_attempt(dispatched: DispatchResult | Exception) -> None:
            try:
                if isinstance(dispatched, DispatchResult) and dispatched.outcome is not None:
                    attempt = _GroupAttempt(context, dispatched.delivery_id, dispatched.outcome, dispatched.destination)
                    self._shared_run.committer.put(self._prepare_attempts, attempt, ended.put)
                else:
                    ended.put(dispatched)
            except Exception as error:  # noqa: BLE001 - it belongs to the caller who waits, such as a lack of threads
                ended.put(error)

        if to_send:
            self._dispatch_thread.send(to_send, save_attempt)
        return ended

    def outcome(
        self, context: RunContext, decided: Outcome[Routed], to_send: Sequence[OutgoingDelivery], ended: Ended
    ) -> Outcome[Routed]:
        """Wait for the results of a caller's deliveries, and return the outcome of the ticket with them.

        A delivery whose result cannot be saved is freed, and the outcome has the error: the decision stays stored.
        """
        unfinished = UnfinishedTicket(decided, len(to_send))
        unsaved_deliveries = {outgoing.delivery.delivery_id: True for outgoing in to_send}
        with self._unsaved_freed(unsaved_deliveries):
            for _ in to_send:
                result = ended.get()
                if isinstance(result, AttemptResult):
                    unfinished.add_result(result, result.failures)
                    unsaved_deliveries.pop(result.delivery_id, None)
                    continue
                try:
                    parked = self._parked(context, result)
                except TriageError as error:
                    unfinished.add_result(None, [Failure("", error)])
                    if isinstance(result, DispatchResult):
                        unsaved_deliveries[result.delivery_id] = False
                else:
                    because = parked.parked_because
                    unfinished.add_result(None, [Failure(parked.delivery_id, because)] if because else [])
                    del unsaved_deliveries[parked.delivery_id]
        return with_offline_error(unfinished.outcome, self._routing_map.offline)

    @contextmanager
    def freed_on_error(self, to_send: Collection[OutgoingDelivery]) -> Iterator[None]:
        """After an error before a caller's deliveries are sent, free them: the decision may be stored all the same."""
        try:
            yield
        except Exception:
            self._held_deliveries.add({outgoing.delivery.delivery_id: False for outgoing in to_send})
            self._dispatch_thread.begin()  # its heartbeat frees what cannot be freed now
            raise

    def stop(self) -> None:
        """Begin no more attempts at deliveries of callers."""
        self._dispatch_thread.stop()

    def close(self) -> None:
        """Complete what is being attempted, and wait until callers have saved their results."""
        self._dispatch_thread.close()
        with self._all_delivered:
            self._all_delivered.wait_for(lambda: not self._delivering_callers, CLOSE_SECONDS)

    # -- steps

    def _parked(self, context: RunContext, dispatched: DispatchResult | Exception) -> DispatchResult:
        """Free a caller's delivery that was parked, and return it. Raises the error of one without a result."""
        if isinstance(dispatched, Exception):
            raise dispatched
        because = dispatched.parked_because
        self._store.let_go([dispatched.delivery_id], context.lease, because.sentence() if because else None)
        return dispatched

    def _prepare_attempts(self, group_attempts: Sequence[_GroupAttempt]) -> list[Prepared[AttemptResult] | Exception]:
        """Return the changes that save attempts. A ticket that has changed meanwhile is saved again, by itself."""
        shared_context = self._shared_run.context()
        by_itself = RunContext(self._store, shared_context.run, shared_context.stop)
        attempt_recorder = AttemptRecorder(by_itself, {each.delivery_id: each.context for each in group_attempts})
        policies = {each.delivery_id: RetryPolicy.of(each.destination) for each in group_attempts}
        changes = attempt_recorder.changes([each.outcome for each in group_attempts], policies)
        saves_by_delivery = {result.delivery_id: (change, result) for change, result in changes}
        return [_attempt_save(attempt_recorder, each, *saves_by_delivery[each.delivery_id]) for each in group_attempts]

    def _heartbeat(self) -> None:
        """Renew the lease on the deliveries, and free those held by nobody. What fails is tried again later."""
        try:
            self._shared_run.context().heartbeat()
        except TriageError as error:
            errors.warning("the lease on deliveries was not renewed: %s", error.sentence())
        self._held_deliveries.free()

    @contextmanager
    def _unsaved_freed(self, unsaved_deliveries: Mapping[str, bool]) -> Iterator[None]:
        """Count a caller as delivering; at its end, free the deliveries whose results are not saved by then."""
        with self._all_delivered:
            self._delivering_callers += 1
        try:
            yield
        finally:
            try:
                self._held_deliveries.add(unsaved_deliveries)
            finally:
                with self._all_delivered:
                    self._delivering_callers -= 1
                    self._all_delivered.notify_all()

    def _open_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self._routing_map.destination,
            breakers=self._routing_map.circuits,
            at_once=True,
            check=self._store.check_room,
        )


def _attempt_save(
    attempt_recorder: AttemptRecorder, group_attempt: _GroupAttempt, change: Change, result: AttemptResult
) -> Prepared[AttemptResult]:
    def finish(conflicts: Sequence[Conflict | None]) -> AttemptResult:
        if conflicts[0] is None:
            return result
        (saved_again,) = attempt_recorder.record([group_attempt.outcome], RetryPolicy.of(group_attempt.destination))
        return saved_again

    return Prepared([change], finish)
