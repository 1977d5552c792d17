"""Single tickets of a server's concurrent callers: stored, classified and routed without a run for each.

All callers share transactions and one run, which holds the deliveries that are being sent.
"""

import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from triage_cli.domain import ids, times
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.decisions import ClassifyPlan, Decided
from triage_cli.domain.deliveries import Routed
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.runs import Lease, Run
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Ticket, TicketDraft
from triage_cli.runtime.stop import StopControl
from triage_cli.service import category_renames
from triage_cli.service.concurrent_callers.group_commit import GroupCommitter
from triage_cli.service.concurrent_callers.group_decision import GroupDecider, NewTicket, Taken
from triage_cli.service.concurrent_callers.group_delivery import GroupDeliveries
from triage_cli.service.delivery.routing_decider import RoutingDecider
from triage_cli.service.intake.import_tickets import Intake
from triage_cli.service.run_context import RENEW, RunContext
from triage_cli.service.services import Services
from triage_cli.service.verdicts import Verdicts

# Of the shared run.
KIND, COMMAND_LINE, ACTOR = "serve", "POST /tickets", "serve"
# How often a ticket is routed anew because it changed while that was decided, as by the result of a delivery.
ROUTE_TRIES = 5


class Processed(NamedTuple):
    """A ticket that was stored, and what its further steps did; None: not taken, or in another way."""

    stored: Outcome[Ticket]
    classified: Outcome[Decided] | None = None
    routed: Outcome[Routed] | None = None


