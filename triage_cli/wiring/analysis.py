"""The analysis on this machine: what measures and improves decisions, over one configuration and its database."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from triage_cli import domain as dm
from triage_cli.config import REDACTABLE, ClassifierSpec, Config, DestinationSpec, load_config
from triage_cli.ports import Classifier, Inflow, Store, TellProgress
from triage_cli.runtime import Budget, StopControl, private
from triage_cli.service import (
    COST_SAMPLE,
    DECIDED_STATUSES,
    ConfigurationSide,
    Foresight,
    NewNames,
    PlanComparison,
    TrialRecorder,
    category_renames,
    find_latest_spikes,
    make_report,
    planned_escalations,
    recorded_run,
    send_new_spikes,
    unasked_budget,
)
from triage_cli.wiring.classifier_diagnostics import own_threshold, promised_errors
from triage_cli.wiring.classifiers import Asker, Classifiers, paid_steps
from triage_cli.wiring.cost_estimate import CostEstimate, estimate_cost
from triage_cli.wiring.destinations import offline_destinations, open_destination, routing_map
from triage_cli.wiring.learned_models import learned_before, promised_bounds, promised_error, threshold_note
from triage_cli.wiring.learning_runs import Analyst, evaluation_run, training_run
from triage_cli.wiring.stores import open_inflow, open_model_registry, open_store

if TYPE_CHECKING:
    from triage_cli.service import EvaluationRun, Outlook, TrainingRun


def _refuse_programs(config: Config) -> None:
    """Raise `ConfigError` if a configuration that somebody has sent would start a program on this machine."""
    for name, spec in config.classifiers.items():
        if spec.type == "command":
            raise dm.ConfigError(
                f'classifier "{name}" is a program, and a configuration that was sent starts none',
                hint="plan on the machine that has the program, or send the routes alone",
            )


def _no_limit() -> dm.UsageError:
    return dm.UsageError(
        f"{dm.Step.ASK} pays for answers and no limit is given", hint=f"add {dm.Step.MAX_COST} USD, or budget.per_day"
    )


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
        self._evaluates: EvaluationRun | None = None  # one for all classifiers of a command, whose cost limit it keeps
        self.spent = 0.0

    @property
    def paid(self) -> float:
        """Return what this request has cost, in USD."""
        return self.spent

    def stop(self) -> None:
        self._stop_control.stop()

    def foresee(
        self, drafts: Iterable[dm.TicketDraft], plan: dm.ClassifyPlan, *, routes: bool, ask: bool
    ) -> Iterator[dm.Outcome[dm.Foreseen]]:
        drafts = (dm.draft_with_fields(draft, self._config.fields) for draft in drafts)
        if not ask:
            store = self._store or open_store(self._config, read_only=True)
            foresight = self._foresight(store, plan, Asker("plan", "", {}), routes=routes, may_ask=False)
            yield from foresight.over(drafts, unasked_budget(self._stop_control))
            return
        if plan.max_cost is None and self._config.per_day is None:
            raise _no_limit()
        store = self._store or open_store(self._config, make=True)
        with self._trial_run("preview", store, plan.max_cost, self._config.per_day) as (asker, trials, budget):
            foresight = self._foresight(store, plan, asker, routes=routes, may_ask=True)
            try:
                yield from foresight.over(drafts, budget, trials)
            finally:
                self.spent += budget.spent + budget.reserved

    @contextmanager
    def _trial_run(
        self, kind: str, store: Store, max_cost: float | None, per_day: float | None
    ) -> Iterator[tuple[Asker, TrialRecorder, Budget]]:
        """Begin a run that asks and decides nothing: what was paid for is stored, so that nobody pays for it again."""
        analyst = self._analyst
        with recorded_run(store, kind, analyst.actor, analyst.command_line, self._stop_control) as recorder:
            analyst.began(recorder)
            budget = recorder.context.open_budget(max_cost, per_day)
            trials = TrialRecorder(open_model_registry(store), recorder.context)
            try:
                yield Asker(analyst.actor, recorder.context.run.run_id, {}), trials, budget
            finally:
                recorder.counts["asked"] = trials.saved

    def find_spikes(self, window: timedelta, baseline: timedelta) -> dm.SpikeSearch:
        return find_latest_spikes(self._inflow(), datetime.now(UTC), window, baseline)

    def send_spikes(self, window: timedelta, baseline: timedelta) -> dm.SpikeSending | None:
        name = self._config.spikes_to
        if name is None:
            return None
        if name in offline_destinations(self._config):
            return dm.SpikeSending(name, None)
        inflow = self._inflow()
        spikes = find_latest_spikes(inflow, datetime.now(UTC), window, baseline).spikes
        if not spikes:
            return dm.SpikeSending(name, 0)
        destination = open_destination(self._config, name, guarded=self._guarded)
        return dm.SpikeSending(
            name, send_new_spikes(inflow, spikes, destination, dm.period_text(window), self._analyst.actor)
        )

    def drift(self, window: timedelta, question: str = dm.CATEGORY) -> list[dm.Drift]:
        inflow, until = self._inflow(), datetime.now(UTC)
        end, start, before = (dm.timestamp(until - window * n) for n in (0, 1, 2))
        name = self._config.question(question).name
        return dm.compare(inflow.counts(start, end, name), inflow.counts(before, start, name))

    def report(self, since: datetime) -> dm.Report:
        """Return what happened since, without writing anything."""
        store = self._store or open_store(self._config, read_only=True)
        inflow, config = open_inflow(self._config, store), self._config
        promised = promised_bounds(config, open_model_registry(store))
        return make_report(store, inflow, config.categories, config.questions, since, datetime.now(UTC), promised)

    def suspects(self, rows: Sequence[dm.Labelled], question: str = dm.CATEGORY) -> dm.SuspectReport:
        training = self._training_run(self._analyst._replace(warn=None), question)  # no threshold changes by it
        material = training.training_data(rows)
        suspects, confused = training.suspects(material)
        return dm.SuspectReport(tuple(suspects), tuple(confused), material.counts)

    def discover(self, tickets: Iterable[dm.TopicText] | None, asked: dm.Discovery) -> dm.Proposal:
        """Return the topics of these tickets, or of the stored ones; of writing only what naming them costs."""
        if asked.name_with is not None:
            _check_names_topics(self._config, asked.name_with)
        if tickets is None:
            store = self._store or open_store(self._config, read_only=True)
            selection = dm.Selection(written_since=asked.written_since, sources=asked.sources)
            stored = (ticket for ticket in store.find(selection) if not ticket.is_erased)
            tickets = (dm.TopicText(ticket.text[: dm.TOPIC_CHARACTERS], ticket.customer_id or "") for ticket in stored)
        proposal = discover(self._config.categories, tickets, asked)
        return proposal if asked.name_with is None or not proposal.topics else self._named(proposal, asked)

    def _named(self, proposal: dm.Proposal, asked: dm.Discovery) -> dm.Proposal:
        """Return a proposal that a language model has named, in a run of its own."""
        analyst, store = self._analyst, self._store or open_store(self._config, make=True)
        with recorded_run(store, "discover", analyst.actor, analyst.command_line, self._stop_control) as recorder:
            analyst.began(recorder)
            budget = recorder.context.open_budget(asked.max_cost, self._config.per_day)
            classifiers = Classifiers(self._config, store, Asker(analyst.actor, recorder.context.run.run_id, {}))
            llm = classifiers.llm(self._config.classifiers[asked.name_with or ""], dm.ClassifyPlan())
            try:
                named, count = llm.named(proposal, budget)
            finally:
                self.spent += budget.spent + budget.reserved
            recorder.counts["named"] = count
        things = len(proposal.topics) + len(proposal.groups)
        analyst.tell(f"{asked.name_with} named {count:,} of {things:,} topics and groups, for {budget.spent:.4f} USD")
        return named

    def learn(self, rows: Sequence[dm.Labelled], tell: TellProgress, question: str | None = None) -> list[dm.Lesson]:
        return self._training_run(self._analyst, question).learn(rows, tell)

    def roll_back(self) -> dm.TrainingReport:
        return self._training_run(self._analyst).roll_back()

    def _training_run(self, analyst: Analyst, question: str | None = None) -> "TrainingRun":
        store = self._store or open_store(self._config, make=self._make)
        return training_run(self._config, analyst, store=store, question=question)

    def evaluate(
        self, rows: Sequence[dm.Labelled], plan: dm.ClassifyPlan, *, calibrate: bool, question: str = dm.CATEGORY
    ) -> dm.Evaluated:
        asked = self._config.question(question)
        plan = plan._replace(classifier=plan.classifier or asked.classifier or self._config.classifier)
        spec = self._config.classifiers.get(plan.classifier or "")
        own = None if spec is None else own_threshold(self._config, spec, asked)
        if spec is not None and (note := threshold_note(spec.name, asked, open_store(self._config), spec)):
            self._analyst.tell(note)
        run = self._evaluation_run(question)
        return run.evaluate(run.rows(rows), plan, own, self._outlook(spec, asked, own), fit=calibrate)

    def _outlook(self, spec: ClassifierSpec | None, asked: dm.Question, own: float | None) -> "Outlook":
        """Return what makes of measured answers a recommendation and a forecast; nothing for a cascade."""
        promise = None if spec is None or spec.type == "cascade" else promised_error(asked, spec)

        def outlook(
            answers: Sequence[tuple[float, bool]], now: float
        ) -> tuple[dm.Recommendation | None, dm.Forecast | None]:
            if spec is None or not answers:
                return None, None
            if promise is not None:
                found = [bounds for *_, bounds in promised_errors(self._config, {spec.name}, asked.name)]
                recommendation = dm.promised_recommendation(promise.share, [b for each in found for b in each.values()])
                return recommendation, dm.proven_forecast(answers, promise.share, now)
            if own is None or spec.type == "cascade":
                return None, None
            if spec.type != "local":
                return dm.recommended(answers, own), None
            version = open_model_registry(open_store(self._config)).active(asked.name)
            foreseen = version and version.forecast
            return dm.recommended(answers, own), foreseen.at(now) if foreseen else dm.unknown_forecast(now)

        return outlook

    def _evaluation_run(self, question: str) -> "EvaluationRun":
        if self._evaluates is None:
            make, store = self._make, self._store
            self._evaluates = evaluation_run(self._config, self._analyst, make=make, store=store, question=question)
            self._evaluates.stop_control = self._stop_control
        return self._evaluates

    def plan(
        self, new: dm.NewConfiguration, written_since: str | None, *, ask: bool, max_cost: float | None
    ) -> dm.Plan:
        """Return what a new configuration would change. Raises `UsageError` if it may ask without a limit."""
        present_file = None if self._config.path is None else str(self._config.path)
        is_sent = new.sent and new.config is not None
        new_config = load_config(
            config=new.config or present_file,
            sent=is_sent,
            db=self._config.database,
            offline=self._config.offline or None,
            routes=new.routes,
            env=os.environ,
            cwd=Path.cwd(),
        )._replace(remote=None)
        if is_sent:
            _refuse_programs(new_config)
        if ask and max_cost is None and new_config.per_day is None:
            raise _no_limit()
        store = self._store or open_store(self._config, read_only=not ask)
        selection = dm.Selection(written_since=written_since)
        if ask:
            with self._trial_run("plan", store, max_cost, new_config.per_day) as (asker, trials, budget):
                comparison = self._comparison(new_config, store, asker, may_ask=True)
                compared = comparison.compare(selection, budget, trials)
        else:
            comparison = self._comparison(new_config, store, Asker("plan", "", {}), may_ask=False)
            compared = comparison.compare(selection, unasked_budget(self._stop_control))
        escalations = planned_escalations(store, routing_map(new_config, store))
        compared = compared._replace(escalations=tuple(escalations.items()))
        if note := _cost_of_new_questions(self._config, new_config, store, compared.tickets, selection):
            self._analyst.tell(note)
        if not compared.unasked:
            return compared
        sample_cost = estimate_cost(new_config, dm.ClassifyPlan(), comparison.unasked)
        usd_per_ticket = None if sample_cost.cost is None else sample_cost.cost / sample_cost.tickets
        return compared._replace(cost_usd=None if usd_per_ticket is None else usd_per_ticket * compared.unasked)

    def plan_texts(self, config: str | None, routes: str | None, written_since: str | None = None) -> dm.Plan:
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
                return self.plan(new, written_since, ask=False, max_cost=None)
            except dm.ConfigError as error:  # the caller sees neither the file nor this machine's terminal
                mistakes = ("; ".join(error.problems) or error.message).replace(f"{folder}/", "")
                raise dm.ConfigError(f"the new configuration has a mistake: {mistakes}", hint=error.hint) from error

    def _comparison(self, new_config: Config, store: Store, asker: Asker, *, may_ask: bool) -> PlanComparison:
        """Return what compares a new configuration with the present one, on the database of the present one."""
        config, tell = self._config, self._analyst.tell
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

    def _inflow(self) -> Inflow:
        return open_inflow(self._config, self._store or open_store(self._config))

    def estimate_cost(self, plan: dm.ClassifyPlan, tickets: Iterable[dm.Ticket]) -> CostEstimate:
        """Estimate what it costs to classify tickets."""
        return estimate_cost(self._config, plan, tickets)

    def _foresight(
        self, store: Store, plan: dm.ClassifyPlan, asker: Asker, *, routes: bool, may_ask: bool
    ) -> Foresight:
        def likely_cost(ticket: dm.Ticket) -> float | None:
            return self.estimate_cost(plan, [ticket]).cost

        classifier = open_classifier(self._config, store, plan, asker, self._analyst.tell, may_ask=may_ask)
        rules = routing_map(self._config, store) if routes else None
        return Foresight(classifier, rules, self._config.categories, likely_cost, store, self._config.questions)


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


def open_classifier(
    config: Config, store: Store, plan: dm.ClassifyPlan, asker: Asker, tell: Callable[[str], None], *, may_ask: bool
) -> Classifier:
    """Open a classifier; unless it may ask, paid steps answer with what is stored and postpone the rest."""
    spec = config.classifiers.get(plan.classifier or config.classifier)
    postpones = not may_ask and spec is not None and bool(paid_steps(config, spec))
    return Classifiers.of(config, store, asker, tell).open(plan._replace(batch=postpones))


def pages_somebody(spec: DestinationSpec) -> bool:
    """Return whether a destination pages somebody, as its preset or its name tells."""
    preset = spec.http.preset if spec.http else None
    return preset in PAGING_PRESETS or any(part in spec.name.casefold() for part in PAGING_NAMES)


NAMING_TYPES = ("openai", "anthropic")  # of classifiers: those that say what they like


def _check_names_topics(config: Config, name: str) -> None:
    """Raise `UsageError` unless this classifier is a language model that can say a name."""
    spec = config.classifiers.get(name)
    if spec is None:
        raise dm.UsageError(f'no classifier "{name}"', hint=f"the config has {', '.join(config.classifiers)}")
    if spec.type not in NAMING_TYPES:
        raise dm.UsageError(
            f'classifier "{name}" is of type {spec.type}, which names nothing',
            hint=f"name one of type {' or '.join(NAMING_TYPES)}, or leave out {dm.Step.NAME_WITH}",
        )


def discover(categories: Sequence[dm.Category], tickets: Iterable[dm.TopicText], asked: dm.Discovery) -> dm.Proposal:
    """Return the topics of tickets, each with the nearest of the categories that there are."""
    from triage_cli.classifiers import find_topics

    texts, writers = [], []
    for number, ticket in enumerate(tickets):
        texts.append(ticket.text[: dm.TOPIC_CHARACTERS])
        writers.append(ticket.customer or f"\0{number}")
    existing = [" ".join((each.name, each.description, *each.examples)) for each in categories]
    found = find_topics(texts, writers, asked.most, existing)
    taken: set[str] = set()
    groups = tuple(dm.TopicGroup(dm.topic_name(words, taken, most=1), words) for words in found.group_words)
    first_of: dict[int, int] = {}  # place of the largest topic of each group: those of a group stand together
    places = [place if t.group is None else first_of.setdefault(t.group, place) for place, t in enumerate(found.topics)]
    topics = []
    for _, topic in sorted(zip(places, found.topics, strict=True), key=itemgetter(0)):
        parent = "" if topic.group is None else groups[topic.group].name
        name = dm.topic_name(topic.words, taken, parent.casefold().split())
        topics.append(
            dm.Topic(
                name=name,
                parent=parent,
                words=topic.words,
                tickets=len(topic.members),
                customers=len({writers[index] for index in topic.members}),
                nearest=None if topic.nearest is None else categories[topic.nearest].name,
                examples=tuple(dm.redact(_on_one_line(texts[index]), REDACTABLE)[0] for index in topic.core),
                category=dm.category_of(name, parent),
            )
        )
    near = len(texts) - found.vague - found.far
    return dm.Proposal(tuple(topics), groups, len(texts), found.vague, found.far, near)


def _on_one_line(text: str) -> str:
    """Return a text without line ends and other controls, which no configuration takes."""
    return " ".join(re.sub(f"[{dm.CONTROLS}]", " ", text).split())


def exemplified(config: Config, tickets: Iterable[dm.Ticket]) -> list[str]:
    """Return the categories, and the values of questions, of whose examples one is the text of one of the tickets.

    It is that as a whole, or its subject or its description, as it stands or as topics have it.
    """
    texts = (text for ticket in tickets for text in (ticket.text, ticket.subject, ticket.description) if text)
    lines = {_on_one_line(text[: dm.TOPIC_CHARACTERS]) for text in texts}
    lines |= {dm.redact(line, REDACTABLE)[0] for line in lines}
    values = (value for question in config.asked for value in question.values)
    return [value.name for value in values if not lines.isdisjoint(map(_on_one_line, value.examples))]
