"""The analysis on this machine: what measures and improves decisions, over one configuration and its database."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from triage_cli.config import Config, load_config
from triage_cli.domain import (
    TOPIC_CHARACTERS,
    ClassifyPlan,
    ConfigError,
    Discovery,
    Drift,
    Evaluated,
    Foreseen,
    LabelCounts,
    Labelled,
    NewConfiguration,
    Outcome,
    Plan,
    Proposal,
    Report,
    Selection,
    SpikeSearch,
    SpikeSending,
    SuspectReport,
    Ticket,
    TicketDraft,
    TopicText,
    TrainingReport,
    UsageError,
    compare,
    draft_with_fields,
    period_text,
    timestamp,
)
from triage_cli.ports import Inflow, Store, TellProgress
from triage_cli.runtime import StopControl
from triage_cli.service import (
    Began,
    Foresight,
    TrialRecorder,
    find_latest_spikes,
    make_report,
    recorded_run,
    send_new_spikes,
    unasked_budget,
)
from triage_cli.wiring.classifier_diagnostics import own_threshold
from triage_cli.wiring.classifiers import Asker
from triage_cli.wiring.cost_estimate import CostEstimate, estimate_cost
from triage_cli.wiring.destinations import offline_destinations, open_destination, routing_map
from triage_cli.wiring.discovery import discover
from triage_cli.wiring.learning_runs import evaluation_run, training_run
from triage_cli.wiring.plan import PlanAsker, open_classifier, plan
from triage_cli.wiring.stores import open_inflow, open_model_registry, open_store

if TYPE_CHECKING:  # most commands learn nothing
    from triage_cli.service import EvaluationRun, TrainingRun


def _refuse_programs(config: Config) -> None:
    """Raise `ConfigError` if a configuration that somebody has sent would start a program on this machine."""
    for name, spec in config.classifiers.items():
        if spec.type == "command":
            raise ConfigError(
                f'classifier "{name}" is a program, and a configuration that was sent starts none',
                hint="plan on the machine that has the program, or send the routes alone",
            )


def _no_limit() -> UsageError:
    return UsageError("--ask pays for answers and no limit is given", hint="add --max-cost USD, or budget.per_day")


class Analyst(NamedTuple):
    """Who analyses, by which command, both stored with runs; `tell` gets notes, `warn` warnings, `began` each run."""

    actor: str
    command_line: str
    tell: Callable[[str], None] = lambda _: None
    warn: Callable[[str], None] | None = None
    began: Began = lambda _: None


class LocalAnalysis:
    """Implements `ports.Analysis`; one object per command or request.

    A server passes its `store`; without one the database is opened, for reading only where nothing is to be written,
    and with `make` created where it is missing. If it is `guarded`, destinations reach no private address unless they
    allow it.
    """

    def __init__(
        self, config: Config, analyst: Analyst, *, store: Store | None = None, guarded: bool = False, make: bool = False
    ) -> None:
        self._config = config
        self._analyst = analyst
        self._store = store
        self._guarded = guarded
        self._make = make
        self._stop_control = StopControl()
        self.spent = 0.0

    @property
    def paid(self) -> float:
        """Return what this request has cost, in USD."""
        return self.spent

    def stop(self) -> None:
        """Stop taking new work."""
        self._stop_control.stop()

    def foresee(
        self, drafts: Iterable[TicketDraft], plan: ClassifyPlan, *, routes: bool, ask: bool
    ) -> Iterator[Outcome[Foreseen]]:
        """Yield what would become of drafts, in order."""
        drafts = (draft_with_fields(draft, self._config.fields) for draft in drafts)
        if not ask:
            store = self._store or open_store(self._config, read_only=True)
            foresight = self._foresight(store, plan, Asker("plan", "", {}), routes=routes, may_ask=False)
            yield from foresight.over(drafts, unasked_budget(self._stop_control))
            return
        if plan.max_cost is None and self._config.per_day is None:
            raise _no_limit()
        store = self._store or open_store(self._config, make=True)
        with recorded_run(
            store, "preview", self._analyst.actor, self._analyst.command_line, self._stop_control
        ) as recorder:
            self._analyst.began(recorder)
            budget = recorder.context.open_budget(plan.max_cost, self._config.per_day)
            asker = Asker(self._analyst.actor, recorder.context.run.run_id, {})
            foresight = self._foresight(store, plan, asker, routes=routes, may_ask=True)
            trials = TrialRecorder(open_model_registry(store), recorder.context)
            try:
                yield from foresight.over(drafts, budget, trials)
            finally:
                recorder.counts["asked"] = trials.saved
                self.spent += budget.spent + budget.reserved

    def find_spikes(self, window: timedelta, baseline: timedelta) -> SpikeSearch:
        """Return the spikes of the last `window`, against the weeks of the `baseline`."""
        return find_latest_spikes(self._inflow(), datetime.now(UTC), window, baseline)

    def send_spikes(self, window: timedelta, baseline: timedelta) -> SpikeSending | None:
        """Send the spikes that were not sent yet to the configured destination; None if there is none."""
        name = self._config.spikes_to
        if name is None:
            return None
        if name in offline_destinations(self._config):
            return SpikeSending(name, None)
        inflow = self._inflow()
        spikes = find_latest_spikes(inflow, datetime.now(UTC), window, baseline).spikes
        if not spikes:
            return SpikeSending(name, 0)
        destination = open_destination(self._config, name, guarded=self._guarded)
        return SpikeSending(
            name, send_new_spikes(inflow, spikes, destination, period_text(window), self._analyst.actor)
        )

    def drift(self, window: timedelta) -> list[Drift]:
        """Return how the decisions of the last `window` compare with those of the time before."""
        inflow, until = self._inflow(), datetime.now(UTC)
        end, start, before = (timestamp(until - window * n) for n in (0, 1, 2))
        return compare(inflow.counts(start, end), inflow.counts(before, start))

    def report(self, since: datetime) -> Report:
        """Return what happened since, without writing anything."""
        store = self._store or open_store(self._config, read_only=True)
        return make_report(store, open_inflow(self._config, store), self._config.categories, since, datetime.now(UTC))

    def suspects(self, rows: Sequence[Labelled]) -> SuspectReport:
        """Return suspect labels among the verdicts and these rows, and confused categories."""
        training = self._training_run()
        material = training.training_data(rows)
        suspects, confused = training.suspects(material)
        return SuspectReport(tuple(suspects), tuple(confused), material.counts)

    def discover(self, tickets: Iterable[TopicText] | None, asked: Discovery) -> Proposal:
        """Return the topics of these tickets, or of the stored ones, without writing anything."""
        if tickets is None:
            store = self._store or open_store(self._config, read_only=True)
            selection = Selection(written_since=asked.written_since, sources=asked.sources)
            stored = (ticket for ticket in store.find(selection) if not ticket.is_erased)
            tickets = (TopicText(ticket.text[:TOPIC_CHARACTERS], ticket.customer_id or "") for ticket in stored)
        return discover(self._config.categories, tickets, asked)

    def learn(self, rows: Sequence[Labelled], tell: TellProgress) -> tuple[LabelCounts, TrainingReport]:
        """Fit the embedded model to verdicts and rows, and use it if it is better."""
        training = self._training_run()
        material = training.training_data(rows)
        return material.counts, training.learn(material, tell)

    def roll_back(self) -> TrainingReport:
        """Use the version of the embedded model before the one in use."""
        return self._training_run().roll_back()

    def _training_run(self) -> "TrainingRun":
        actor, command_line, tell, warn, began = self._analyst
        return training_run(self._config, actor, command_line, tell, began, warn, make=self._make, store=self._store)

    def evaluate(self, rows: Sequence[Labelled], plan: ClassifyPlan, *, calibrate: bool) -> Evaluated:
        """Return the figures of a classifier on labelled rows."""
        plan = plan._replace(classifier=plan.classifier or self._config.classifier)
        spec = self._config.classifiers.get(plan.classifier or "")
        own = None if spec is None else own_threshold(self._config, spec)
        run = self._evaluation_run
        return run.evaluate(run.rows(rows), plan, own, fit=calibrate)

    @cached_property
    def _evaluation_run(self) -> "EvaluationRun":
        actor, command_line, tell, _, began = self._analyst
        run = evaluation_run(self._config, actor, command_line, tell, make=self._make, store=self._store)
        run.began, run.stop_control = began, self._stop_control
        return run

    def plan(self, new: NewConfiguration, written_since: str | None, *, ask: bool, max_cost: float | None) -> Plan:
        """Return what a new configuration would change. Raises `UsageError` if it may ask without a limit."""
        present_file = None if self._config.path is None else str(self._config.path)
        new_config = load_config(
            config=new.config or present_file,
            db=self._config.database,
            offline=self._config.offline or None,
            routes=new.routes,
            env=os.environ,
            cwd=Path.cwd(),
        )._replace(remote=None)
        if new.sent and new.config is not None:
            _refuse_programs(new_config)
        asker = None
        if ask:
            if max_cost is None and new_config.per_day is None:
                raise _no_limit()
            asker = PlanAsker(self._analyst.actor, self._analyst.command_line, max_cost, self._analyst.began)
        selection, tell = Selection(written_since=written_since), self._analyst.tell
        return plan(self._config, new_config, selection, self._stop_control, tell, asker, self._store)

    def _inflow(self) -> Inflow:
        return open_inflow(self._config, self._store or open_store(self._config))

    def estimate_cost(self, plan: ClassifyPlan, tickets: Iterable[Ticket]) -> CostEstimate:
        """Estimate what it costs to classify tickets."""
        return estimate_cost(self._config, plan, tickets)

    def _foresight(self, store: Store, plan: ClassifyPlan, asker: Asker, *, routes: bool, may_ask: bool) -> Foresight:
        def likely_cost(ticket: Ticket) -> float | None:
            return self.estimate_cost(plan, [ticket]).cost

        classifier = open_classifier(self._config, store, plan, asker, self._analyst.tell, may_ask=may_ask)
        rules = routing_map(self._config, store) if routes else None
        return Foresight(classifier, rules, self._config.categories, likely_cost, store)