class SingleTickets:
    """The work of one server on single tickets. Methods return None for what needs a run of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._committer = GroupCommitter(services.store, self._due_lease)
        self._deliveries = GroupDeliveries(services, self._committer, self._shared)
        self._decider = GroupDecider(services, self._shared, self._deliveries)
        self._lock = threading.Lock()
        self._context: RunContext | None = None
        self._renew_at = 0.0
        self._counts: Counter[str] = Counter()  # of outcomes, for the record of the run

    # -- use cases

    def create(self, draft: TicketDraft, actor: str, identity: str | None = None) -> Outcome[Ticket]:
        """Store one draft. With an `identity`, for a draft without an external id, repeated calls store it once."""
        return self._intake(actor).one(draft, identity, self._committer.save)

    def classify(self, ticket: Ticket, plan: ClassifyPlan, actor: str) -> Outcome[Decided] | None:
        """Classify a ticket, in one transaction unless it changes meanwhile."""
        classifier = self._services.instant_classifier(plan)
        if classifier is None:
            return None
        context = self._context_of(actor)
        recorder = self._decider.recorder(classifier, context, force=plan.force)
        if self._store.claimed([ticket.ticket_id]):
            return Outcome(None, Action.HELD, Decided(ticket, None, False), None, ticket)
        if settled := recorder.settled([ticket]).get(ticket.ticket_id):
            return Outcome(None, settled, Decided(ticket, None, False), None, ticket)
        (answer,) = self._decider.answers(classifier, [(context, ticket)])
        outcome = self._decider.save(recorder, answer)
        self._decider.answered()
        self._count(outcome)
        return outcome

    def route(self, ticket: Ticket, actor: str) -> Outcome[Routed] | None:
        """Route a ticket: its decision is one transaction, the result of its delivery another.

        It is decided again if the ticket changes meanwhile. Deliveries that are due need a run of their own.
        """
        for _ in range(ROUTE_TRIES):
            routed = self._route(ticket, actor)
            if not isinstance(routed, Conflict):
                return routed
            if routed.ticket is None:
                break
            ticket = routed.ticket
        return Outcome(None, Action.HELD, Routed(ticket), None, ticket)

    def _route(self, ticket: Ticket, actor: str) -> Outcome[Routed] | Conflict | None:
        """Route a ticket as `route` does; return the conflict if it has changed."""
        if self._store.claimed([ticket.ticket_id]):
            return None
        context = self._context_of(actor)
        decider = RoutingDecider(context, self._services.routing_map)
        existing = self._store.deliveries([ticket.ticket_id]).get(ticket.ticket_id, ())
        answer = self._services.routing_map.answers(self._store, [ticket]).get(ticket.decision_id or "")
        outcome, change = decider.decide(
            ticket, existing, times.now(), again=False, holder=context.run.run_id, answer=answer
        )
        if change is None:
            return None if outcome.action == Action.ROUTING else outcome
        to_send = decider.to_send(change, existing)
        with self._deliveries.freed_on_error(to_send):
            (conflict,) = context.save([change])
            if conflict is not None:
                return conflict
            ended = self._deliveries.send(context, to_send)
        routed = self._deliveries.outcome(context, outcome, to_send, ended)
        self._count(routed)
        return routed

    def process(
        self, draft: TicketDraft, actor: str, identity: str | None, steps: Collection[str], plan: ClassifyPlan
    ) -> Processed:
        """Store a draft and take a new ticket through further steps, all of it decided in one transaction.

        A known ticket takes no further step, nor does any if the classifier needs a run of its own.
        """
        classifier = self._services.instant_classifier(plan)
        if classifier is None:
            return Processed(self.create(draft, actor, identity))
        context = self._context_of(actor)
        taken: Taken | None = None

        def save(changes: Sequence[Change]) -> Sequence[Conflict | None]:
            nonlocal taken
            (change,) = changes
            if change.expected_revision or change.ticket is None or change.ticket.status != "new":
                return self._committer.save(changes)
            new = NewTicket(context, classifier, change, change.ticket, "route" in steps, [])
            with self._deliveries.freed_on_error(new.to_send):
                taken = self._committer.ask(self._decider.prepare, new)
            return [taken.conflict]

        stored = self._intake(actor).one(draft, identity, save)
        if taken is None or stored.action != Action.CREATED:
            return Processed(stored)
        stored = stored._replace(value=taken.change.ticket)
        if taken.routed is None or taken.ended is None:
            self._count(stored, taken.classified)
            return Processed(stored, taken.classified)
        routed = self._deliveries.outcome(context, taken.routed, taken.to_send, taken.ended)
        after = routed.value.ticket if routed.value else stored.value
        self._count(stored, taken.classified, routed)
        return Processed(stored._replace(value=after), taken.classified, routed)

    def stop(self) -> None:
        """Begin no more attempts at deliveries."""
        self._deliveries.stop()

    def close(self) -> None:
        """Complete what is in flight, and end the run."""
        self._deliveries.close()
        self._committer.close()
        if self._context is not None:
            counts = compact(dict(sorted(self._counts.items())))
            self._store.end(self._context.run._replace(ended_at=times.now(), counts=counts, exit_code=0))

    # -- the shared run

    def _shared(self) -> RunContext:
        """Return the shared run; the first call begins it."""
        with self._lock:
            if self._context is None:
                run = self._store.begin(Run(ids.new_id(), KIND, ACTOR, COMMAND_LINE, times.now(), served=1))
                rules = self._services.routing_map.rules
                category_renames.apply_renames(self._store, self._services.categories, rules, ACTOR, run.run_id)
                self._context = RunContext(self._store, run, StopControl(), self._save)
            return self._context

    def _context_of(self, actor: str) -> RunContext:
        """Return the shared run in the name of an actor, for the request that is being served."""
        shared = self._shared()
        return RunContext(self._store, shared.run._replace(actor=actor), shared.stop, self._save)

    def _intake(self, actor: str) -> Intake:
        return Intake(self._store, actor, Verdicts(self._services.categories, actor), None)

    def _save(self, changes: Sequence[Change], _: Lease) -> Sequence[Conflict | None]:
        """Save changes with those of other callers. The run spends nothing."""
        return self._committer.save(changes)

    def _due_lease(self) -> Lease | None:
        """Return the run's lease now and then, to be renewed with what is saved."""
        now = time.monotonic()
        if self._context is None or now < self._renew_at:
            return None
        self._renew_at = now + RENEW
        return Lease(self._context.run.run_id)

    def _count(self, *outcomes: Outcome[Any]) -> None:
        with self._lock:
            self._counts.update(outcome.action for outcome in outcomes)
