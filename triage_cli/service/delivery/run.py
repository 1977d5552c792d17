"""Routes tickets and sends due deliveries: a routing decision is saved first, a ticket's last outcome counts."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count

from triage_cli import domain as dm
from triage_cli.ports import Store
from triage_cli.runtime import lease_clock
from triage_cli.service.delivery.additions import Additions
from triage_cli.service.delivery.attempts import (
    AttemptRecorder,
    AttemptResult,
    RetryPolicy,
    UnfinishedTicket,
    due_later,
    joint_error,
    standing_error,
    with_offline_error,
)
from triage_cli.service.delivery.queue import LONGEST_WAIT, QUEUE_LIMIT, Dispatcher, QueueResults
from triage_cli.service.delivery.routing import RoutingDecider, RoutingMap
from triage_cli.service.runs import RunContext, TicketClaimer

# Seconds between two queries for due deliveries while others are being attempted.
DUE_QUERY_SECONDS = 1.0
# Seconds for which first attempts at additions are waited for.
LONGEST_ADDITION_WAIT = 20.0


class DeliveryRun:
    """Routes and delivers for one run. Close it, so that it closes the destinations that it has opened."""

    def __init__(self, context: RunContext, routing_map: RoutingMap, *, retry_dead: bool = False) -> None:
        self.context = context
        self._store = context.store
        self._routing_map = routing_map
        self._decider = RoutingDecider(context, routing_map, retry_dead=retry_dead)
        self._attempt_recorder = AttemptRecorder(context)
        self._additions = Additions(context, routing_map)
        self._added_ids: set[str] = set()  # additions whose first attempt is waited for
        self._finished_meanwhile: list[dm.Outcome[dm.Routed]] = []  # tickets that were finished while it was
        self._failed_additions: dict[str, None] = {}  # why additions were not accepted
        # When deliveries that rate limits refuse for a short while are due, in seconds since 1970.
        self.limits_end_at = 0.0
        self._unfinished_tickets: dict[str, UnfinishedTicket] = {}
        switched_off = self._store.deliveries.switched_off()
        if retry_dead:
            for destination_name in switched_off:
                self._store.deliveries.switch(destination_name, off=False)
        self._dispatcher = Dispatcher(
            routing_map.destination,
            frozenset() if retry_dead else switched_off,
            breakers=routing_map.circuits,
            check=self._store.check_room,
            begin=self._begun,
        )

    def close(self) -> None:
        """Close the destinations of the run; attempts in flight are cancelled, and due again once the run has ended."""
        self._dispatcher.close()
        for sentence in self._failed_additions:
            self._routing_map.tell(f"warning: a delivery beside the routing map was not accepted: {sentence}")
        self._failed_additions.clear()
        self._additions.tell()

    def _begun(self, to_begin: Sequence[dm.OutgoingDelivery]) -> Sequence[dm.OutgoingDelivery]:
        """Mark attempts as begun, and return them: those that nothing has made wrong since they were decided on."""
        at = lease_clock()
        begun_ids = self._store.deliveries.begin(self.context.lease, to_begin)
        held = self.context.hold_since(at).lasts
        if len(begun_ids) < len(to_begin):
            self.take_note_of_switched_off()
        return [outgoing._replace(held=held) for outgoing in to_begin if outgoing.delivery.delivery_id in begun_ids]

    def take_note_of_switched_off(self) -> None:
        """Send nothing more to destinations that were switched off meanwhile, and again to those switched on."""
        self._dispatcher.off = self._store.deliveries.switched_off()

    def stop_sending(self) -> None:
        """Begin no more attempts: what waits is parked."""
        self._dispatcher.stop()

    def abandon(self, error: dm.TriageError) -> list[dm.Outcome[dm.Routed]]:
        """Give up what is being sent because of an error; return the decisions on these tickets with the error."""
        abandoned = [unfinished.outcome._replace(error=error) for unfinished in self._unfinished_tickets.values()]
        self._unfinished_tickets.clear()
        return abandoned

    def wait_for_nothing(self) -> None:
        """Let refusals by a rate limit count as failures, instead of waiting for its end."""
        self._dispatcher.waits = False

    def route(
        self, chunks: Iterable[Sequence[dm.Ticket]], *, again: bool = False
    ) -> Iterator[list[dm.Outcome[dm.Routed]]]:
        """Decide where tickets go, and deliver; an outcome's `item` is the ticket as given, and it has no row.

        A ticket's outcome comes after the first attempt at each of its deliveries, in whatever order these end. An
        empty list means that no ticket is finished yet.
        """
        for chunk in chunks:
            yield self.begin(chunk, again=again) + self.finished()
            while self._dispatcher.full:
                yield self.finished()
        while self._dispatcher.open or self._finished_meanwhile:
            yield self.finished()

    def add_for_stored(self, tickets: Iterable[dm.Ticket]) -> None:
        """Send what rules before the classification add for tickets that were just stored or changed."""
        self._send_additions(self._additions.of_stored(tickets))

    def add_pending(self) -> None:
        """Send what rules before the classification and escalations add now, for all tickets."""
        for added in self._additions.pending():
            self._send_additions(added)

    def _send_additions(self, added: Sequence[dm.OutgoingDelivery]) -> None:
        """Send additions, and wait for their first attempts for a while: a classification may take minutes."""
        for outgoing in added:
            self._dispatcher.put(self._with_earlier(outgoing.delivery.destination, [outgoing]))
        self._added_ids.update(outgoing.delivery.delivery_id for outgoing in added)
        wait_until = self.context.stop.clock() + LONGEST_ADDITION_WAIT
        while self._added_ids and self.context.stop.clock() < wait_until:
            self._finished_meanwhile = self.finished()

    def begin(self, tickets: Sequence[dm.Ticket], *, again: bool = False) -> list[dm.Outcome[dm.Routed]]:
        """Decide where tickets go, and begin to send; return the outcomes of those that are not sent anywhere now."""
        outcomes, to_send = self._decide(tickets, again=again, holder=self.context.run.run_id)
        deliveries_left = Counter(outgoing.ticket.ticket_id for outgoing in to_send)
        finished = []
        for outcome in outcomes:
            left = deliveries_left[outcome.value.ticket.ticket_id] if outcome.value else 0
            if outcome.value and left:
                self._unfinished_tickets[outcome.value.ticket.ticket_id] = UnfinishedTicket(outcome, left)
            else:
                finished.append(with_offline_error(outcome, self.offline))
        self._dispatcher.put(to_send)
        return finished

    def send_on(self, tickets: Iterable[dm.Ticket]) -> Iterator[dm.Ticket]:
        """Route tickets, and yield them as they are after their first deliveries."""
        for outcomes in self.route(dm.bounded(tickets)):
            yield from (o.value.ticket for o in outcomes if o.value)

    @property
    def offline(self) -> frozenset[str]:
        """Return the destinations whose deliveries wait for the network."""
        return self._routing_map.offline

    @property
    def unavailable_destinations(self) -> frozenset[str]:
        """Return the destinations that get nothing for now: those that wait for the network, and those paused."""
        return self.offline.union(self._dispatcher.paused())

    def decide_routes(self, chunk: Sequence[dm.Ticket]) -> list[dm.Outcome[dm.Routed]]:
        """Decide where tickets go, and save the deliveries as due now, for another run to send."""
        return self._decide(chunk, again=False, holder=None)[0]

    def due(self, ids: Sequence[str] | None = None) -> Iterator[list[AttemptResult]]:
        """Attempt the deliveries that are due, of all tickets or of these, also those that fall due meanwhile.

        Destinations that are paused are left out.
        """
        due_destinations, queried_at = self._pending_destinations(ids), time.monotonic()
        while True:
            if time.monotonic() - queried_at > DUE_QUERY_SECONDS and not self.context.stop.stopping:
                due_destinations, queried_at = self._pending_destinations(ids), time.monotonic()
            for destination_name in list(due_destinations):
                room = self._dispatcher.room(destination_name)
                if self.context.stop.stopping or not room:
                    due_destinations.remove(destination_name)
                elif room >= QUEUE_LIMIT // 2:
                    limit = min(room, dm.NAMED)
                    to_send = self._store.deliveries.due(destination_name, self.context.lease, limit, ids=ids)
                    self._dispatcher.put(self._with_earlier(destination_name, to_send))
                    if len(to_send) < limit:
                        due_destinations.remove(destination_name)
            if not due_destinations and not self._dispatcher.open:
                return
            collected = self._collect()
            parked = (result for queue_results in collected for result in self._parked_results(queue_results))
            yield list(self._owed((*self._record(collected), *parked)))

    def _with_earlier(
        self, destination_name: str, to_send: Sequence[dm.OutgoingDelivery]
    ) -> Iterator[dm.OutgoingDelivery]:
        """Yield deliveries, with the earlier ones of their tickets if the destination's requests depend on them."""
        if destination_name not in self._routing_map.history_dependent:
            yield from to_send
            return
        ticket_deliveries = self._store.deliveries.of([outgoing.ticket.ticket_id for outgoing in to_send])
        for outgoing in to_send:
            yield self._decider.with_past(outgoing, ticket_deliveries[outgoing.ticket.ticket_id])

    def _pending_destinations(self, ids: Sequence[str] | None) -> list[str]:
        return [name for name in self._store.deliveries.pending_destinations(ids) if name not in self.offline]

    def _collect(self) -> list[QueueResults]:
        self.context.heartbeat()
        if self.context.stop.stopping:
            self._dispatcher.stop()
        collected = self._dispatcher.collect()
        if self._added_ids:
            attempted = chain.from_iterable((*(o.outgoing for o in each.outcomes), *each.parked) for each in collected)
            self._added_ids.difference_update(outgoing.delivery.delivery_id for outgoing in attempted)
        for queue_results in collected:
            if parked_ids := [outgoing.delivery.delivery_id for outgoing in queue_results.parked]:
                because = queue_results.parked_because
                self._store.deliveries.let_go(parked_ids, self.context.lease, because.sentence() if because else None)
        return collected

    def _record(self, collected: Sequence[QueueResults]) -> list[AttemptResult]:
        """Save what was attempted, of all destinations at once."""
        outcomes = [outcome for queue_results in collected for outcome in queue_results.outcomes]
        if not outcomes:
            return []
        policies = {
            outcome.outgoing.delivery.destination: RetryPolicy.of(queue_results.destination)
            for queue_results in collected
            for outcome in queue_results.outcomes[:1]
        }
        results = list(self._attempt_recorder.record(outcomes, policies))
        for result in results:
            if isinstance(result.error, dm.DeliveryError) and result.error.limited:
                due = (d.due_at for d in result.deliveries if d.delivery_id == result.delivery_id and d.paced)
                short = (due_at for due_at in due if due_at <= time.time() + LONGEST_WAIT)
                self.limits_end_at = max(self.limits_end_at, *short, 0.0)
        return results

    def _owed(self, results: Iterable[AttemptResult]) -> Iterator[AttemptResult]:
        """Yield the results of deliveries that decisions owe; of the others, only failures are told."""
        for result in results:
            if not result.is_addition:
                yield result
            elif result.error is not None:
                self._failed_additions[result.error.sentence()] = None

    @staticmethod
    def _parked_results(results: QueueResults) -> list[AttemptResult]:
        """Return the results of parked deliveries, if an error is the reason."""
        if results.parked_because is None:
            return []
        return [
            AttemptResult(outgoing.ticket, (outgoing.delivery,), results.parked_because, outgoing.delivery.delivery_id)
            for outgoing in results.parked
        ]

    def finished(self) -> list[dm.Outcome[dm.Routed]]:
        """Return the outcomes of the tickets whose deliveries have all been attempted or parked."""
        finished, self._finished_meanwhile = self._finished_meanwhile, []
        collected = self._collect()
        ended: list[tuple[str, AttemptResult | None, tuple[dm.Failure, ...]]]
        ended = [(result.ticket.ticket_id, result, result.failures) for result in self._owed(self._record(collected))]
        ended += [
            (o.ticket.ticket_id, None, (dm.Failure(o.delivery.delivery_id, because),) if because else ())
            for _, _, parked, because in collected
            for o in parked
            if not o.delivery.addition
        ]
        for ticket_id, result, failures in ended:
            unfinished = self._unfinished_tickets.get(ticket_id)
            if unfinished is not None and unfinished.add_result(result, failures):
                finished.append(with_offline_error(self._unfinished_tickets.pop(ticket_id).outcome, self.offline))
        return finished

    def _decide(
        self, tickets: Sequence[dm.Ticket], *, again: bool, holder: str | None
    ) -> tuple[list[dm.Outcome[dm.Routed]], list[dm.OutgoingDelivery]]:
        at = dm.times.now()
        self._additions.before_routing(tickets)
        existing = self._store.deliveries.of([t.ticket_id for t in tickets])
        answers = self._routing_map.answers(self._store, tickets)
        outcomes: list[dm.Outcome[dm.Routed]] = []
        changes: list[dm.Change] = []
        for ticket in tickets:
            deliveries, answer = existing.get(ticket.ticket_id, ()), answers.get(ticket.decision_id or "")
            outcome, change = self._decider.decide(ticket, deliveries, at, again=again, holder=holder, answer=answer)
            outcomes.append(outcome)
            if change is not None:
                changes.append(change)
        refused = {
            change.event.ticket_id: conflict
            for change, conflict in zip(changes, self.context.save(changes), strict=True)
            if conflict is not None
        }
        to_send = [
            outgoing
            for change in changes
            if change.event.ticket_id not in refused
            for outgoing in self._decider.to_send(change, existing.get(change.event.ticket_id or "", ()))
        ]
        return [_or_held(outcome, refused.get(outcome.ticket.ticket_id)) for outcome in outcomes], to_send


