"""Triage on this machine: all use cases as one object, over its store, its classifiers and its destinations."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, count, islice
from operator import attrgetter
from typing import TypeVar

from triage_cli import domain as dm
from triage_cli.ports import Source
from triage_cli.runtime import StopControl
from triage_cli.service import category_renames, explanation, ticket_lookup
from triage_cli.service.customer_erasure import forget
from triage_cli.service.decisions.precedents import end_followers
from triage_cli.service.decisions.recorder import ClassifyRun, DecisionRecorder, to_ask
from triage_cli.service.decisions.verdicts import VerdictRecorder, Verdicts
from triage_cli.service.delivery.additions import seen_rules
from triage_cli.service.delivery.run import DeliveryRun, deliver_due, last_outcome_per_ticket, routed
from triage_cli.service.erased_texts import forget_texts, preview_texts, withdraw_texts
from triage_cli.service.intake.drafts import Intake, Posted, check_against_others
from triage_cli.service.intake.pull import SourcePull
from triage_cli.service.reclassification import ReclassifyRun
from triage_cli.service.runs import (
    HALF_ANSWERED,
    RunContext,
    RunRecorder,
    Signature,
    TicketClaimer,
    recorded_run,
    request_id,
)
from triage_cli.service.services import Services
from triage_cli.service.taught_versions import TaughtVersions
from triage_cli.service.withdrawal import ImportUndo, import_named

BY_ROW = attrgetter("row")


def new_dead_letters(delivery_run: DeliveryRun) -> Iterator[dm.Outcome[dm.Routed]]:
    """Deliver what earlier runs left; yield the tickets of which a delivery became a dead letter, without a row."""
    delivered = deliver_due(delivery_run, count(), stay=0.0)
    for outcome in last_outcome_per_ticket(delivery_run.context.store, delivered, lambda _: ()):
        if outcome.action == dm.Action.UNDELIVERABLE:
            yield outcome._replace(row=None)


class Pipeline:
    """One pass of rows through the steps. `stopped` holds the error that ended it early.

    `interrupted` tells that tickets were not classified.
    """

    def __init__(self, decision_recorder: DecisionRecorder, delivery_run: DeliveryRun | None) -> None:
        self.stopped: list[dm.TriageError] = []
        self.interrupted = False
        self._decision_recorder = decision_recorder
        self._delivery_run = delivery_run

    def process(self, created: Iterable[list[dm.Outcome[dm.Ticket]]]) -> Iterator[list[dm.Outcome[dm.Routed]]]:
        """Classify tickets that were just stored, and route them if there is a run for that.

        Yields outcomes in lists that are sorted by row.
        """
        classified = self._classified(map(_unchanged_as_before, created))
        if self._delivery_run is not None:
            return self._routed(classified, self._delivery_run)
        return ([_unrouted(outcome) for outcome in outcomes] for outcomes in classified)

    def _classified(self, created: Iterable[list[dm.Outcome[dm.Ticket]]]) -> Iterator[list[dm.Outcome[dm.Ticket]]]:
        """Classify the tickets that need it; the others are passed on with the classifier's next answers.

        An error that ends the run is kept in `stopped` until the tickets created so far have been routed.
        """
        passed_on: list[dm.Outcome[dm.Ticket]] = []
        # By ticket id: a ticket that is twice in the input is classified once.
        being_classified: dict[str, list[dm.Outcome[dm.Ticket]]] = {}

        def to_classify() -> Iterator[Sequence[dm.Ticket]]:
            for outcomes in created:
                if self._delivery_run is not None:
                    written = (
                        o.value for o in outcomes if o.value and o.action in (dm.Action.CREATED, dm.Action.UPDATED)
                    )
                    self._delivery_run.add_for_stored(written)
                claimed = self._hold_open(outcomes, being_classified)
                being_classified.update((ticket_id, []) for ticket_id in claimed)
                for outcome in outcomes:
                    waiting_rows = being_classified.get(outcome.value.ticket_id) if outcome.value else None
                    (passed_on if waiting_rows is None else waiting_rows).append(outcome)
                yield list(claimed.values())
                # The input may pause now: ask for the answers of these rows first. Where the next rows change tickets
                # of the last ones, answers that came later would not hold.
                yield [] if outcomes else dm.FlushNow()

        try:
            for answers in self._decision_recorder.decide(to_classify()):
                classified = passed_on[:]
                passed_on.clear()
                for answer in answers:
                    for outcome in being_classified.pop(answer.ticket.ticket_id):
                        row, action, before, _, item, outdated_at, _ = outcome  # `_replace` takes twice as long
                        ticket = answer.value.ticket if answer.value else before
                        classified.append(dm.Outcome(row, action, ticket, answer.error, item, outdated_at))
                yield sorted(classified, key=BY_ROW)
        except dm.TriageError as error:
            self.stopped.append(error)
        self.interrupted = bool(being_classified)
        if left := passed_on + [outcome for waiting in being_classified.values() for outcome in waiting]:
            yield sorted(left, key=BY_ROW)

    def _hold_open(
        self, outcomes: Sequence[dm.Outcome[dm.Ticket]], being_classified: Collection[str]
    ) -> dict[str, dm.Ticket]:
        """Return the tickets of a chunk that this run is to ask about: those it has created, and those it can claim."""
        recorder = self._decision_recorder
        statuses = dm.TO_CLASSIFY | HALF_ANSWERED if recorder.further else dm.TO_CLASSIFY
        is_open = [o for o in outcomes if o.value and o.value.status in statuses and _is_open(o.value)]
        created = {o.value.ticket_id: o.value for o in is_open if o.value and o.action == dm.Action.CREATED}
        others = {o.value.ticket_id for o in is_open if o.value} - created.keys() - set(being_classified)
        undecided = dm.Selection(ids=tuple(others), statuses=statuses)
        claimed = recorder.context.claim(undecided, dm.CHUNK) if others else []
        held = [*created.values(), *(ticket for ticket in claimed if _is_open(ticket))]
        decided = {ticket.ticket_id for ticket in held if ticket.status not in dm.TO_CLASSIFY}
        return {ticket.ticket_id: ticket for ticket in recorder.asking(held, decided) if ticket.asked}

    def _routed(
        self, classified: Iterable[list[dm.Outcome[dm.Ticket]]], run: DeliveryRun
    ) -> Iterator[list[dm.Outcome[dm.Routed]]]:
        """Route the tickets that have a category; the others are passed on with the next deliveries."""
        passed_on: list[dm.Outcome[dm.Routed]] = []
        being_delivered: dict[str, list[dm.Outcome[dm.Ticket]]] = {}

        def to_route() -> Iterator[Sequence[dm.Ticket]]:
            for outcomes in classified:
                routable = []
                for outcome in outcomes:
                    ticket = outcome.value
                    if ticket is not None and ticket.ticket_id in being_delivered:
                        being_delivered[ticket.ticket_id].append(outcome)
                    elif ticket is not None and ticket.status in dm.TO_ROUTE:
                        being_delivered[ticket.ticket_id] = [outcome]
                        routable.append(ticket)
                    else:
                        passed_on.append(_unrouted(outcome))
                yield routable

        for delivered_tickets in run.route(to_route()):
            routed_rows = passed_on[:]
            passed_on.clear()
            for delivered in delivered_tickets:
                routed_rows += (
                    dm.Outcome(
                        before.row,
                        before.action,
                        delivered.value,
                        before.error or delivered.error,
                        before.item,
                        outdated=_still_outdated(before, delivered.value),
                    )
                    for before in being_delivered.pop(delivered.ticket.ticket_id)
                )
            yield sorted(routed_rows, key=BY_ROW)
        if passed_on:
            yield passed_on


def _is_open(ticket: dm.Ticket) -> bool:
    """Return whether a ticket's category or another question about it is to be asked."""
    return ticket.status in dm.TO_CLASSIFY or ticket.unanswered == 1


