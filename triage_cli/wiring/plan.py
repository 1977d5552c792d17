"""Plans: opens what compares a new configuration with the present one, and stores answers that were paid for."""

from collections.abc import Callable
from typing import NamedTuple

from triage_cli.config import Config, DestinationSpec
from triage_cli.domain import ClassifyPlan, Levels, Plan, Selection
from triage_cli.ports import Classifier, Store
from triage_cli.runtime import StopControl
from triage_cli.service import (
    Began,
    ConfigurationSide,
    NewNames,
    PlanComparison,
    TrialRecorder,
    category_renames,
    planned_escalations,
    recorded_run,
    unasked_budget,
)
from triage_cli.wiring.classifiers import Asker, Classifiers, paid_steps
from triage_cli.wiring.cost_estimate import estimate_cost
from triage_cli.wiring.destinations import routing_map
from triage_cli.wiring.learned_models import learned_before
from triage_cli.wiring.stores import open_model_registry, open_store

# Presets, and parts of a name, of destinations that page somebody.
PAGING_PRESETS, PAGING_NAMES = ("pagerduty", "opsgenie"), ("page", "on-call", "oncall", "on_call")


class PlanAsker(NamedTuple):
    """Who asks for a plan about tickets without a stored answer, by which command, and how much that may cost in USD.

    `began` gets the run.
    """

    actor: str
    command_line: str
    max_cost: float | None
    began: Began = lambda _: None


def plan(
    config: Config,
    new_config: Config,
    selection: Selection,
    stop: StopControl,
    tell: Callable[[str], None],
    ask: PlanAsker | None = None,
    store: Store | None = None,
) -> Plan:
    """Compare a new configuration with the present one on the database of the present one.

    Without `ask` nothing is written. With it, the answers that were paid for are stored. A `store` may be open already.
    """
    store = store or open_store(config, read_only=ask is None)
    if ask is None:
        plan_comparison = _plan_comparison(config, new_config, store, Asker("plan", "", {}), tell, may_ask=False)
        compared = plan_comparison.compare(selection, unasked_budget(stop))
    else:
        with recorded_run(store, "plan", ask.actor, ask.command_line, stop) as recorder:
            ask.began(recorder)
            budget = recorder.context.open_budget(ask.max_cost, new_config.per_day)
            asker = Asker(ask.actor, recorder.context.run.run_id, {})
            plan_comparison = _plan_comparison(config, new_config, store, asker, tell, may_ask=True)
            trials = TrialRecorder(open_model_registry(store), recorder.context)
            try:
                compared = plan_comparison.compare(selection, budget, trials)
            finally:
                recorder.counts["asked"] = trials.saved
    escalations = planned_escalations(store, routing_map(new_config, store))
    compared = compared._replace(escalations=tuple(escalations.items()))
    if not compared.unasked:
        return compared
    sample_cost = estimate_cost(new_config, ClassifyPlan(), plan_comparison.unasked)
    usd_per_ticket = None if sample_cost.cost is None else sample_cost.cost / sample_cost.tickets
    return compared._replace(cost_usd=None if usd_per_ticket is None else usd_per_ticket * compared.unasked)


def _plan_comparison(
    config: Config, new_config: Config, store: Store, asker: Asker, tell: Callable[[str], None], *, may_ask: bool
) -> PlanComparison:
    new_names = category_renames.current_names(new_config.categories)
    present_names = category_renames.current_names(config.categories)
    names = NewNames(new_names, category_renames.renamed_destinations(new_names, new_config.routes), present_names)
    return PlanComparison(
        store,
        _configuration_side(config, store, asker, tell, may_ask=False),
        _configuration_side(new_config, store, asker, tell, may_ask=may_ask),
        names,
        frozenset(
            name for each in (config, new_config) for name, spec in each.destinations.items() if pages_somebody(spec)
        ),
        lambda texts: learned_before(config, store, texts),
    )


def _configuration_side(
    config: Config, store: Store, asker: Asker, tell: Callable[[str], None], *, may_ask: bool
) -> ConfigurationSide:
    return ConfigurationSide(
        open_classifier(config, store, ClassifyPlan(), asker, tell, may_ask=may_ask),
        routing_map(config, store),
        Levels.of(config.categories),
    )


def open_classifier(
    config: Config, store: Store, plan: ClassifyPlan, asker: Asker, tell: Callable[[str], None], *, may_ask: bool
) -> Classifier:
    """Open a classifier; unless it may ask, paid steps answer with what is stored and postpone the rest."""
    spec = config.classifiers.get(plan.classifier or config.classifier)
    postpones = not may_ask and spec is not None and bool(paid_steps(config, spec))
    return Classifiers.of(config, store, asker, tell).open(plan._replace(batch=postpones))


def pages_somebody(spec: DestinationSpec) -> bool:
    """Return whether a destination pages somebody, as its preset or its name tells."""
    preset = spec.http.preset if spec.http else None
    return preset in PAGING_PRESETS or any(part in spec.name.casefold() for part in PAGING_NAMES)
