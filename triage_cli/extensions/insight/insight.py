"""What many tickets show at once: plans, spikes, drift and the report of a period, as methods of the local analysis."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from triage_cli import domain as dm
from triage_cli.config import Config, DestinationSpec, load_config
from triage_cli.extensions.insight.plan_comparison import (
    COST_SAMPLE,
    DECIDED_STATUSES,
    ConfigurationSide,
    NewNames,
    PlanComparison,
)
from triage_cli.extensions.insight.reporting import make_report
from triage_cli.extensions.insight.spike_delivery import find_latest_spikes, send_new_spikes
from triage_cli.ports import Store
from triage_cli.runtime import private
from triage_cli.service import category_renames, planned_escalations, unasked_budget
from triage_cli.wiring import (
    Asker,
    LocalAnalysis,
    estimate_cost,
    learned_before,
    no_limit,
    offline_destinations,
    open_classifier,
    open_destination,
    open_inflow,
    open_model_registry,
    paid_steps,
    promised_bounds,
    routing_map,
)


def find_spikes(local: LocalAnalysis, window: timedelta, baseline: timedelta) -> dm.SpikeSearch:
    """Return the spikes of the last `window`, against the weeks of the `baseline`."""
    return find_latest_spikes(open_inflow(local.config, local.opened()), datetime.now(UTC), window, baseline)


def send_spikes(local: LocalAnalysis, window: timedelta, baseline: timedelta) -> dm.SpikeSending | None:
    """Send the spikes that were not sent yet; None if no destination is configured for them."""
    name = local.config.spikes_to
    if name is None:
        return None
    if name in offline_destinations(local.config):
        return dm.SpikeSending(name, None)
    inflow = open_inflow(local.config, local.opened())
    spikes = find_latest_spikes(inflow, datetime.now(UTC), window, baseline).spikes
    if not spikes:
        return dm.SpikeSending(name, 0)
    destination = open_destination(local.config, name, guarded=local.guarded)
    return dm.SpikeSending(
        name, send_new_spikes(inflow, spikes, destination, dm.period_text(window), local.analyst.actor)
    )


def drift(local: LocalAnalysis, window: timedelta, question: str = dm.CATEGORY) -> list[dm.Drift]:
    """Return how decisions on a question differ from those of the time before."""
    inflow, until = open_inflow(local.config, local.opened()), datetime.now(UTC)
    end, start, before = (dm.timestamp(until - window * n) for n in (0, 1, 2))
    name = local.config.question(question).name
    return dm.compare(inflow.counts(start, end, name), inflow.counts(before, start, name))


def report(local: LocalAnalysis, since: datetime) -> dm.Report:
    """Return what happened since, without writing anything."""
    store = local.opened(read_only=True)
    inflow, config = open_inflow(local.config, store), local.config
    promised = promised_bounds(config, open_model_registry(store))
    return make_report(store, inflow, config.categories, config.questions, since, datetime.now(UTC), promised)


def plan(
    local: LocalAnalysis, new: dm.NewConfiguration, written_since: str | None, *, ask: bool, max_cost: float | None
) -> dm.Plan:
    """Return what a new configuration would change. Raises `UsageError` if it may ask without a limit."""
    present_file = None if local.config.path is None else str(local.config.path)
    is_sent = new.sent and new.config is not None
    new_config = load_config(
        config=new.config or present_file,
        sent=is_sent,
        db=local.config.database,
        offline=local.config.offline or None,
        routes=new.routes,
        env=os.environ,
        cwd=Path.cwd(),
    )._replace(remote=None)
    if is_sent:
        _refuse_programs(new_config)
    if ask and max_cost is None and new_config.per_day is None:
        raise no_limit()
    store = local.opened(read_only=not ask)
    selection = dm.Selection(written_since=written_since)
    if ask:
        with local.trial_run("plan", store, max_cost, new_config.per_day) as (asker, trials, budget):
            comparison = _comparison(local, new_config, store, asker, may_ask=True)
            compared = comparison.compare(selection, budget, trials)
    else:
        comparison = _comparison(local, new_config, store, Asker("plan", "", {}), may_ask=False)
        compared = comparison.compare(selection, unasked_budget(local.stop_control))
    escalations = planned_escalations(store, routing_map(new_config, store))
    compared = compared._replace(escalations=tuple(escalations.items()))
    if note := _cost_of_new_questions(local.config, new_config, store, compared.tickets, selection):
        local.analyst.tell(note)
    if not compared.unasked:
        return compared
    sample_cost = estimate_cost(new_config, dm.ClassifyPlan(), comparison.unasked)
    usd_per_ticket = None if sample_cost.cost is None else sample_cost.cost / sample_cost.tickets
    return compared._replace(cost_usd=None if usd_per_ticket is None else usd_per_ticket * compared.unasked)


def plan_texts(
    local: LocalAnalysis, config: str | None, routes: str | None, written_since: str | None = None
) -> dm.Plan:
    """Return what a configuration that was sent as texts would change; nobody is asked."""
    if config is None and routes is None:
        raise dm.UsageError("no new configuration is given", hint="send config, or routes")
    with TemporaryDirectory(prefix="triage-") as folder:
        texts = {"config": config, "routes": routes}
        paths = {name: f"{folder}/{name}.yaml" for name, text in texts.items() if text is not None}
        for name, path in paths.items():
            with open(path, "w", encoding="utf-8", opener=private) as file:
                file.write(texts[name] or "")
        new = dm.NewConfiguration(paths.get("config"), paths.get("routes"), sent=True)
        try:
            return plan(local, new, written_since, ask=False, max_cost=None)
        except dm.ConfigError as error:  # the caller sees neither the file nor this machine's terminal
            mistakes = ("; ".join(error.problems) or error.message).replace(f"{folder}/", "")
            raise dm.ConfigError(f"the new configuration has a mistake: {mistakes}", hint=error.hint) from error


def _comparison(
    local: LocalAnalysis, new_config: Config, store: Store, asker: Asker, *, may_ask: bool
) -> PlanComparison:
    """Return what compares a new configuration with the present one, on the database of the present one."""
    config, tell = local.config, local.analyst.tell
    new_names = category_renames.current_names(new_config.categories)
    present_names = category_renames.current_names(config.categories)
    specs = [*config.destinations.items(), *new_config.destinations.items()]
    return PlanComparison(
        store,
        _configuration_side(config, store, asker, tell, may_ask=False),
        _configuration_side(new_config, store, asker, tell, is_new=True, may_ask=may_ask),
        NewNames(new_names, category_renames.renamed_destinations(new_names, new_config.routes), present_names),
        frozenset(name for name, spec in specs if pages_somebody(spec)),
        lambda texts: learned_before(config.asked[0], store, texts),
    )


def _refuse_programs(config: Config) -> None:
    """Raise `ConfigError` if a configuration that somebody has sent would start a program on this machine."""
    for name, spec in config.classifiers.items():
        if spec.type == "command":
            raise dm.ConfigError(
                f'classifier "{name}" is a program, and a configuration that was sent starts none',
                hint="plan on the machine that has the program, or send the routes alone",
            )


# Presets, and parts of a name, of destinations that page somebody.
PAGING_PRESETS, PAGING_NAMES = ("pagerduty", "opsgenie"), ("page", "on-call", "oncall", "on_call")


def _cost_of_new_questions(
    config: Config, new_config: Config, store: Store, number: int, selection: dm.Selection
) -> str:
    """Return what it would cost to ask tickets what the present configuration does not ask; empty if it is nothing."""
    names = tuple(question.name for question in new_config.questions if question not in config.questions)
    sampled = selection._replace(statuses=DECIDED_STATUSES, limit=COST_SAMPLE)
    sample = [ticket._replace(asked=names) for ticket in store.find(sampled)] if names else []
    estimate = estimate_cost(new_config, dm.ClassifyPlan(), sample)
    if not estimate.tokens:
        return ""
    times = number / estimate.tickets
    usd = "an unknown price" if estimate.cost is None else f"{times * estimate.cost:.2f} USD"
    about = f"about {times * estimate.tokens:,.0f} tokens, {usd}"
    return f"note: asking {', '.join(names)} about these {number:,} tickets would take {about}; no plan asks it"


def _configuration_side(
    config: Config, store: Store, asker: Asker, tell: Callable[[str], None], *, is_new: bool = False, may_ask: bool
) -> ConfigurationSide:
    """Return one side; the new one answers further questions that rules name or tickets wait for, if that is free."""
    named = {name for rule in config.routes for name in rule.when}
    decisive = tuple(q for q in config.questions if q.required or named & {q.name, *dm.whole_names([q.name])})
    free = [q for q in decisive if not paid_steps(config, config.classifiers[q.classifier or config.classifier])]
    asked = config._replace(questions=tuple(free) if is_new else ())
    return ConfigurationSide(
        open_classifier(asked, store, dm.ClassifyPlan(), asker, tell, may_ask=may_ask),
        routing_map(config, store),
        dm.Levels.of(config.categories),
        decisive,
    )


def pages_somebody(spec: DestinationSpec) -> bool:
    """Return whether a destination pages somebody, as its preset or its name tells."""
    preset = spec.http.preset if spec.http else None
    return preset in PAGING_PRESETS or any(part in spec.name.casefold() for part in PAGING_NAMES)