def _unchanged_as_before(outcomes: Iterable[dm.Outcome[dm.Ticket]]) -> list[dm.Outcome[dm.Ticket]]:
    """Return outcomes of rows, those that changed nothing as such whose tickets are as before: until more is done."""
    return [o._replace(as_before=True) if o.action == dm.Action.UNCHANGED else o for o in outcomes]


def _unrouted(outcome: dm.Outcome[dm.Ticket]) -> dm.Outcome[dm.Routed]:
    """Return the outcome of a row whose ticket is not routed."""
    row, action, ticket, error, item, outdated_at, as_before = outcome
    return dm.Outcome(row, action, dm.Routed(ticket) if ticket else None, error, item, outdated_at, as_before)


def _still_outdated(before: dm.Outcome[dm.Ticket], delivered: dm.Routed | None) -> tuple[str, ...] | None:
    """Return the destinations that keep an earlier text after the delivery; None if the row changed no sent text."""
    if before.outdated is None or delivered is None:
        return before.outdated
    return dm.outdated(dm.of_decisions(delivered.deliveries), delivered.ticket)


T = TypeVar("T")


class LocalTriage:
    """Implements `ports.Triage`; one object per command or request. `command_line` is stored with its runs."""

    def __init__(self, services: Services, actor: str, command_line: str = "") -> None:
        self._services = services
        self._store = services.store
        self._actor = actor
        self._command_line = command_line
        self._verdicts = Verdicts(services.questions, actor)
        self._current_names = category_renames.current_names(services.categories)
        self._stop_control = StopControl()
        self._interrupted = False  # a stop left some of the input unread
        self._recorder: RunRecorder | None = None  # of the last run
        self._input_part = dm.WHOLE  # of the input of the last run
        self._import_id = ""  # of the imports of this command, which are one
        self._other_tickets_guard = dm.OtherTicketsGuard()

    def stop(self) -> None:
        self._stop_control.stop()

    def exited(self, code: int) -> None:
        """Record the exit code of the command, if it differs from its run's."""
        if self._recorder is not None:
            self._recorder.exited(code)

    @property
    def run_id(self) -> str:
        """Return the id of the run that was begun last; empty if there is none."""
        return self._recorder.context.run.run_id if self._recorder else ""

    @property
    def spent(self) -> float:
        return self._recorder.context.budget.spent if self._recorder else 0.0

    @property
    def paid(self) -> float:
        """Return what this request has cost over all its repetitions, in USD."""
        return self._recorder.context.budget.spent_by_command - self._input_part.spent if self._recorder else 0.0

    @property
    def met(self) -> tuple[int, int]:
        """Return how many known ids were in the input so far, and how many of them would get another ticket's text."""
        return self._other_tickets_guard.met, self._other_tickets_guard.others

    @contextmanager
    def _recorded_run(self, kind: str, part: dm.InputPart = dm.WHOLE) -> Iterator[RunRecorder]:
        """Begin a run; before it stores anything, rules are seen and category renames carried out."""
        self._input_part = part = part._replace(import_id=part.import_id or self._import_id)
        self._other_tickets_guard = dm.OtherTicketsGuard(part.met, part.others, part.rows)
        stop, served = self._stop_control, self._services.served
        with recorded_run(self._store, kind, self._actor, self._command_line, stop, part, served=served) as recorder:
            self._recorder = recorder
            self._import_id = recorder.context.run.import_id or self._import_id
            seen_rules(self._store, self._services.routing_map)
            self._apply_renames(recorder.context.run.run_id)
            end_followers(self._store, self._verdicts.required, self._actor, recorder.context.lease)
            yield recorder

    def _apply_renames(self, run_id: str | None) -> None:
        questions, rules = self._services.questions, self._services.routing_map.rules
        category_renames.apply_renames(self._store, questions, rules, self._actor, run_id)

    def create(
        self,
        drafts: Iterable[dm.TicketDraft | dm.Rejected],
        part: dm.InputPart = dm.WHOLE,
        *,
        same_tickets: bool = False,
        judged: Callable[[], None] = lambda: None,
    ) -> Iterator[dm.Outcome[dm.Ticket]]:
        """Store drafts; one outcome each, in order. `judged` is called once the guard has passed all of them."""
        with self._recorded_run("create", part) as recorder:
            intake = self._intake(recorder.context.run.run_id, same_tickets=same_tickets)
            yield from recorder.counted(self._store_drafts(intake, self._until_stopped(drafts), judged))

    def _store_drafts(
        self, intake: Intake, drafts: Iterator[dm.TicketDraft | dm.Rejected], judged: Callable[[], None]
    ) -> Iterator[Sequence[dm.Outcome[dm.Ticket]]]:
        for draft in drafts:
            if isinstance(draft, dm.Rejected) or draft.origin in ("row", "mail"):
                yield from intake.chunks(chain([draft], drafts), judged)
            else:
                name = f"{self._input_part.parcel}:{draft.row}" if self._input_part.parcel else None
                yield intake.posted([Posted(draft, name, Signature(self._actor, request_id.get()))])

    def check(self, drafts: Iterable[dm.TicketDraft | dm.Rejected]) -> None:
        """Raise `InputError` if an input seems to contain other tickets under known ids; nothing is stored."""
        check_against_others(self._store, self._until_stopped(drafts))

    def _intake(self, run_id: str, *, same_tickets: bool, hold: bool = False) -> Intake:
        guard = None if same_tickets else self._other_tickets_guard
        return Intake(self._store, self._actor, self._verdicts, run_id, self._services.fields, hold=hold, guard=guard)

    def _until_stopped(self, drafts: Iterable[T]) -> Iterator[T]:
        for draft in drafts:
            if self._stop_control.stopping:
                self._interrupted = True
                return
            yield draft

    def pull(
        self, source: Source, plan: dm.PullPlan, tell: Callable[[str], None], keep: Callable[[object], None]
    ) -> Iterator[dm.Outcome[dm.Ticket]]:
        """Store what is new at a source. It is for the user of this machine, so it is not in `ports.Triage`.

        `tell` is called once for each unknown category that a person has set in the source. `keep` gets each rejected
        item, before the position behind it is stored.
        """
        with self._recorded_run("pull") as recorder:
            corrections, filed_items = self._services.corrections(tell), self._services.filed_items(tell)
            verdicts = Verdicts(self._services.questions, source.name)
            source_pull = SourcePull(
                recorder.context, source, verdicts, self._services.fields, plan, corrections, filed_items, tell, keep
            )
            yield from recorder.counted(source_pull.chunks())

    def classify(self, selection: dm.Selection, plan: dm.ClassifyPlan) -> Iterator[dm.Outcome[dm.Decided]]:
        """Classify the selected tickets, or all that are new or failed."""
        with self._recorded_run("classify") as recorder:
            if self._services.is_idle(selection, plan):
                return
            decision_recorder = self._services.recorder_with_budget(recorder.context, plan)
            classify_run = ClassifyRun(decision_recorder, recorder)
            batch_collector = self._services.batches(plan, decision_recorder) if plan.batch else None
            if batch_collector is None:
                yield from classify_run.decided(selection, decision_recorder.decide)
            else:
                yield from batch_collector.classified(selection, classify_run, recorder)
                batch_collector.raise_trouble()
            self._stop_control.check_deadline(done=classify_run.completed)

    def to_ask(self, selection: dm.Selection, plan: dm.ClassifyPlan) -> Iterator[dm.Ticket]:
        """Yield the tickets that `classify` would ask about, in its order, without claiming them."""
        unrecorded = RunContext(
            self._store, dm.Run("", "classify", self._actor, "", dm.times.now()), self._stop_control
        )
        return to_ask(self._services.recorder(unrecorded, plan), selection)

    def route(self, selection: dm.Selection, plan: dm.RoutePlan) -> Iterator[dm.Outcome[dm.Routed]]:
        """Route tickets by the routing map, then deliver what is due."""
        with (
            self._recorded_run("route") as recorder,
            closing(self._delivery_run(recorder, retry_dead=plan.retry_dead)) as delivery_run,
        ):
            if selection.ids is None:
                delivery_run.add_pending()
            yield from recorder.counted([outcome] for outcome in routed(delivery_run, selection, plan))

    def preview_routes(self, selection: dm.Selection, plan: dm.RoutePlan) -> Iterator[dm.RoutePreview]:
        """Yield where `route` would send each ticket now, in its order; nothing is claimed, stored or sent."""
        if selection.ids is None:
            statuses = dm.TO_ROUTE | {"routing"} | ({"undeliverable"} if plan.retry_dead else set())
            selection = selection._replace(statuses=selection.statuses or statuses, order="urgent")
        categories, routing_map = self._services.categories, self._services.routing_map
        previews = (
            explanation.route_preview(self._whole_history(ticket.ticket_id), categories, routing_map, plan)
            for ticket in self.find(selection._replace(limit=None))
        )
        # Tickets that wait for a later attempt are none of `route`, unless they are named.
        taken_up = (p for p in previews if selection.ids is not None or p.rule is None or p.new or p.due)
        return islice(taken_up, selection.limit)

    def decide_routes(self, selection: dm.Selection) -> Iterator[dm.Outcome[dm.Routed]]:
        """Decide where tickets go, and leave the deliveries to the next `route`, so that nothing is waited for."""
        with self._recorded_run("route") as recorder, closing(self._delivery_run(recorder)) as delivery_run:
            claimer = TicketClaimer(recorder.context)
            claimed = ([t for t in chunk if not claimer.lost(t)] for chunk in claimer.chunks(selection, dm.TO_ROUTE))
            yield from recorder.counted(map(delivery_run.decide_routes, claimed))

    def _delivery_run(self, recorder: RunRecorder, *, retry_dead: bool = False) -> DeliveryRun:
        return DeliveryRun(recorder.context, self._services.routing_map, retry_dead=retry_dead)

    def run(
        self,
        drafts: Iterable[dm.TicketDraft | dm.Rejected],
        plan: dm.ClassifyPlan = dm.ClassifyPlan(),  # noqa: B008 (immutable)
        part: dm.InputPart = dm.WHOLE,
        *,
        routes: bool = True,
        same_tickets: bool = False,
        judged: Callable[[], None] = lambda: None,
    ) -> Iterator[dm.Outcome[dm.Routed]]:
        """Create, classify and route in one pass; if it `routes` not, nothing is sent.

        `judged` is called once the guard has passed all drafts.
        """
        with self._recorded_run("run", part) as recorder:
            intake = self._intake(recorder.context.run.run_id, same_tickets=same_tickets, hold=True)
            stored_chunks = intake.chunks(self._until_stopped(drafts), judged)
            decision_recorder = self._services.recorder_with_budget(recorder.context, plan)
            with closing(self._delivery_run(recorder)) as delivery_run:
                if routes:
                    delivery_run.add_pending()
                    yield from recorder.counted([outcome] for outcome in new_dead_letters(delivery_run))
                pipeline = Pipeline(decision_recorder, delivery_run if routes else None)
                yield from recorder.counted(pipeline.process(stored_chunks))
            for error in pipeline.stopped:
                raise error
            self._stop_control.check_deadline(done=not (self._interrupted or pipeline.interrupted))

    def forget(self, customer_id: str) -> Iterator[dm.Outcome[dm.Routed]]:
        taught = TaughtVersions(self._services.registry(), dm.Action.FORGOTTEN)
        with self._recorded_run("forget") as recorder:
            forgotten = forget(recorder.context, customer_id, self._services.routing_map.longest_attempt)
            yield from recorder.counted([outcome] for outcome in taught.counted(forgotten))
            self._warn(forget_texts(recorder.context, customer_id, taught))
            self._warn(taught.notes())
            end_followers(self._store, self._verdicts.required, self._actor, recorder.context.lease)

    def _warn(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self._services.warn(sentence)

    def imported(self, name: str) -> tuple[dm.Run, ...]:
        return import_named(self._store, name, self._actor, served=self._services.served)

    def undo(self, name: str, *, dry_run: bool = False) -> Iterator[dm.Outcome[dm.Routed]]:
        runs = self.imported(name)
        taught = TaughtVersions(self._services.registry(), dm.Action.WITHDRAWN)
        if dry_run:
            yield from taught.counted(ImportUndo(self._store, runs).outcomes())
            self._warn(preview_texts(self._store, runs, taught))
            self._warn(taught.previews())
            return
        with self._recorded_run("undo") as recorder:
            import_undo = ImportUndo(self._store, runs, recorder.context, self._services.routing_map.longest_attempt)
            withdrawn: list[str] = []
            for outcome in taught.counted(import_undo.outcomes()):
                recorder.add([outcome])
                if outcome.action == dm.Action.WITHDRAWN and outcome.value:
                    withdrawn.append(outcome.value.ticket.ticket_id)
                yield outcome
            self._warn(withdraw_texts(recorder.context, runs, withdrawn, taught))
            self._warn(taught.end(recorder.context))
            end_followers(self._store, self._verdicts.required, self._actor, recorder.context.lease)

    def reclassify(self, selection: dm.Selection, plan: dm.ReclassifyPlan) -> Iterator[dm.Outcome[dm.Flip]]:
        """Ask about decided tickets again; report answers that differ, and apply all or none, as the plan says."""
        self._check_questions({plan.question} - {dm.CATEGORY})
        with self._recorded_run("reclassify") as recorder, closing(self._delivery_run(recorder)) as delivery_run:
            # `force` overrules verdicts, and still reuses stored answers.
            classify_plan = plan.classify._replace(force=False)
            decision_recorder = self._services.recorder_with_budget(recorder.context, classify_plan, plan.question)
            batch_collector = None
            if classify_plan.batch:
                batch_collector = self._services.batches(classify_plan, decision_recorder, proposals=True)
            reclassify_run = ReclassifyRun(decision_recorder, plan, self._services.hysteresis, batch_collector)
            selection = self._in_known_names(selection)
            for outcomes in batch_collector.collect() if batch_collector else ():
                recorder.add(outcomes)
            yield from recorder.counted(reclassify_run.flips(selection, delivery_run.send_on))
            if batch_collector is not None:
                batch_collector.raise_trouble()
            self._stop_control.check_deadline(done=reclassify_run.completed)

    def give_verdicts(self, verdicts: Iterable[dm.VerdictDraft]) -> Iterator[dm.Outcome[dm.Ticket]]:
        """Set categories by hand, or clear them; one outcome each, in order. A single verdict has no run."""
        drafts = iter(verdicts)
        first = list(islice(drafts, 2))
        if len(first) < 2:
            self._apply_renames(None)
            verdict_recorder = VerdictRecorder(self._store, self._verdicts, self._actor, None)
            yield from chain.from_iterable(verdict_recorder.record(first))
            end_followers(self._store, self._verdicts.required, self._actor)
            return
        with self._recorded_run("verdict") as recorder:
            verdict_recorder = VerdictRecorder(self._store, self._verdicts, self._actor, recorder.context.lease)
            yield from recorder.counted(verdict_recorder.record(self._until_stopped(chain(first, drafts))))
            end_followers(self._store, self._verdicts.required, self._actor, recorder.context.lease)

    def categories(self) -> tuple[dm.Category, ...]:
        return self._services.categories

    def questions(self) -> tuple[dm.Question, ...]:
        return self._services.questions

    def last_reading(self, header: str) -> dm.Reading | None:
        return self._store.readings.last(header)

    def keep_reading(self, header: str, reading: dm.Reading) -> None:
        self._store.readings.keep(header, reading)

    def runs(self, limit: int | None) -> Iterator[dm.Run]:
        return self._store.runs.latest(limit)

    def find(self, selection: dm.Selection) -> Iterator[dm.Ticket]:
        selection = self._in_known_names(selection)
        if selection.order != "review":
            if ":" in selection.after:
                raise dm.UsageError("after is a place of another order", hint="take the link to the next page as it is")
            return map(self._shown, category_renames.find(self._store, selection, self._current_names))
        return (ticket for ticket, _ in islice(self._review_queue(selection), selection.limit))

    def review_page(self, selection: dm.Selection) -> dm.ReviewPage:
        selection = self._in_known_names(selection)
        return ticket_lookup.review_page(self._review_queue(selection), selection.limit or 0)

    def _in_known_names(self, selection: dm.Selection) -> dm.Selection:
        """Return a selection with what a person typed under the names that there are. Raises `UsageError`."""
        self._check_questions(answer.partition("=")[0] for answer in selection.answers)
        selection = category_renames.in_current_names(selection, self._services.categories, self._current_names)
        return category_renames.with_stored_answers(selection, self._services.questions, self._store)

    def _review_queue(self, selection: dm.Selection) -> Iterator[tuple[dm.Ticket, str]]:
        """Yield tickets in the order of review under present names, each with the place behind it."""
        labels = frozenset((*self._current_names, *(c.name for c in self._services.categories)))
        waiting = ticket_lookup.review_queue(self._store, selection, labels, self._services.ranked)
        return (
            (self._shown(category_renames.with_current_names(ticket, self._current_names)), place)
            for ticket, place in waiting
        )

    def _check_questions(self, names: Iterable[str]) -> None:
        """Raise `UsageError` for a question that tickets are not asked."""
        if unknown := [name for name in names if name not in self._verdicts.further]:
            questions = ", ".join(self._verdicts.further)
            hint = f"the questions are {questions}" if questions else "the configuration has none"
            raise dm.UsageError(f'no question "{unknown[0]}"', hint=hint)

    def _shown(self, ticket: dm.Ticket) -> dm.Ticket:
        """Return a ticket with an answer to each question that tickets are asked now."""
        return dm.with_questions(ticket, self._verdicts.further)

    def resolve(self, name: str) -> str:
        return ticket_lookup.ticket_named(self._store, name).ticket_id

    def history(self, name: str) -> dm.History:
        return self._whole_history(name)._replace(ended_early=None, holder=None)

    def _whole_history(self, name: str) -> dm.History:
        """Return a ticket's history with the runs that its explanation names; runs are not for every reader."""
        history = self._store.history(self.resolve(name))
        return history._replace(
            ticket=self._shown(category_renames.with_current_names(history.ticket, self._current_names))
        )

    def why(self, name: str) -> dm.Why:
        history = self._whole_history(name)
        history = history._replace(shares_name=ticket_lookup.shares_name(self._store, history.ticket))
        services, required = self._services, self._verdicts.required
        routing_map, is_trusted = services.routing_map, services.is_trusted
        return explanation.why(history, services.categories, required, routing_map, self._store, is_trusted)

    def similar(self, name: str, query: dm.SimilarQuery) -> list[dm.SimilarTicket]:
        about = ticket_lookup.ticket_named(self._store, name)
        similarities = dict(self._store.words.similar(about, query))
        tickets = self._store.find(dm.Selection(ids=tuple(similarities)))
        named = (category_renames.with_current_names(ticket, self._current_names) for ticket in tickets)
        similar = [
            dm.SimilarTicket(ticket, dm.over_whole_texts(similarities[ticket.ticket_id], about.text, ticket.text))
            for ticket in named
            if not ticket.is_erased
        ]
        return sorted(similar, key=lambda each: -each.similarity)

    def events(self, query: dm.EventQuery) -> Iterator[dm.LoggedEvent]:
        return self._store.log.events(query)

    def stats_by(self, query: dm.StatsQuery) -> list[dm.StatsGroup]:
        self._check_questions(key for key in query.by if key not in dm.STATS_KEYS)
        query = query._replace(where=self._in_known_names(query.where))
        return category_renames.stats_by(self._store, query, self._services.categories, self._current_names)

    def overruled(self, since: str | None, until: str | None) -> list[dm.Overruled]:
        return dm.overruled_by_week(
            self._store.answers.judged_days(since, until), self._current_names, dm.Levels.of(self._services.categories)
        )

    def audit_head(self) -> dm.Head:
        return self._store.log.head()

    def labelled_texts(self, query: dm.TextQuery) -> Iterator[dm.Labelled]:
        return self._store.labelled_texts.listed(query)

    def stats(self) -> dm.Stats:
        stats = self._store.stats()
        by_category = category_renames.counts_in_current_names(stats.by_category, self._current_names)
        return stats._replace(by_category=by_category)
