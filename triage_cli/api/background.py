"""The background work of a server: it classifies and routes tickets from webhooks, and sends what is due."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from triage_cli.api.server_log import error_log
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.deliveries import RoutePlan
from triage_cli.domain.errors import ItemError, TriageError
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.tickets import Selection
from triage_cli.service.delivery.destination_breakers import DestinationBreakers
from triage_cli.service.local_triage import LocalTriage
from triage_cli.service.services import Services
from triage_cli.service.ticket_claimer import TO_CLASSIFY

ACTOR = "serve"
# Seconds between two checks for due deliveries; what became due since the last one may be in flight elsewhere.
LOOK = 1.0
# Seconds until the next check if another run holds the due deliveries.
PAUSE = 30.0
# Seconds after which tickets are taken up again after an error.
AGAIN = 60.0


class BackgroundWorker:
    """Two threads, so that a slow destination delays no classification; `steps` for new tickets, by source."""

    def __init__(self, services: Services, steps: Mapping[str, tuple[str, ...]]) -> None:
        self._circuits = services.routing_map.circuits or DestinationBreakers()
        self._services = services._replace(routing_map=services.routing_map._replace(circuits=self._circuits))
        self._steps = {source: chosen for source, chosen in steps.items() if chosen}
        self._queue: deque[tuple[str, str]] = deque()
        self._process_loop = _Loop("flowing", self._process_queue)
        self._send_loop = _Loop("sending", self._send_due)
        self._stopping = False
        self._at_work: dict[str, LocalTriage] = {}
        self._has_new_deliveries = False  # new deliveries were decided
        self._send_after = 0.0
        self._pick_up_at: float | None = 0.0

    def start(self) -> None:
        """Start the threads; tickets that an earlier server left unfinished are taken up."""
        self._process_loop.start()
        self._send_loop.start()

    def put(self, source: str, ticket_id: str) -> None:
        """Queue a new ticket for the steps of its source."""
        if source in self._steps:
            self._queue.append((source, ticket_id))
            self._process_loop.wake()

    def stop(self) -> None:
        """Take no new work; what is in flight is completed, and the next server takes up the rest."""
        self._stopping = True
        for triage in tuple(self._at_work.values()):
            triage.stop()
        self._process_loop.stop()
        self._send_loop.stop()

    def join(self) -> None:
        """Wait until both threads have ended."""
        self._process_loop.join()
        self._send_loop.join()

    def _session(self, actor: str, command_line: str) -> LocalTriage:
        triage = self._at_work[threading.current_thread().name] = LocalTriage(self._services, actor, command_line)
        if self._stopping:
            triage.stop()
        return triage

    def _process_queue(self) -> None:
        if not self._steps:
            return
        try:
            self._pick_up()
            self._process()
        except Exception:
            self._pick_up_at = time.monotonic() + AGAIN  # finds the tickets that were taken from the queue
            raise

    def _pick_up(self) -> None:
        """Queue the tickets of webhooks that are still to be classified or routed."""
        if self._pick_up_at is None or time.monotonic() < self._pick_up_at:
            return
        self._pick_up_at = None
        status_before = {"classify": "new", "route": "classified"}
        statuses = frozenset(status_before[step] for steps in self._steps.values() for step in steps)
        known = {ticket_id for _, ticket_id in self._queue}
        for ticket in self._services.store.find(Selection(statuses=statuses)):
            if ticket.source in self._steps and ticket.ticket_id not in known:
                self._queue.append((ticket.source, ticket.ticket_id))

    def _process(self) -> None:
        by_source: dict[str, list[str]] = {}
        while self._queue:
            source, ticket_id = self._queue.popleft()
            by_source.setdefault(source, []).append(ticket_id)
        for source, ticket_ids in by_source.items():
            chosen = Selection(ids=tuple(dict.fromkeys(ticket_ids)))
            actor, command_line = f"webhook:{source}", f"POST /webhooks/{source}"
            if "classify" in self._steps[source] and (new := self._among(chosen, TO_CLASSIFY)):
                _drain(self._session(actor, command_line).classify(Selection(ids=new), ClassifyPlan()))
            if "route" in self._steps[source] and (ready := self._among(chosen, frozenset({"classified"}))):
                _drain(self._session(actor, command_line).decide_routes(Selection(ids=ready)))
                self._has_new_deliveries = True
                self._send_loop.wake()

    def _among(self, chosen: Selection, statuses: frozenset[str]) -> tuple[str, ...]:
        """Return the ids of the chosen tickets that have one of these statuses now."""
        return tuple(t.ticket_id for t in self._services.store.find(chosen) if t.status in statuses)

    def _send_due(self) -> None:
        has_new_deliveries = self._has_new_deliveries
        if has_new_deliveries:  # else one that is decided at this moment would be overwritten
            self._has_new_deliveries = False
        unavailable_destinations = {*self._circuits.paused(), *self._services.routing_map.offline}
        at = self._services.store.next_due(but=tuple(unavailable_destinations))
        early = at is not None and (at > time.time() - LOOK or time.monotonic() < self._send_after)
        if at is None or (early and not has_new_deliveries):
            return
        # With limit 0 no ticket is routed; only due deliveries are sent.
        try:
            sent = _drain(self._session(ACTOR, "serve").route(Selection(limit=0), RoutePlan()))
        except Exception:
            self._send_after = time.monotonic() + PAUSE
            raise
        if sent:
            self._send_after = 0.0
        elif not early:
            self._send_after = time.monotonic() + PAUSE


class _Loop:
    """A thread that repeats its work, even after an error, until it is stopped."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

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


def _drain(outcomes: Iterable[Outcome[Any]]) -> int:
    """Consume outcomes and return their number; each error of the configuration is logged once."""
    number, mistakes = 0, dict[str, None]()
    for outcome in outcomes:
        number += 1
        if outcome.error is not None and not isinstance(outcome.error, ItemError):
            mistakes[outcome.error.sentence()] = None
    for sentence in mistakes:
        error_log.warning("background: %s", sentence)
    return number
