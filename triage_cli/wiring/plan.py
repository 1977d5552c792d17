"""Puts together what compares two configurations: both classifiers, both routing maps, and what paid answers need."""

from collections.abc import Callable
from typing import NamedTuple

from triage_cli.config import Config, DestinationSpec
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.insight.plans import Plan
from triage_cli.domain.tickets import Selection
from triage_cli.ports.storage import Store
from triage_cli.runtime.stop import StopControl
from triage_cli.service import category_renames
from triage_cli.service.insight.plan_comparison import Names, PlanComparison, Side, Stream, unasked_budget
from triage_cli.service.run_recorder import Began, RunRecorder, recorded_run
from triage_cli.wiring.classifiers import Caller, open_classifier, paid_steps
from triage_cli.wiring.cost_estimate import estimate
from triage_cli.wiring.destinations import routing_map
from triage_cli.wiring.promised_thresholds import has_learned
from triage_cli.wiring.stores import known, open_shelf, open_store

# Presets, and parts of a name, of destinations that page somebody.
PAGING_PRESETS, PAGING_NAMES = ("pagerduty", "opsgenie"), ("page", "on-call", "oncall", "on_call")


class AskingCaller(NamedTuple):
    """Who asks about tickets without a stored answer, by which command, and how much that may cost in USD.

    `began` gets the run.
    """

    actor: str
    command_line: str
    max_cost: float | None
    began: Began = lambda _: None


def plan(
    config: Config, new_config: Config, selection: Selection, stop: StopControl, tell: Callable[[str], None],
    ask: AskingCaller | None = None,
) -> Plan:  # fmt: skip
    """Compare a new configuration with the present one on the database of the present one.

    Without `ask` nothing is written. With it, the answers that were paid for are stored.
    """
    store = open_store(config, read_only=ask is None)
    if ask is None:
        comparison_run = _plan_comparison(config, new_config, store, Caller("plan", "", {}), tell, may_ask=False)
        comparison = comparison_run.compare(selection, unasked_budget(stop))
    else:
        with recorded_run(store, "plan", ask.actor, ask.command_line, stop) as recorder:
            ask.began(recorder)
            budget = recorder.context.open_budget(ask.max_cost, new_config.per_day)
            caller = Caller(ask.actor, recorder.context.run.run_id, {})
            comparison_run = _plan_comparison(config, new_config, store, caller, tell, may_ask=True)
            comparison = comparison_run.compare(selection, budget, lambda stream: _recorded(store, recorder, stream))
    if not comparison.unasked:
        return comparison
    sample = estimate(new_config, ClassifyPlan(), comparison_run.unasked)
    each = None if sample.cost is None else sample.cost / sample.tickets
    return comparison._replace(cost_usd=None if each is None else each * comparison.unasked)


def _plan_comparison(
    config: Config, new_config: Config, store: Store, caller: Caller, tell: Callable[[str], None], *, may_ask: bool
) -> PlanComparison:
    renamed = category_renames.current_names(new_config.categories)
    present = category_renames.current_names(config.categories)
    names = Names(renamed, category_renames.renamed_destinations(renamed, new_config.routes), present)
    return PlanComparison(
        store,
        _side(config, store, caller, tell, may_ask=False),
        _side(new_config, store, caller, tell, may_ask=may_ask),
        names,
        frozenset(name for each in (config, new_config) for name, spec in each.destinations.items() if pages(spec)),
        lambda texts: has_learned(config, store, texts),
    )


def _side(config: Config, store: Store, caller: Caller, tell: Callable[[str], None], *, may_ask: bool) -> Side:
    """Open a configuration; unless it may ask, paid steps answer with what is stored and postpone the rest."""
    how = ClassifyPlan(batch=not may_ask and bool(paid_steps(config, config.classifiers[config.classifier])))
    classifier = open_classifier(known(config, store), store, how, caller, tell)
    return Side(classifier, routing_map(config, store), frozenset(category.name for category in config.categories))


def _recorded(store: Store, recorder: RunRecorder, stream: Stream) -> Stream:
    """Yield outcomes once the answers that were paid for are stored."""
    shelf, context = open_shelf(store), recorder.context
    for outcomes in stream:
        context.heartbeat()
        steps = [step for outcome in outcomes if outcome.value for step in outcome.value.steps]
        paid = [s for s in steps if s.confidence_source != "model" and not s.error and not s.reused]
        if paid:
            with context.budget.recording(context.lease) as lease:
                shelf.keep_trials([step._replace(confidence=step.raw_confidence) for step in paid], lease)
        recorder.counts["asked"] += len(paid)
        yield outcomes


def pages(spec: DestinationSpec) -> bool:
    """Return whether a destination pages somebody, as its preset or its name tells."""
    preset = spec.http.preset if spec.http else None
    return preset in PAGING_PRESETS or any(part in spec.name.casefold() for part in PAGING_NAMES)
