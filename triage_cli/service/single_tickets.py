"""Single tickets of a server's concurrent callers: stored, classified and routed without a run for each.

All callers share transactions and one run, which holds the deliveries that are being sent.
"""

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from triage_cli.domain import ids
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.decisions import ClassifyPlan, Decided
from triage_cli.domain.deliveries import OutgoingDelivery, Receipt, Routed
from triage_cli.domain.errors import TriageError, UnavailableError
from triage_cli.domain.runs import Action, Lease, Outcome, Run
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Ticket, TicketDraft
from triage_cli.runtime.group_worker import GroupWorker
from triage_cli.runtime.stop import StopControl
from triage_cli.service import category_renames
from triage_cli.service.delivery.dispatcher import Dispatcher, switched_off
from triage_cli.service.delivery.results import (
    AttemptRecorder,
    AttemptResult,
    RetryPolicy,
    UnfinishedTicket,
    with_offline_error,
)
from triage_cli.service.delivery.routing_decisions import RoutingDecider
from triage_cli.service.delivery.shared_dispatch import SharedDispatcher, SharedResult
from triage_cli.service.group_commit import GroupCommitter
from triage_cli.service.group_decision import GroupDecider, NewTicket, Taken
from triage_cli.service.intake.import_tickets import Intake
from triage_cli.service.run_context import RENEW, RunContext
from triage_cli.service.services import Services
from triage_cli.service.verdicts import Verdicts

# The run's kind and its command line, which is that of a request: it is continued by no other run.
KIND, COMMAND_LINE, ACTOR = "serve", "POST /tickets", "serve"
# Seconds that the end waits for requests whose deliveries were attempted, until they have saved the results.
CLOSE_SECONDS = 20.0


class Processed(NamedTuple):
    """A ticket that was stored, and what its further steps did; None: not taken, or in another way."""

    stored: Outcome[Ticket]
    classified: Outcome[Decided] | None = None
    routed: Outcome[Routed] | None = None


