"""What nobody waits for: tickets that webhooks brought flow on, and deliveries that fall due are sent."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from triage_cli.errors import ItemError, TriageError
from triage_cli.models import ClassifyPlan, Outcome, RoutePlan, Selection
from triage_cli.service.local import LocalTriage, Parts

ACTOR = "serve"
# Between two looks at what is due, in seconds; what fell due within the last one may be on its way elsewhere.
LOOK = 1.0
# Where a look at due deliveries brought nothing, since others hold them or a destination is left alone.
PAUSE = 30.0
# What an outage left behind is taken up again after so many seconds.
AGAIN = 60.0

errors = logging.getLogger("triage.errors")


class Worker:
    """One thread. `steps` says by source what becomes of a new ticket: classify, route."""

    def __init__(self, parts: Parts, steps: Mapping[str, tuple[str, ...]]) -> None:
        self._parts = parts
        self._steps = {source: wanted for source, wanted in steps.items() if wanted}
        self._waiting: deque[tuple[str, str]] = deque()
        self._woken = threading.Event()
        self._stopping = False
        self._at_work: LocalTriage | None = None
        self._send_after = 0.0
        self._pick_up_at: float | None = 0.0
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier server left undone."""
        self._thread.start()

    def put(self, source: str, ticket_id: str) -> None:
        """Let a new ticket flow on."""
        if source in self._steps:
            self._waiting.append((source, ticket_id))
            self._woken.set()

    def stop(self) -> None:
        """Take no new work; what is in flight ends. What waits is taken up when a server is started again."""
        self._stopping = True
        if self._at_work is not None:
            self._at_work.stop()
        self._woken.set()

    def join(self) -> None:
        """Wait until it has ended."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._pick_up()
                self._flow()
                self._send_due()
            except TriageError as error:
                errors.warning("background: %s", error.sentence())
                self._send_after = time.monotonic() + PAUSE
                self._pick_up_at = time.monotonic() + AGAIN
            except Exception:  # noqa: BLE001 - the thread lives as long as the server
                errors.exception("background work failed")
                self._send_after = time.monotonic() + PAUSE
            self._woken.wait(LOOK)
            self._woken.clear()

    def _session(self, actor: str, words: str) -> LocalTriage:
        self._at_work = LocalTriage(self._parts, actor, words)
        if self._stopping:
            self._at_work.stop()
        return self._at_work

    def _pick_up(self) -> None:
        """Find the tickets of webhooks that were left on their way."""
        if self._pick_up_at is None or time.monotonic() < self._pick_up_at:
            return
        self._pick_up_at = None
        if not self._steps:
            return
        wanted = {"classify": "new", "route": "classified"}
        statuses = frozenset(wanted[step] for steps in self._steps.values() for step in steps)
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
            actor, words = f"webhook:{source}", f"POST /webhooks/{source}"
            if "classify" in self._steps[source]:
                _drain(self._session(actor, words).classify(chosen, ClassifyPlan()))
            if "route" in self._steps[source]:
                ready = [t.ticket_id for t in self._parts.store.find(chosen) if t.status == "classified"]
                if ready:
                    _drain(self._session(actor, words).route(Selection(ids=tuple(ready)), RoutePlan()))

    def _send_due(self) -> None:
        at = self._parts.store.next_due()
        if at is None or at > time.time() - LOOK or time.monotonic() < self._send_after:
            return
        # No ticket is to be routed (the limit), only what is due is to be sent.
        if not _drain(self._session(ACTOR, "serve").route(Selection(limit=0), RoutePlan())):
            self._send_after = time.monotonic() + PAUSE


def _drain(outcomes: Iterable[Outcome[Any]]) -> int:
    """Let all happen; return how many no mistake of the configuration stood in the way of, which is told once."""
    number, mistakes = 0, dict[str, None]()
    for outcome in outcomes:
        if outcome.error is None or isinstance(outcome.error, ItemError):
            number += 1
        else:
            mistakes[outcome.error.sentence()] = None
    for sentence in mistakes:
        errors.warning("background: %s", sentence)
    return number
