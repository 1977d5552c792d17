"""Single tickets of a server's concurrent callers: stored, classified and routed without a run for each."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from triage_cli.domain import times
from triage_cli.domain.changes import Change, Conflict
from triage_cli.domain.classifications import ClassifyPlan, Decided
from triage_cli.domain.deliveries import Routed
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.tickets import Ticket, TicketDraft
from triage_cli.service.concurrent_callers.group_classifier import GroupClassifier
from triage_cli.service.concurrent_callers.group_delivery import GroupDeliveries
from triage_cli.service.concurrent_callers.new_tickets import DecidedNewTicket, NewTicket, NewTicketDecider
from triage_cli.service.concurrent_callers.shared_run import SharedRun
from triage_cli.service.delivery.routing_decider import RoutingDecider
from triage_cli.service.intake.import_tickets import Intake
from triage_cli.service.services import Services
from triage_cli.service.verdicts import Verdicts

# How often a ticket is routed anew because it changed while that was decided, as by the result of a delivery.
ROUTE_TRIES = 5


class Processed(NamedTuple):
    """A single ticket that was stored, and what its further steps did; None: not taken, or in another way."""

    stored: Outcome[Ticket]
    classified: Outcome[Decided] | None = None
    routed: Outcome[Routed] | None = None


class SingleTickets:
    """What one server does with single tickets. Methods return None for what needs a run of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._shared_run = SharedRun(services)
        self._committer = self._shared_run.committer
        self._group_deliveries = GroupDeliveries(services, self._shared_run)
        self._group_classifier = GroupClassifier(services, self._shared_run)
        self._new_ticket_decider = NewTicketDecider(
            self._group_classifier, services.routing_map, self._group_deliveries
        )

    def create(self, draft: TicketDraft, actor: str, identity: str | None = None) -> Outcome[Ticket]:
        """Store a single draft. With an `identity`, if it has no external id, repeated calls store it once."""
        return self._intake(actor).one(draft, identity, self._committer.save)

    def classify(self, ticket: Ticket, plan: ClassifyPlan, actor: str) -> Outcome[Decided] | None:
        """Classify a single ticket, in one transaction unless it changes meanwhile."""
        classifier = self._services.instant_classifier(plan)
        if classifier is None:
            return None
        caller_context = self._shared_run.context_of(actor)
        recorder = self._group_classifier.recorder(classifier, caller_context, force=plan.force)
        if self._store.claimed([ticket.ticket_id]):
            return Outcome(None, Action.HELD, Decided(ticket, None, False), None, ticket)
        if settled := recorder.settled([ticket]).get(ticket.ticket_id):
            return Outcome(None, settled, Decided(ticket, None, False), None, ticket)
        (answer,) = self._group_classifier.answers(classifier, [(caller_context, ticket)])
        classified = self._group_classifier.save_answer(recorder, answer)
        self._group_classifier.note_answers()
        self._shared_run.count(classified)
        return classified

    def route(self, ticket: Ticket, actor: str) -> Outcome[Routed] | None:
        """Route a single ticket: its decision is one transaction, the result of its delivery another.

        It is decided again if the ticket changes meanwhile. Deliveries that are due need a run of their own.
        """
        for _ in range(ROUTE_TRIES):
            routed = self._route_once(ticket, actor)
            if not isinstance(routed, Conflict):
                return routed
            if routed.ticket is None:
                break
            ticket = routed.ticket
        return Outcome(None, Action.HELD, Routed(ticket), None, ticket)

    def _route_once(self, ticket: Ticket, actor: str) -> Outcome[Routed] | Conflict | None:
        """Route a ticket as `route` does; return the conflict if it has changed."""
        if self._store.claimed([ticket.ticket_id]):
            return None
        caller_context = self._shared_run.context_of(actor)
        decider = RoutingDecider(caller_context, self._services.routing_map)
        earlier = self._store.deliveries([ticket.ticket_id]).get(ticket.ticket_id, ())
        answer = self._services.routing_map.answers(self._store, [ticket]).get(ticket.decision_id or "")
        decided, change = decider.decide(
            ticket, earlier, times.now(), again=False, holder=caller_context.run.run_id, answer=answer
        )
        if change is None:
            return None if decided.action == Action.ROUTING else decided
        to_send = decider.to_send(change, earlier)
        with self._group_deliveries.freed_on_error(to_send):
            (conflict,) = caller_context.save([change])
            if conflict is not None:
                return conflict
            ended = self._group_deliveries.send(caller_context, to_send)
        routed = self._group_deliveries.outcome(caller_context, decided, to_send, ended)
        self._shared_run.count(routed)
        return routed

    def process(
        self, draft: TicketDraft, actor: str, identity: str | None, steps: Collection[str], plan: ClassifyPlan
    ) -> Processed:
        """Store a single draft and take a new ticket through further steps, all of it decided in one transaction.

        A known ticket takes no further step, nor does any if the classifier needs a run of its own.
        """
        classifier = self._services.instant_classifier(plan)
        if classifier is None:
            return Processed(self.create(draft, actor, identity))
        caller_context = self._shared_run.context_of(actor)
        decided_new_ticket: DecidedNewTicket | None = None

        def save_single(changes: Sequence[Change]) -> Sequence[Conflict | None]:
            nonlocal decided_new_ticket
            (change,) = changes
            if change.expected_revision or change.ticket is None or change.ticket.status != "new":
                return self._committer.save(changes)
            new_ticket = NewTicket(caller_context, classifier, change, change.ticket, "route" in steps, [])
            with self._group_deliveries.freed_on_error(new_ticket.to_send):
                decided_new_ticket = self._committer.ask(self._new_ticket_decider.prepare, new_ticket)
            return [decided_new_ticket.conflict]

        stored = self._intake(actor).one(draft, identity, save_single)
        if decided_new_ticket is None or stored.action != Action.CREATED:
            return Processed(stored)
        stored = stored._replace(value=decided_new_ticket.change.ticket)
        if decided_new_ticket.routed is None or decided_new_ticket.ended is None:
            self._shared_run.count(stored, decided_new_ticket.classified)
            return Processed(stored, decided_new_ticket.classified)
        routed = self._group_deliveries.outcome(
            caller_context, decided_new_ticket.routed, decided_new_ticket.to_send, decided_new_ticket.ended
        )
        routed_ticket = routed.value.ticket if routed.value else stored.value
        self._shared_run.count(stored, decided_new_ticket.classified, routed)
        return Processed(stored._replace(value=routed_ticket), decided_new_ticket.classified, routed)

    def stop(self) -> None:
        """Begin no more attempts at deliveries of single tickets."""
        self._group_deliveries.stop()

    def close(self) -> None:
        """Complete the single tickets in flight, and end the shared run."""
        self._group_deliveries.close()
        self._shared_run.end()

    def _intake(self, actor: str) -> Intake:
        return Intake(self._store, actor, Verdicts(self._services.categories, actor), None)
