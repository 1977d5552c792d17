"""The services that the use cases need: the adapters, and what makes the parts of one run from them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Batcher, Classifier, ModelRegistry, Ranking, Store
from triage_cli.service.batches import BatchCollector, open_batch_collector
from triage_cli.service.decisions.category_check import Unchecked
from triage_cli.service.decisions.recorder import DecisionRecorder, selections_to_ask
from triage_cli.service.delivery.routing import RoutingMap
from triage_cli.service.intake.corrections import Corrections, FieldSetters, FiledItems, LostDeliveries, NearnessOf
from triage_cli.service.runs import RunContext


class Services(NamedTuple):
    """What the use cases need."""

    store: Store
    categories: tuple[dm.Category, ...]
    # Opened for a plan, an actor, a run id, and the question that the plan's classifier is to answer.
    classifier: Callable[[dm.ClassifyPlan, str, str, str], Classifier]
    routing_map: RoutingMap
    registry: Callable[[], ModelRegistry]
    per_day: float | None = None  # the budget of a day, in USD
    hysteresis: Mapping[str, float] = {}  # by classifier, the margin that a flip needs
    batcher: Callable[[str, dm.ClassifyPlan, str, str], Batcher] | None = None  # opens the batches of a classifier
    check: Callable[[], Unchecked] = Unchecked  # makes the check of a run's categories
    # One that answers at once, in the caller's thread, and costs nothing; None if that of the plan is no such.
    instant_classifier: Callable[[dm.ClassifyPlan], Classifier | None] = lambda _: None
    # Of a category: the confidence that each step of the default classifier needs, as in `CategoryProfile`.
    thresholds: Callable[[str], Mapping[str, float | None]] = lambda _: {}
    # Whether a plan's classifier may stay unopened if nothing is asked, because that checks and records nothing.
    only_loads: Callable[[dm.ClassifyPlan], bool] = lambda _: False
    # Whether anybody knows how right the answers of the default classifier are.
    is_trusted: Callable[[], bool] = lambda: True
    ranked: Ranking = lambda texts, _: range(len(texts))  # orders what waits for review
    # Which destinations may set a field of a helpdesk's ticket, or label it.
    field_setters: FieldSetters = lambda receivers, **_: receivers
    # Makes what finds the deliveries of which only the databases know that restores have replaced.
    lost_deliveries: Callable[[Callable[[str], None]], LostDeliveries] = lambda _: lambda _: {}
    fields: Mapping[str, str] = {}  # by the name of a column, the pattern that finds it in texts
    served: bool = False  # in a server, whose runs are marked so
    further: tuple[dm.Question, ...] = ()  # questions that are asked beside that for the category
    nearness: NearnessOf = lambda *_: dm.Nearness.ELSEWHERE  # how near a destination files to what a source lists
    warn: Callable[[str], None] = lambda _: None  # gets what a caller must know beside the outcomes

    @property
    def questions(self) -> tuple[dm.Question, ...]:
        """Return all questions that tickets are asked, that for the category first."""
        return (dm.Question(dm.CATEGORY, self.categories), *self.further)

    def is_idle(self, selection: dm.Selection, plan: dm.ClassifyPlan) -> bool:
        """Return whether there is nothing to classify, so that the classifier need not be opened."""
        if not self.only_loads(plan) or selection.ids is not None:
            return False
        return all(
            next(self.store.find(each._replace(statuses=each.statuses or statuses, order="urgent", limit=1)), None)
            is None
            for each, statuses in selections_to_ask(selection, further=bool(self.further))
        )

    def corrections(self, tell: Callable[[str], None]) -> Corrections:
        """Return what tells people's categories in a helpdesk from those of triage; `tell` gets its warnings."""
        return Corrections(self.store, self.categories, self.field_setters, self.lost_deliveries(tell), tell)

    def filed_items(self, tell: Callable[[str], None]) -> FiledItems:
        """Return what recognises the items of a source that triage filed there; `tell` gets doubtful ones."""
        return FiledItems(self.store, self.nearness, tell)

    def recorder(self, context: RunContext, plan: dm.ClassifyPlan, question: str = dm.CATEGORY) -> DecisionRecorder:
        """Open the classifier of a plan, and return the recorder of its answers; nothing can be spent yet."""
        classifier = self.classifier(plan, context.actor, context.run.run_id, question)
        return DecisionRecorder(context, classifier, self.questions, force=plan.force)

    def recorder_with_budget(
        self, context: RunContext, plan: dm.ClassifyPlan, question: str = dm.CATEGORY
    ) -> DecisionRecorder:
        """Open a run's budget, deadline and classifier, and return the recorder of its answers."""
        context.open_budget(plan.max_cost, self.per_day)
        context.stop.end_in(plan.deadline)
        recorder = self.recorder(context, plan, question)
        recorder.check = self.check()
        return recorder

    def batches(self, plan: dm.ClassifyPlan, recorder: DecisionRecorder, *, proposals: bool = False) -> BatchCollector:
        """Return a run's batch work. Raises `UsageError` if no batches can be opened."""
        if (batcher := self.batcher) is None:
            raise dm.UsageError("nothing here can ask in batches", hint="leave out --batch")
        actor, run_id = recorder.context.actor, recorder.context.run.run_id
        return open_batch_collector(lambda name: batcher(name, plan, actor, run_id), recorder, proposals=proposals)
