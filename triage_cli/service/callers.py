"""The callers of a server that wait at the same moment are a chunk, which one thread takes through a shared run."""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from enum import Enum, auto
from functools import cached_property
from itertools import chain, islice
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Classifier
from triage_cli.runtime import StopControl, lack_of
from triage_cli.service import category_renames
from triage_cli.service.decisions.category_check import Unchecked
from triage_cli.service.decisions.recorder import DecisionRecorder, unasked
from triage_cli.service.decisions.verdicts import Verdicts
from triage_cli.service.delivery.run import DeliveryRun
from triage_cli.service.intake.drafts import Intake, Posted
from triage_cli.service.runs import RunContext, Signature, request_id
from triage_cli.service.services import Services

# Of the run.
KIND, COMMAND_LINE, ACTOR = "serve", "POST /tickets", "serve"
# Seconds between two checks of the categories.
CATEGORY_CHECK_SECONDS = 1.0
# Recorders of classifiers that were asked before; a server opens a classifier anew when its model has changed.
KEPT_RECORDERS = 3
# How often a ticket is routed anew because another program changed it while that was decided.
ROUTE_TRIES = 5

errors = logging.getLogger("triage.errors")


class Processed(NamedTuple):
    """What the steps of a call did; None: not taken, or it needs a run. `stored` counts if there was a draft."""

    stored: dm.Outcome[dm.Ticket]
    classified: dm.Outcome[dm.Decided] | None = None
    routed: dm.Outcome[dm.Routed] | None = None


class Call:
    """What one caller wants: a draft to be stored, or the id of a ticket, and the steps to take it through."""

    def __init__(
        self,
        actor: str,
        *,
        draft: dm.TicketDraft | None = None,
        identity: str | None = None,
        ticket_id: str = "",
        classifier: Classifier | None = None,
        force: bool = False,
        is_routed: bool = False,
    ) -> None:
        self.signature = Signature(actor, request_id.get())
        self.draft, self.identity, self.ticket_id = draft, identity, ticket_id
        self.classifier, self.force, self.is_routed = classifier, force, is_routed
        self.ticket: dm.Ticket | None = None  # as the last step has left it
        self.route_tries = 0
        self.stored: dm.Outcome[dm.Ticket] = dm.Outcome(None, dm.Action.UNCHANGED, None, None, draft)
        self.classified: dm.Outcome[dm.Decided] | None = None
        self._answer = Future[Processed]()

    @property
    def subject(self) -> object:
        """Return what no two calls of a chunk share: the second is decided on what the first has done."""
        if self.ticket_id or self.draft is None:
            return self.ticket_id
        if self.draft.external_id is not None:
            return self.draft.source, self.draft.external_id
        return self.identity or self

    @property
    def has_ended(self) -> bool:
        """Return whether the caller has its answer."""
        return self._answer.done()

    def end(self, routed: dm.Outcome[dm.Routed] | None = None) -> None:
        """Answer the caller with what was done."""
        stored = self.stored
        ticket = routed.value.ticket if routed and routed.value else self.ticket
        if ticket is not None:
            stored = stored._replace(value=ticket)
        self._answer.set_result(Processed(stored, self.classified, routed))

    def fail(self, error: Exception) -> None:
        """Answer the caller with an error; one whose ticket is stored by now learns that from what was done."""
        if self.has_ended:
            return
        if isinstance(error, dm.TriageError) and self.stored.value and self.classified is None:
            self.classified = dm.Outcome.failed(self.ticket, error)
            self.end()
        elif isinstance(error, dm.TriageError) and self.stored.value:
            self.end(dm.Outcome(None, dm.Action.ROUTING, None, error, self.ticket))
        else:
            self._answer.set_exception(error)

    def wait(self) -> Processed:
        """Return what was done. Raises the error that ended the call."""
        return self._answer.result()


class _State(Enum):
    """How far a shared run is."""

    NEW = auto()  # nothing is recorded of it yet
    OPEN = auto()
    SPENT = auto()  # it takes no more chunks, and ends what it is sending
    ENDED = auto()


