"""The background work of a server: it classifies and routes tickets from webhooks, and sends what is due."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.deliveries import RoutePlan
from triage_cli.domain.errors import ItemError, TriageError
from triage_cli.domain.runs import Outcome
from triage_cli.domain.tickets import Selection
from triage_cli.service.claims import TO_CLASSIFY
from triage_cli.service.delivery.dispatcher import DestinationBreakers
from triage_cli.service.local_triage import LocalTriage
from triage_cli.service.services import Services

ACTOR = "serve"
# Between two looks at what is due, in seconds; what fell due within the last one may be on its way elsewhere.
LOOK = 1.0
# Where a look at due deliveries brought nothing, since others hold them.
PAUSE = 30.0
# What an outage left behind is taken up again after so many seconds.
AGAIN = 60.0

errors = logging.getLogger("triage.errors")


class Worker:
    """Two threads: no slow destination holds up the tickets. `steps` says by source what becomes of a new one."""

    def __init__(self, parts: Services, steps: Mapping[str, tuple[str, ...]]) -> None:
        self._circuits = DestinationBreakers()
        self._parts = parts._replace(map=parts.map._replace(circuits=self._circuits))
        self._steps = {source: chosen for source, chosen in steps.items() if chosen}
        self._waiting: deque[tuple[str, str]] = deque()
        self._flowing = _Loop("flowing", self._flow_on)
        self._sending = _Loop("sending", self._send_due)
        self._stopping = False
        self._at_work: dict[str, LocalTriage] = {}
        self._owing = False  # something was decided just now
        self._send_after = 0.0
        self._pick_up_at: float | None = 0.0

    def start(self) -> None:
        """Begin, with what an earlier server left undone."""
        self._flowing.start()
        self._sending.start()

    def put(self, source: str, ticket_id: str) -> None:
        """Let a new ticket flow on."""
        if source in self._steps:
            self._waiting.append((source, ticket_id))
            self._flowing.wake()

    def stop(self) -> None:
        """Take no new work; what is in flight ends. What waits is taken up when a server is started again."""
        self._stopping = True
        for triage in tuple(self._at_work.values()):
            triage.stop()
        self._flowing.stop()
        self._sending.stop()

    def join(self) -> None:
        """Wait until both have ended."""
        self._flowing.join()
        self._sending.join()

    def _session(self, actor: str, command_line: str) -> LocalTriage:
        triage = self._at_work[threading.current_thread().name] = LocalTriage(self._parts, actor, command_line)
        if self._stopping:
            triage.stop()
        return triage

    def _flow_on(self) -> None:
        if not self._steps:
            return
        try:
            self._pick_up()
            self._flow()
        except Exception:
            self._pick_up_at = time.monotonic() + AGAIN  # what was taken from those that wait is found again
            raise

    def _pick_up(self) -> None:
        """Find the tickets of webhooks that were left on their way."""
        if self._pick_up_at is None or time.monotonic() < self._pick_up_at:
            return
        self._pick_up_at = None
        status_before = {"classify": "new", "route": "classified"}
        statuses = frozenset(status_before[step] for steps in self._steps.values() for step in steps)
        known = {ticket_id for _, ticket_id in self._waiting}
        for ticket in self._parts.store.find(Selection(statuses=statuses)):
            if ticket.source in self._steps and ticket.ticket_id not in known:
                self._waiting.append((ticket.source, ticket.ticket_id))

    def _flow(self) -> None:
        by_source: dict[str, list[str]] = {}
        while self._waiting:
            source, ticket_id = self._waiting.popleft()
            by_source.setdefault(source, []).append(ticket_id)
        for source, ticket_ids in by_source.items():
            chosen = Selection(ids=tuple(dict.fromkeys(ticket_ids)))
            actor, command_line = f"webhook:{source}", f"POST /webhooks/{source}"
            if "classify" in self._steps[source] and (new := self._among(chosen, TO_CLASSIFY)):
                _drain(self._session(actor, command_line).classify(Selection(ids=new), ClassifyPlan()))
            if "route" in self._steps[source] and (ready := self._among(chosen, frozenset({"classified"}))):
                _drain(self._session(actor, command_line).owe(Selection(ids=ready)))
                self._owing = True
                self._sending.wake()

    def _among(self, chosen: Selection, statuses: frozenset[str]) -> tuple[str, ...]:
        """Return the ids of the chosen tickets that have one of these statuses now."""
        return tuple(t.ticket_id for t in self._parts.store.find(chosen) if t.status in statuses)

    def _send_due(self) -> None:
        owing, self._owing = self._owing, False
        alone = {*self._circuits.paused(), *self._parts.map.offline}
        at = self._parts.store.next_due(but=tuple(alone))
        early = at is not None and (at > time.time() - LOOK or time.monotonic() < self._send_after)
        if at is None or (early and not owing):
            return
        # No ticket is to be routed (the limit), only what is due is to be sent.
        try:
            sent = _drain(self._session(ACTOR, "serve").route(Selection(limit=0), RoutePlan()))
        except Exception:
            self._send_after = time.monotonic() + PAUSE
            raise
        self._send_after = 0.0 if sent else time.monotonic() + PAUSE


class _Loop:
    """A thread that works again and again, whatever goes wrong, until it is stopped."""

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
                errors.warning("background: %s", error.sentence())
            except Exception:  # noqa: BLE001 - the thread lives as long as the server
                errors.exception("background work failed")
            self._woken.wait(LOOK)
            self._woken.clear()


def _drain(outcomes: Iterable[Outcome[Any]]) -> int:
    """Let all happen, and return how many there were; a mistake of the configuration is told once."""
    number, mistakes = 0, dict[str, None]()
    for outcome in outcomes:
        number += 1
        if outcome.error is not None and not isinstance(outcome.error, ItemError):
            mistakes[outcome.error.sentence()] = None
    for sentence in mistakes:
        errors.warning("background: %s", sentence)
    return number
