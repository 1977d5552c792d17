"""The background work of a server: it classifies and routes tickets from webhooks, and sends what is due."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from triage_cli.api.server_log import error_log
from triage_cli.domain import ClassifyPlan, ItemError, Outcome, RoutePlan, Selection, TriageError
from triage_cli.service import TO_CLASSIFY, AdditionWatch, DestinationBreakers, LocalTriage, Services

BACKGROUND_ACTOR = "serve"
# Seconds between two checks for due deliveries; what became due since the last one may be in flight elsewhere.
LOOK = 1.0
PAUSE = 30.0  # seconds until the next check if another run holds the due deliveries
RETRY_AFTER_ERROR = 60.0  # seconds after which the tickets of webhooks are taken up again after an error


class BackgroundWorker:
    """The background work of a server; `steps` are those for new tickets of webhooks, by source.

    It has two threads, so that a slow destination delays no classification.
    """

    def __init__(self, services: Services, steps: Mapping[str, tuple[str, ...]]) -> None:
        self._circuits = services.routing_map.circuits or DestinationBreakers()
        self._services = services._replace(routing_map=services.routing_map._replace(circuits=self._circuits))
        self._webhook_steps = {source: chosen for source, chosen in steps.items() if chosen}
        self._addition_watch = AdditionWatch(services.store, self._services.routing_map)
        self._webhook_queue: deque[tuple[str, str]] = deque()
        self._classify_thread = _BackgroundThread("flowing", self._process_queue)
        self._send_thread = _BackgroundThread("sending", self._send_due)
        self._stopping = False
        self._running: dict[str, LocalTriage] = {}
        self._has_new_deliveries = False  # new deliveries were decided
        self._send_after = 0.0
        self._pick_up_at: float | None = 0.0

    def start(self) -> None:
        """Start the background threads; tickets that an earlier server left unfinished are taken up."""
        self._classify_thread.start()
        self._send_thread.start()

    def put(self, source: str, ticket_id: str) -> None:
        """Queue a new ticket of a webhook for the steps of its source."""
        if source in self._webhook_steps:
            self._webhook_queue.append((source, ticket_id))
            self._classify_thread.wake()

    def stop(self) -> None:
        """Take no new background work; what is in flight is completed, and the next server takes up the rest."""
        self._stopping = True
        for triage in tuple(self._running.values()):
            triage.stop()
        self._classify_thread.stop()
        self._send_thread.stop()

    def join(self) -> None:
        """Wait until both background threads have ended."""
        self._classify_thread.join()
        self._send_thread.join()

    def _use_cases(self, actor: str, command_line: str) -> LocalTriage:
        triage = LocalTriage(self._services, actor, command_line)
        self._running[threading.current_thread().name] = triage
        if self._stopping:
            triage.stop()
        return triage

    def _process_queue(self) -> None:
        if not self._webhook_steps:
            return
        try:
            self._queue_unfinished()
            self._process_webhook_tickets()
        except Exception:
            self._pick_up_at = time.monotonic() + RETRY_AFTER_ERROR  # finds the tickets that were taken from the queue
            raise

    def _queue_unfinished(self) -> None:
        """Queue the tickets of webhooks that are still to be classified or routed."""
        if self._pick_up_at is None or time.monotonic() < self._pick_up_at:
            return
        self._pick_up_at = None
        status_before_step = {"classify": "new", "route": "classified"}
        statuses = frozenset(status_before_step[step] for steps in self._webhook_steps.values() for step in steps)
        queued_ids = {ticket_id for _, ticket_id in self._webhook_queue}
        for ticket in self._services.store.find(Selection(statuses=statuses)):
            if ticket.source in self._webhook_steps and ticket.ticket_id not in queued_ids:
                self._webhook_queue.append((ticket.source, ticket.ticket_id))

    def _process_webhook_tickets(self) -> None:
        ids_by_source: dict[str, list[str]] = {}
        while self._webhook_queue:
            source, ticket_id = self._webhook_queue.popleft()
            ids_by_source.setdefault(source, []).append(ticket_id)
        for source, ticket_ids in ids_by_source.items():
            selection = Selection(ids=tuple(dict.fromkeys(ticket_ids)))
            actor, command_line = f"webhook:{source}", f"POST /webhooks/{source}"
            if "classify" in self._webhook_steps[source] and (new := self._among(selection, TO_CLASSIFY)):
                _drain_outcomes(self._use_cases(actor, command_line).classify(Selection(ids=new), ClassifyPlan()))
            if "route" in self._webhook_steps[source] and (ready := self._among(selection, frozenset({"classified"}))):
                _drain_outcomes(self._use_cases(actor, command_line).decide_routes(Selection(ids=ready)))
                self._has_new_deliveries = True
                self._send_thread.wake()

    def _among(self, selection: Selection, statuses: frozenset[str]) -> tuple[str, ...]:
        """Return the ids of those webhook tickets that have one of these statuses now."""
        return tuple(t.ticket_id for t in self._services.store.find(selection) if t.status in statuses)

    def _send_due(self) -> None:
        has_new_deliveries = self._has_new_deliveries
        if has_new_deliveries:  # else one that is decided at this moment would be overwritten
            self._has_new_deliveries = False
        has_new_deliveries |= self._addition_watch.finds()
        unavailable_destinations = {*self._circuits.paused(), *self._services.routing_map.offline}
        due_at = self._services.store.deliveries.next_due(but=tuple(unavailable_destinations))
        is_early = due_at is not None and (due_at > time.time() - LOOK or time.monotonic() < self._send_after)
        if not has_new_deliveries and (due_at is None or is_early):
            return
        try:  # with limit 0 no ticket is routed; only due deliveries are sent
            triage = self._use_cases(BACKGROUND_ACTOR, "serve")
            sent_count = _drain_outcomes(triage.route(Selection(limit=0), RoutePlan()))
        except Exception:
            self._send_after = time.monotonic() + PAUSE
            raise
        if sent_count:
            self._send_after = 0.0
        elif not is_early:
            self._send_after = time.monotonic() + PAUSE


class _BackgroundThread:
    """A thread that repeats its background work, even after an error, until it is stopped."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._woken = threading.Event()
        self._stopping = False
        self._background_thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._background_thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def join(self) -> None:
        if self._background_thread.is_alive():
            self._background_thread.join()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._work()
            except TriageError as error:
                error_log.warning("background: %s", error.sentence())
            except Exception:  # noqa: BLE001 - the thread lives as long as the server
                error_log.exception("background work failed")
            self._woken.wait(LOOK)
            self._woken.clear()


def _drain_outcomes(outcomes: Iterable[Outcome[Any]]) -> int:
    """Consume the outcomes of background work and return their number; an error of the configuration is logged once."""
    outcome_count, config_errors = 0, dict[str, None]()
    for outcome in outcomes:
        outcome_count += 1
        if outcome.error is not None and not isinstance(outcome.error, ItemError):
            config_errors[outcome.error.sentence()] = None
    for sentence in config_errors:
        error_log.warning("background: %s", sentence)
    return outcome_count