def _or_held(outcome: dm.Outcome[dm.Routed], conflict: dm.Conflict | None) -> dm.Outcome[dm.Routed]:
    """Return the outcome of a decision, which was not saved if there is a conflict."""
    if conflict is None:
        return outcome
    return outcome._replace(action=dm.Action.HELD, value=dm.Routed(conflict.ticket or outcome.ticket), error=None)


def routed(delivery_run: DeliveryRun, selection: dm.Selection, plan: dm.RoutePlan) -> Iterator[dm.Outcome[dm.Routed]]:
    """Route the selected tickets, then deliver what is due, for as long as `plan.stay`; rows count from 0."""
    statuses = dm.TO_ROUTE | {"undeliverable", "routing"} if plan.retry_dead else dm.TO_ROUTE
    rows: dict[str, int] = {}  # by ticket
    row_numbers = count()

    def claimed() -> Iterator[Sequence[dm.Ticket]]:
        for chunk in TicketClaimer(delivery_run.context).chunks(selection, statuses):
            rows.update((ticket.ticket_id, next(row_numbers)) for ticket in chunk)
            yield chunk

    if not plan.stay:
        delivery_run.wait_for_nothing()
    outcomes = chain.from_iterable(delivery_run.route(claimed(), again=plan.again))
    numbered = (outcome._replace(row=rows.pop(outcome.ticket.ticket_id)) for outcome in outcomes)

    def deliver_later(later: Sequence[str]) -> Iterator[dm.Outcome[dm.Routed]]:
        return deliver_due(delivery_run, row_numbers, plan.stay, None if selection.ids is None else later)

    return last_outcome_per_ticket(delivery_run.context.store, numbered, deliver_later)