class SharedRun:
    """The run of one thread. It begins with the first step after storing, which needs no run.

    Changes of one ticket are decided one after the other here, so only other programs can overtake them.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._intake = Intake(services.store, ACTOR, Verdicts(services.questions, ACTOR), None, services.fields)
        self._signatures: dict[str, Signature] = {}  # of the callers whose tickets are taken through steps, by ticket
        self._recorders: dict[tuple[Classifier, bool], DecisionRecorder] = {}
        self._category_check, self._category_check_until = Unchecked(), 0.0
        self._delivery_run: DeliveryRun | None = None
        self._sending: dict[str, Call] = {}  # those whose deliveries are being attempted, by ticket
        self._counts: Counter[str] = Counter()
        self._state = _State.NEW

    @property
    def is_spent(self) -> bool:
        """Return whether it is to take no more chunks."""
        return self._state in (_State.SPENT, _State.ENDED)

    @property
    def is_sending(self) -> bool:
        """Return whether deliveries of callers are being attempted."""
        return bool(self._sending)

    def take(self, calls: Sequence[Call]) -> list[Call]:
        """Take a chunk of calls through their steps, up to the first attempts at deliveries; return those to repeat."""
        self._store_drafts([call for call in calls if call.draft is not None and call.ticket is None])
        self._read_tickets([call for call in calls if call.ticket is None and not call.has_ended])
        self._classify([call for call in calls if call.classifier and call.classified is None and not call.has_ended])
        return self._route([call for call in calls if not call.has_ended])

    def collect(self) -> None:
        """Save the results of attempts that have ended, and answer the callers whose deliveries all have."""
        if self._delivery_run is None or not self._sending:
            return
        try:
            outcomes = self._delivery_run.finished()
        except dm.TriageError as error:
            outcomes = self._delivery_run.abandon(error)
            self.end()
        except Exception as error:  # noqa: BLE001 - it belongs to the callers who wait
            self.end()
            for call in self._sending.values():
                call.fail(error)
            self._sending.clear()
            outcomes = []
        for outcome in outcomes:
            self._end_routed(self._sending.pop(outcome.ticket.ticket_id), outcome)

    def rest(self) -> None:
        """Close the destinations, and keep what the run holds."""
        self._close_deliveries()
        if self._state is _State.OPEN:
            self._context.heartbeat()

    def stop_sending(self) -> None:
        """Begin no more attempts at deliveries."""
        if self._delivery_run is not None:
            self._delivery_run.stop_sending()

    def spend(self) -> None:
        """Let another run take the next chunk."""
        if not self.is_spent:
            self._state = _State.SPENT if self._state is _State.OPEN else _State.ENDED

    def end(self) -> None:
        """End the run, which frees what it holds; if that fails, the end of its lease does so."""
        self._close_deliveries()
        self.spend()
        if self._state is _State.SPENT:
            self._state = _State.ENDED
            counts = dm.compact(dict(sorted(self._counts.items())))
            with _logged_failure("the run of single tickets was not ended"):
                self._store.runs.end(self._context.run._replace(ended_at=dm.times.now(), counts=counts, exit_code=0))

    # -- steps

    @cached_property
    def _context(self) -> RunContext:
        run = self._store.runs.begin(dm.Run(dm.ids.new_id(), KIND, ACTOR, COMMAND_LINE, dm.times.now(), served=1))
        rules = self._services.routing_map.rules
        category_renames.apply_renames(self._store, self._services.questions, rules, ACTOR, run.run_id)
        self._state = _State.OPEN
        return _PatientContext(self._store, run, StopControl(), self._signatures)

    def _store_drafts(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
        posted = [Posted(call.draft, call.identity, call.signature) for call in calls if call.draft]
        for call, stored in zip(calls, self._intake.posted(posted), strict=True):
            call.stored = stored
            ticket = stored.value
            if (
                stored.action != dm.Action.CREATED
                or ticket is None
                or ticket.status != "new"
                or call.classifier is None
            ):
                call.end()
            else:
                self._sign(call, ticket)
                self._counts[stored.action] += 1

    def _read_tickets(self, calls: Sequence[Call]) -> None:
        """Read the tickets of calls; a call ends whose ticket another run holds."""
        calls_by_ticket = {call.ticket_id: call for call in calls}
        if not calls:
            return
        claimed = self._store.runs.claimed(list(calls_by_ticket))
        for ticket in self._store.find(dm.Selection(ids=tuple(calls_by_ticket))):
            call = calls_by_ticket.pop(ticket.ticket_id)
            self._sign(call, ticket)
            if ticket.ticket_id in claimed:
                if call.classifier:
                    call.classified = unasked(ticket, dm.Action.HELD)
                self._end(call)
        for call in calls_by_ticket.values():
            call.end()

    def _sign(self, call: Call, ticket: dm.Ticket) -> None:
        call.ticket, call.ticket_id = ticket, ticket.ticket_id
        self._signatures[ticket.ticket_id] = call.signature

    def _classify(self, calls: Sequence[Call]) -> None:
        calls_by_question: dict[tuple[Classifier, bool], dict[str, Call]] = {}
        for call in calls:
            if call.classifier:
                calls_by_question.setdefault((call.classifier, call.force), {})[call.ticket_id] = call
        for (classifier, force), asking in calls_by_question.items():
            recorder = self._recorder(classifier, force=force)
            earlier = [call.ticket for call in asking.values() if call.ticket and call.draft is None]
            settled = recorder.settled(earlier) if earlier else {}
            tickets = []
            for ticket in recorder.asking([call.ticket for call in asking.values() if call.ticket], settled):
                if ticket.asked:
                    tickets.append(ticket)
                else:
                    self._end_classified(asking.pop(ticket.ticket_id), unasked(ticket, settled[ticket.ticket_id]))
            for outcome in chain.from_iterable(recorder.decide([tickets]) if tickets else ()):
                self._counts[outcome.action] += 1
                self._end_classified(asking[outcome.ticket.ticket_id], outcome)

    def _end_classified(self, call: Call, outcome: dm.Outcome[dm.Decided]) -> None:
        """Note the outcome of a call's classification; the call ends unless its ticket is to be routed now."""
        call.classified = outcome
        call.ticket = outcome.value.ticket if outcome.value else call.ticket
        if not call.is_routed or outcome.error or call.ticket is None or call.ticket.status not in dm.TO_ROUTE:
            self._end(call)

    def _recorder(self, classifier: Classifier, *, force: bool) -> DecisionRecorder:
        recorder = self._recorders.get((classifier, force))
        if recorder is None:
            recorder = DecisionRecorder(self._context, classifier, self._services.questions, force=force)
            latest = dict(islice(self._recorders.items(), KEPT_RECORDERS))
            self._recorders = {(classifier, force): recorder, **latest}
        if time.monotonic() > self._category_check_until:
            self._category_check = self._services.check()
            self._category_check_until = time.monotonic() + CATEGORY_CHECK_SECONDS
        recorder.check = self._category_check
        return recorder

    def _route(self, calls: Sequence[Call]) -> list[Call]:
        """Decide where the tickets of calls go, and begin to send; return the calls whose tickets have changed."""
        if not calls:
            return []
        calls_by_ticket = {call.ticket_id: call for call in calls}
        if self._delivery_run is None:
            self._delivery_run = DeliveryRun(self._context, self._services.routing_map)
            self._delivery_run.wait_for_nothing()
        else:
            self._delivery_run.take_note_of_switched_off()
        overtaken = []
        for outcome in self._delivery_run.begin([call.ticket for call in calls if call.ticket]):
            call = calls_by_ticket.pop(outcome.ticket.ticket_id)
            if outcome.action == dm.Action.HELD and call.route_tries < ROUTE_TRIES:
                call.route_tries += 1
                call.ticket = None
                overtaken.append(call)
            elif outcome.action == dm.Action.ROUTING and outcome.value and outcome.value.ticket == call.ticket:
                self._end(call)  # it has deliveries that are due, for a run of its own to send
            else:
                self._end_routed(call, outcome)
        self._sending |= calls_by_ticket
        return overtaken

    def _end_routed(self, call: Call, outcome: dm.Outcome[dm.Routed]) -> None:
        self._counts[outcome.action] += 1
        self._end(call, outcome)

    def _end(self, call: Call, routed: dm.Outcome[dm.Routed] | None = None) -> None:
        self._signatures.pop(call.ticket_id, None)
        call.end(routed)

    def _close_deliveries(self) -> None:
        if self._delivery_run is not None:
            self._delivery_run.close()
            self._delivery_run = None


