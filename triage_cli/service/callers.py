"""The callers of a server that wait at the same moment are a chunk, which one thread takes through a run's steps."""

import queue
import threading
from collections.abc import Collection
from contextlib import suppress

from triage_cli.domain import (
    ClassifyPlan,
    Decided,
    Outcome,
    Routed,
    Ticket,
    TicketDraft,
    TriageError,
    UnavailableError,
)
from triage_cli.runtime import lack_of
from triage_cli.service.services import Services
from triage_cli.service.shared_run import Call, Processed, SharedRun

# Seconds without a caller after which the destinations are closed, with their connections.
IDLE_SECONDS = 10.0


class Callers:
    """What one server does with single tickets. Methods return None for what needs a run of its own.

    While one chunk is worked on, the callers of the next one gather. Each waits for its own deliveries alone.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._queue: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of the two below
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_stopped = False
        # What follows belongs to the thread.
        self._put_back: list[Call] = []
        self._is_careful = False  # one call a chunk, until the one is found that has failed others
        self._runs: list[SharedRun] = []  # the last one takes the next chunk; spent ones end what they are sending

    def create(self, draft: TicketDraft, actor: str, identity: str | None = None) -> Outcome[Ticket]:
        """Store a single draft. With an `identity`, if it has no external id, repeated calls store it once."""
        return self._processed(Call(actor, draft=draft, identity=identity)).stored

    def classify(self, ticket: Ticket, plan: ClassifyPlan, actor: str) -> Outcome[Decided] | None:
        """Classify a single ticket."""
        classifier = self._services.instant_classifier(plan)
        if classifier is None:
            return None
        call = Call(actor, ticket_id=ticket.ticket_id, classifier=classifier, force=plan.force)
        return self._processed(call).classified

    def route(self, ticket: Ticket, actor: str) -> Outcome[Routed] | None:
        """Route a single ticket, and send it. Deliveries that are due need a run of their own."""
        return self._processed(Call(actor, ticket_id=ticket.ticket_id, is_routed=True)).routed

    def process(
        self, draft: TicketDraft, actor: str, identity: str | None, steps: Collection[str], plan: ClassifyPlan
    ) -> Processed:
        """Store a single draft and take a new ticket through further steps.

        A known ticket takes no further step, nor does any if the classifier needs a run of its own.
        """
        classifier = self._services.instant_classifier(plan)
        is_routed = "route" in steps
        return self._processed(Call(actor, draft=draft, identity=identity, classifier=classifier, is_routed=is_routed))

    @property
    def waiting(self) -> int:
        """Return how many callers wait for the next chunk."""
        return self._queue.qsize()

    def stop(self) -> None:
        """Begin no more attempts at deliveries."""
        self._is_stopped = True

    def close(self) -> None:
        """Answer the callers that wait, and end the shared run."""
        self.stop()
        with self._lock:
            self._is_closed = True
            self._queue.put(None)
            thread = self._thread
        if thread is not None:
            thread.join()

    def _processed(self, call: Call) -> Processed:
        with self._lock:
            if self._is_closed:
                raise UnavailableError("the server is stopping", hint="ask again in a moment")
            if self._thread is None:
                self._thread = _begun(threading.Thread(target=self._work, name="callers", daemon=True))
            self._queue.put(call)
        return call.wait()

    # -- in the thread

    def _work(self) -> None:
        while not (self._is_closed and self._queue.empty() and not self._put_back and not self._is_sending):
            if chunk := self._chunk():
                self._take(chunk)
            self._collect_deliveries()
        for run in self._runs:
            run.end()

    @property
    def _is_sending(self) -> bool:
        return any(run.is_sending for run in self._runs)

    def _chunk(self) -> list[Call]:
        """Return the calls that wait, of several about one ticket the first; wait for one if nothing is being sent."""
        waiting: list[Call | None] = [*self._put_back]
        self._put_back.clear()
        must_wait = not waiting and not self._is_sending
        with suppress(queue.Empty):
            waiting.append(self._queue.get(block=must_wait, timeout=IDLE_SECONDS))
            while True:
                waiting.append(self._queue.get_nowait())
        if must_wait and not waiting:
            for run in self._runs:
                run.rest()
        chunk: dict[object, Call] = {}
        for call in filter(None, waiting):
            if (chunk and self._is_careful) or chunk.setdefault(call.subject, call) is not call:
                self._put_back.append(call)
        self._is_careful = self._is_careful and bool(self._put_back)
        return list(chunk.values())

    def _take(self, chunk: list[Call]) -> None:
        try:
            if not self._runs or self._runs[-1].is_spent:
                self._runs.append(SharedRun(self._services))
            self._put_back += self._runs[-1].take(chunk)
        except TriageError as error:
            self._give_up_run()
            for call in chunk:
                call.fail(error)
        except Exception as error:  # noqa: BLE001 - it belongs to the caller for whose ticket it was raised
            self._give_up_run()
            if len(chunk) == 1:
                chunk[0].fail(error)
            else:
                self._put_back += [call for call in chunk if not call.has_ended]
                self._is_careful = True

    def _give_up_run(self) -> None:
        """Let the next chunk begin another run. This one ends, which frees what it holds, once it sends nothing."""
        for run in self._runs:
            run.is_spent = True
        self._end_spent_runs()

    def _end_spent_runs(self) -> None:
        for run in [run for run in self._runs if run.is_spent and not run.is_sending]:
            self._runs.remove(run)
            run.end()

    def _collect_deliveries(self) -> None:
        for run in self._runs:
            if self._is_stopped:
                run.stop_sending()
            run.collect()
        self._end_spent_runs()


def _begun(thread: threading.Thread) -> threading.Thread:
    """Begin a thread. Raises `ExhaustedError` for want of one."""
    try:
        thread.start()
    except RuntimeError as error:
        if lack := lack_of(error):
            raise lack from error
        raise
    return thread