def last_outcome_per_ticket(
    store: Store,
    outcomes: Iterable[dm.Outcome[dm.Routed]],
    deliver: Callable[[Sequence[str]], Iterable[dm.Outcome[dm.Routed]]],
) -> Iterator[dm.Outcome[dm.Routed]]:
    """Yield one outcome per ticket; of a ticket with pending deliveries, the last one, at the end.

    `deliver` attempts those deliveries. It is called once, with the ids of their tickets.
    """
    later_tickets: dict[str, tuple[int | None, tuple[dm.Failure, ...], dm.TriageError | None]] = {}

    def outcomes_then_later() -> Iterator[dm.Outcome[dm.Routed]]:
        yield from outcomes
        yield from deliver(tuple(later_tickets))

    for outcome in outcomes_then_later():
        ticket_id = outcome.ticket.ticket_id
        row, earlier, error = later_tickets.pop(ticket_id, (outcome.row, (), None))
        if outcome.action == dm.Action.ROUTING:
            failures = outcome.value.failures if outcome.value else ()
            later_tickets[ticket_id] = row, (*earlier, *failures), error if failures else outcome.error
        else:
            yield outcome._replace(row=row, error=standing_error(outcome, earlier))
    for ticket_ids in dm.chunked(later_tickets, dm.NAMED):
        deliveries = store.deliveries.of(ticket_ids)
        for ticket in store.find(dm.Selection(ids=tuple(ticket_ids))):
            # An error without failures: the network is switched off.
            row, earlier, error = later_tickets[ticket.ticket_id]
            undelivered = dm.Routed(ticket, deliveries.get(ticket.ticket_id, ()))
            outcome = dm.Outcome(row, dm.Action(ticket.status), undelivered, error, ticket)
            failed_before = joint_error(due_later(undelivered.deliveries))
            yield outcome._replace(error=standing_error(outcome, earlier) or failed_before)