class _PatientContext(RunContext):
    """The context of a run that goes on if its lease cannot be renewed, since that is tried again."""

    def heartbeat(self) -> None:
        """Renew the lease if that is due."""
        with _logged_failure("the lease on deliveries was not renewed"):
            super().heartbeat()


@contextmanager
def _logged_failure(what: str) -> Iterator[None]:
    """Log a failure of the block that concerns no caller."""
    try:
        yield
    except dm.TriageError as error:
        errors.warning("%s: %s", what, error.sentence())


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

    def create(self, draft: dm.TicketDraft, actor: str, identity: str | None = None) -> dm.Outcome[dm.Ticket]:
        """Store a single draft. With an `identity`, if it has no external id, repeated calls store it once."""
        return self._processed(Call(actor, draft=draft, identity=identity)).stored

    def classify(self, ticket: dm.Ticket, plan: dm.ClassifyPlan, actor: str) -> dm.Outcome[dm.Decided] | None:
        """Classify a single ticket."""
        classifier = self._services.instant_classifier(plan)
        if classifier is None:
            return None
        call = Call(actor, ticket_id=ticket.ticket_id, classifier=classifier, force=plan.force)
        return self._processed(call).classified

    def route(self, ticket: dm.Ticket, actor: str) -> dm.Outcome[dm.Routed] | None:
        """Route a single ticket, and send it. Deliveries that are due need a run of their own."""
        return self._processed(Call(actor, ticket_id=ticket.ticket_id, is_routed=True)).routed

    def process(
        self, draft: dm.TicketDraft, actor: str, identity: str | None, steps: Collection[str], plan: dm.ClassifyPlan
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
                raise dm.UnavailableError("the server is stopping", hint="ask again in a moment")
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
        except dm.TriageError as error:
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
            run.spend()
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