class SingleTickets:
    """The work of one server on single tickets. Methods return None for what needs a run of its own."""

    def __init__(self, parts: Services) -> None:
        self._services = parts
        self._store = parts.store
        self._committer = GroupCommitter(parts.store)
        self._decider = GroupDecider(parts, self._shared)
        self._dispatcher = SharedDispatcher(self._open_dispatcher, self._heartbeat)
        self._record = GroupWorker[_Attempted, AttemptResult]("results", self._record_all)
        self._lock = threading.Lock()
        self._context: RunContext | None = None
        self._renew_at = 0.0
        self._counts: Counter[str] = Counter()  # of outcomes, for the record of the run
        self._delivering = 0  # requests that wait for deliveries or save their results
        self._delivered_all = threading.Condition()
        self._to_free: set[str] = set()  # deliveries that the run holds, and whose results could not be saved

    # -- use cases

    def create(self, draft: TicketDraft, actor: str, identity: str | None = None) -> Outcome[Ticket]:
        """Store one draft. With an `identity`, for a draft without an external id, repeated calls store it once."""
        intake = Intake(self._store, actor, Verdicts(self._services.categories, actor), None)
        return intake.one(draft, identity, self._committer.save)

    def classify(self, ticket: Ticket, plan: ClassifyPlan, actor: str) -> Outcome[Decided] | None:
        """Classify a ticket, in one transaction."""
        classifier = self._services.kept(plan)
        if classifier is None:
            return None
        context = self._acting(actor)
        recorder = self._decider.recorder(classifier, context, force=plan.force)
        if self._store.claimed([ticket.ticket_id]):
            return Outcome(None, Action.HELD, Decided(ticket, None, False), None, ticket)
        if settled := recorder.settled([ticket]).get(ticket.ticket_id):
            return Outcome(None, settled, Decided(ticket, None, False), None, ticket)
        (outcome,) = recorder.save(self._decider.answers(classifier, [(context, ticket)]))
        self._decider.answered()
        self._count(outcome)
        return outcome

    def route(self, ticket: Ticket, actor: str) -> Outcome[Routed] | None:
        """Route a ticket: its decision is one transaction, the result of its delivery another.

        Deliveries that are due need a run of their own.
        """
        if self._store.claimed([ticket.ticket_id]):
            return None
        context = self._acting(actor)
        decider = RoutingDecider(context, self._services.map)
        existing = self._store.deliveries([ticket.ticket_id]).get(ticket.ticket_id, ())
        answer = self._services.map.answers(self._store, [ticket]).get(ticket.decision_id or "")
        outcome, change = decider.decide(
            ticket, existing, ids.now(), again=False, holder=context.run.run_id, answer=answer
        )
        if change is None:
            return None if outcome.action == Action.ROUTING else outcome
        (conflict,) = context.save([change])
        if conflict is not None:
            return Outcome(None, Action.HELD, Routed(conflict.ticket or ticket), None, ticket)
        routed = self._delivered(context, outcome, decider.to_send(change, existing))
        self._count(routed)
        return routed

    def process(
        self, draft: TicketDraft, actor: str, identity: str | None, steps: Collection[str], plan: ClassifyPlan
    ) -> Processed:
        """Store a draft and take a new ticket through further steps, all of it decided in one transaction.

        A known ticket takes no further step, nor does any if the classifier needs a run of its own.
        """
        classifier = self._services.kept(plan)
        if classifier is None:
            return Processed(self.create(draft, actor, identity))
        context = self._acting(actor)
        taken: Taken | None = None

        def save(changes: Sequence[Change]) -> Sequence[Conflict | None]:
            nonlocal taken
            (change,) = changes
            if change.expects or change.ticket is None or change.ticket.status != "new":
                return self._committer.save(changes)
            taken = self._decider.take(NewTicket(context, classifier, change, change.ticket, "route" in steps))
            return [taken.conflict]

        stored = Intake(self._store, actor, Verdicts(self._services.categories, actor), None).one(draft, identity, save)
        if taken is None or stored.action != Action.CREATED:
            return Processed(stored)
        stored = stored._replace(value=taken.change.ticket)
        if taken.routed is None:
            self._count(stored, taken.classified)
            return Processed(stored, taken.classified)
        routed = self._delivered(context, taken.routed, taken.to_send)
        after = routed.value.ticket if routed.value else stored.value
        self._count(stored, taken.classified, routed)
        return Processed(stored._replace(value=after), taken.classified, routed)

    def stop(self) -> None:
        """Begin no more attempts at deliveries."""
        self._dispatcher.stop()

    def close(self) -> None:
        """Complete what is in flight, and end the run."""
        self._decider.close()
        self._dispatcher.close()
        with self._delivered_all:
            self._delivered_all.wait_for(lambda: not self._delivering, CLOSE_SECONDS)
        self._record.close()
        self._committer.close()
        if self._context is not None:
            counts = compact(dict(sorted(self._counts.items())))
            self._store.end(self._context.run._replace(ended_at=ids.now(), counts=counts, exit_code=0))

    # -- the shared run

    def _shared(self) -> RunContext:
        """Return the shared run; the first call begins it."""
        with self._lock:
            if self._context is None:
                run = self._store.begin(Run(ids.new_id(), KIND, ACTOR, COMMAND_LINE, ids.now()))
                rules = self._services.map.rules
                category_renames.follow(self._store, self._services.categories, rules, ACTOR, run.run_id)
                self._context = RunContext(self._store, run, StopControl(), self._save)
            return self._context

    def _acting(self, actor: str) -> RunContext:
        """Return the shared run in the name of an actor, for the request that is being served."""
        shared = self._shared()
        return RunContext(self._store, shared.run._replace(actor=actor), shared.stop, self._save)

    def _save(self, changes: Sequence[Change], lease: Lease) -> Sequence[Conflict | None]:
        """Save changes; now and then the run's lease is renewed with them. The run spends nothing."""
        now = time.monotonic()
        if now < self._renew_at:
            return self._committer.save(changes)
        self._renew_at = now + RENEW
        return self._committer.save(changes, Lease(lease.run_id))

    def _heartbeat(self) -> None:
        if self._context is not None:
            self._context.heartbeat()
            self._free()

    # -- steps

    def _delivered(
        self, context: RunContext, outcome: Outcome[Routed], to_send: Sequence[OutgoingDelivery]
    ) -> Outcome[Routed]:
        """Attempt the deliveries of a saved decision, and save how each went.

        A delivery whose result cannot be saved is freed, and the outcome has the error: the decision stays stored.
        """
        unfinished, unsaved = UnfinishedTicket(outcome, len(to_send)), {o.delivery.delivery_id for o in to_send}
        with self._freed_at_end(unsaved):
            try:
                for result in self._attempts(to_send):
                    try:
                        unfinished.add_result(self._saved(context, result), result.parked_because)
                        unsaved.discard(result.delivery_id)
                    except TriageError as error:
                        unfinished.add_result(None, error)
            except TriageError as error:  # of the dispatcher: no more results come
                unfinished.add_result(None, error)
        return with_offline_error(unfinished.outcome, self._services.map.offline)

    def _saved(self, context: RunContext, result: SharedResult) -> AttemptResult | None:
        """Save how an attempt went; None: the delivery was parked, and is freed."""
        if result.outcome is None:
            because = result.parked_because
            self._store.let_go([result.delivery_id], context.lease, because.sentence() if because else None)
            return None
        opened = result.destination
        policy = RetryPolicy(opened.max_attempts, opened.schedule) if opened else RetryPolicy()
        return self._record(_Attempted(context, result.delivery_id, result.outcome, policy))

    @contextmanager
    def _freed_at_end(self, unsaved: Collection[str]) -> Iterator[None]:
        """Count a request as delivering; at its end, free the deliveries whose results are not saved by then."""
        with self._delivered_all:
            self._delivering += 1
        try:
            yield
        finally:
            with self._lock:
                self._to_free.update(unsaved)
            self._free()
            with self._delivered_all:
                self._delivering -= 1
                self._delivered_all.notify_all()

    def _free(self) -> None:
        """Free the deliveries whose results could not be saved; what cannot be freed now, the next heartbeat frees."""
        with self._lock:
            freed = list(self._to_free)
        if not freed or self._context is None:
            return
        try:
            self._store.let_go(freed, self._context.lease, attempted=True)
        except UnavailableError:
            return
        with self._lock:
            self._to_free.difference_update(freed)

    def _record_all(self, attempted: Sequence["_Attempted"]) -> list[AttemptResult | Exception]:
        """Save how attempts of several callers went."""
        recorder = AttemptRecorder(self._shared(), {one.delivery_id: one.context for one in attempted})
        by_policy: dict[RetryPolicy, list[Outcome[Receipt]]] = {}
        for one in attempted:
            by_policy.setdefault(one.policy, []).append(one.outcome)
        recorded: dict[str, AttemptResult] = {}
        failed: dict[RetryPolicy, TriageError] = {}
        for policy, outcomes in by_policy.items():
            try:
                for result in recorder.record(outcomes, policy):
                    recorded[result.delivery_ids[0]] = result
            except TriageError as error:  # of those that are not recorded yet
                failed[policy] = error
        return [recorded.get(one.delivery_id) or failed[one.policy] for one in attempted]

    def _attempts(self, to_send: Sequence[OutgoingDelivery]) -> Iterator[SharedResult]:
        off = self._store.switched_off() if to_send else frozenset[str]()
        for outgoing in to_send:
            name = outgoing.delivery.destination
            if name in off:
                refused = Outcome[Receipt](None, Action.FAILED, None, switched_off(name), outgoing)
                yield SharedResult(outgoing.delivery.delivery_id, None, refused)
        yield from self._dispatcher.send([o for o in to_send if o.delivery.destination not in off])

    def _open_dispatcher(self) -> Dispatcher:
        return Dispatcher(self._services.map.destination, breakers=self._services.map.circuits, at_once=True)

    def _count(self, *outcomes: Outcome[Any]) -> None:
        with self._lock:
            self._counts.update(outcome.action for outcome in outcomes)


class _Attempted(NamedTuple):
    """How the attempt at a delivery went, and in whose name it was made."""

    context: RunContext
    delivery_id: str
    outcome: Outcome[Receipt]
    policy: RetryPolicy