def deliver_due(
    delivery_run: DeliveryRun, row_numbers: Iterator[int], stay: float, ids: Sequence[str] | None = None
) -> Iterator[dm.Outcome[dm.Routed]]:
    """Deliver what is due, of all tickets or of these, and wait for what falls due within `stay` seconds."""
    run_context = delivery_run.context
    stay_until = run_context.stop.clock() + stay  # not by the time of day, which may be set back
    while not run_context.stop.stopping:
        queried_at, has_delivered = time.time(), False
        for results in delivery_run.due(ids):
            for result in results:
                has_delivered = True
                routed = dm.Routed(result.ticket, result.deliveries, result.attempts, result.failures)
                outcome = dm.Outcome(
                    next(row_numbers), dm.Action(result.ticket.status), routed, result.error, result.ticket
                )
                yield with_offline_error(outcome, delivery_run.offline)
        due_at = run_context.store.deliveries.next_due(ids, but=tuple(delivery_run.unavailable_destinations))
        # Due already, but another run holds it.
        held_elsewhere = due_at is not None and due_at <= queried_at and not has_delivered
        if due_at is None or held_elsewhere:
            return
        is_limited = stay and due_at <= delivery_run.limits_end_at  # for at most a minute
        if not is_limited and run_context.stop.clock() + due_at - time.time() > stay_until:
            return
        run_context.stop.wait(max(0.0, due_at - time.time()))
