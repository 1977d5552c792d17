"""The analysis on this machine: what measures and improves decisions, over one configuration and its database."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from triage_cli import domain as dm
from triage_cli import hooks
from triage_cli.config import REDACTABLE, ClassifierSpec, Config
from triage_cli.hooks import Hook
from triage_cli.ports import Classifier, Store, TellProgress
from triage_cli.runtime import Budget, StopControl
from triage_cli.service import (
    Foresight,
    TrialRecorder,
    recorded_run,
    unasked_budget,
)
from triage_cli.wiring.classifier_diagnostics import own_threshold, promised_errors
from triage_cli.wiring.classifiers import Asker, Classifiers, about_alone, paid_steps
from triage_cli.wiring.cost_estimate import CostEstimate, estimate_cost
from triage_cli.wiring.destinations import routing_map
from triage_cli.wiring.learned_models import promised_error, threshold_note
from triage_cli.wiring.learning_runs import Analyst, evaluation_run, training_run
from triage_cli.wiring.stores import open_model_registry, open_store

if TYPE_CHECKING:
    from triage_cli.service import EvaluationRun, Outlook, TrainingRun


def _insight(name: str) -> Any:
    return hooks.added(Hook.ANALYSIS, name)


def no_limit(who: str = f"{dm.Step.ASK}") -> dm.UsageError:
    """Return the error of who asks for paid answers without saying how much they may cost."""
    return dm.UsageError(
        f"{who} pays for answers and no limit is given", hint=f"add {dm.Step.MAX_COST} USD, or budget.per_day"
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
        self.config = config
        self.analyst = analyst
        self._store = store
        self.guarded = guarded
        self._make = make
        self.stop_control = StopControl()
        self._evaluates: EvaluationRun | None = None  # one for all classifiers of a command, whose cost limit it keeps
        self.spent = 0.0

    @property
    def paid(self) -> float:
        """Return what this request has cost, in USD."""
        return self.spent

    def stop(self) -> None:
        self.stop_control.stop()

    def opened(self, *, read_only: bool = False, make: bool = False) -> Store:
        """Return the database: the one of the server, or else the configuration's, opened as the caller needs it."""
        return self._store or open_store(self.config, read_only=read_only, make=make)

    def foresee(
        self, drafts: Iterable[dm.TicketDraft], plan: dm.ClassifyPlan, *, routes: bool, ask: bool
    ) -> Iterator[dm.Outcome[dm.Foreseen]]:
        drafts = (dm.draft_with_fields(draft, self.config.fields) for draft in drafts)
        if not ask:
            store = self.opened(read_only=True)
            foresight = self._foresight(store, plan, Asker("plan", "", {}), routes=routes, may_ask=False)
            yield from foresight.over(drafts, unasked_budget(self.stop_control))
            return
        if plan.max_cost is None and self.config.per_day is None:
            raise no_limit()
        store = self.opened(make=True)
        with self.trial_run("preview", store, plan.max_cost, self.config.per_day) as (asker, trials, budget):
            foresight = self._foresight(store, plan, asker, routes=routes, may_ask=True)
            try:
                yield from foresight.over(drafts, budget, trials)
            finally:
                self.spent += budget.spent + budget.reserved

    @contextmanager
    def trial_run(
        self, kind: str, store: Store, max_cost: float | None, per_day: float | None
    ) -> Iterator[tuple[Asker, TrialRecorder, Budget]]:
        """Begin a run that asks and decides nothing: what was paid for is stored, so that nobody pays for it again."""
        analyst = self.analyst
        with recorded_run(store, kind, analyst.actor, analyst.command_line, self.stop_control) as recorder:
            analyst.began(recorder)
            budget = recorder.context.open_budget(max_cost, per_day)
            trials = TrialRecorder(open_model_registry(store), recorder.context)
            try:
                yield Asker(analyst.actor, recorder.context.run.run_id, {}), trials, budget
            finally:
                recorder.counts["asked"] = trials.saved

    def find_spikes(self, window: timedelta, baseline: timedelta) -> dm.SpikeSearch:
        found: dm.SpikeSearch = _insight("find_spikes")(self, window, baseline)
        return found

    def send_spikes(self, window: timedelta, baseline: timedelta) -> dm.SpikeSending | None:
        sending: dm.SpikeSending | None = _insight("send_spikes")(self, window, baseline)
        return sending

    def drift(self, window: timedelta, question: str = dm.CATEGORY) -> list[dm.Drift]:
        compared: list[dm.Drift] = _insight("drift")(self, window, question)
        return compared

    def report(self, since: datetime) -> dm.Report:
        report: dm.Report = _insight("report")(self, since)
        return report

    def plan(
        self, new: dm.NewConfiguration, written_since: str | None, *, ask: bool, max_cost: float | None
    ) -> dm.Plan:
        plan: dm.Plan = _insight("plan")(self, new, written_since, ask=ask, max_cost=max_cost)
        return plan

    def plan_texts(self, config: str | None, routes: str | None, written_since: str | None = None) -> dm.Plan:
        plan: dm.Plan = _insight("plan_texts")(self, config, routes, written_since)
        return plan

    def suspects(self, rows: Sequence[dm.Labelled], question: str = dm.CATEGORY) -> dm.SuspectReport:
        training = self._training_run(self.analyst._replace(warn=None), question)  # no threshold changes by it
        material = training.training_data(rows)
        suspects, confused = training.suspects(material)
        return dm.SuspectReport(tuple(suspects), tuple(confused), material.counts)

    def category_changes(
        self, rows: Sequence[dm.Labelled], tell: TellProgress, question: str = dm.CATEGORY
    ) -> dm.CategoryReport:
        from triage_cli.wiring.category_changes import find_changes

        store, asked = self.opened(make=self._make), self.config.question(question)
        training = self._training_run(self.analyst._replace(warn=None), question)
        return find_changes(self.config, store, training, rows, asked, tell)

    def discover(self, tickets: Iterable[dm.TopicText] | None, asked: dm.Discovery) -> dm.Proposal:
        """Return the topics of these tickets, or of the stored ones; of writing only what naming them costs."""
        if asked.name_with is not None:
            _check_names_topics(self.config, asked.name_with)
        if tickets is None:
            store = self.opened(read_only=True)
            selection = dm.Selection(written_since=asked.written_since, sources=asked.sources)
            stored = (ticket for ticket in store.find(selection) if not ticket.is_erased)
            tickets = (dm.TopicText(ticket.text[: dm.TOPIC_CHARACTERS], ticket.customer_id or "") for ticket in stored)
        proposal = discover(self.config.categories, tickets, asked)
        return proposal if asked.name_with is None or not proposal.topics else self._named(proposal, asked)

    def _named(self, proposal: dm.Proposal, asked: dm.Discovery) -> dm.Proposal:
        """Return a proposal that a language model has named, in a run of its own."""
        analyst, store = self.analyst, self.opened(make=True)
        with recorded_run(store, "discover", analyst.actor, analyst.command_line, self.stop_control) as recorder:
            analyst.began(recorder)
            budget = recorder.context.open_budget(asked.max_cost, self.config.per_day)
            classifiers = Classifiers(self.config, store, Asker(analyst.actor, recorder.context.run.run_id, {}))
            llm = classifiers.llm(self.config.classifiers[asked.name_with or ""], dm.ClassifyPlan())
            try:
                named, count = llm.named(proposal, budget)
            finally:
                self.spent += budget.spent + budget.reserved
            recorder.counts["named"] = count
        things = len(proposal.topics) + len(proposal.groups)
        analyst.tell(f"{asked.name_with} named {count:,} of {things:,} topics and groups, for {budget.spent:.4f} USD")
        return named

    def learn(self, rows: Sequence[dm.Labelled], tell: TellProgress, question: str | None = None) -> list[dm.Lesson]:
        return self._training_run(self.analyst, question).learn(rows, tell)

    def teach(self, plan: dm.ClassifyPlan, most: int, question: str = dm.CATEGORY) -> dm.TeacherReport:
        from triage_cli.classifiers import most_representative
        from triage_cli.service import chosen_lessons, taught

        asked, spec = self.config.question(question), self._teacher(plan)
        if paid_steps(self.config, spec) and plan.max_cost is None and self.config.per_day is None:
            raise no_limit("a lesson of a teacher")
        analyst, store = self.analyst, self.opened(make=self._make)
        registry, alone = open_model_registry(store), about_alone(self.config, asked)
        lessons = chosen_lessons(store, registry, most_representative, asked, most)
        estimate = estimate_cost(alone, plan, lessons.tickets(asked.name))
        price = f": {estimate.said()}" if estimate.tokens else ""
        analyst.tell(f"{spec.name} is asked about {estimate.tickets:,} texts{price}")
        with recorded_run(store, "learn", analyst.actor, analyst.command_line, self.stop_control) as recorder:
            analyst.began(recorder)
            budget = recorder.context.open_budget(plan.max_cost, self.config.per_day)
            asker = Asker(analyst.actor, recorder.context.run.run_id, {})
            try:
                teacher = Classifiers.of(alone, store, asker, analyst.tell).open(plan)
                return taught(lessons, teacher, asked, store, registry, recorder)
            finally:
                self.spent += budget.spent + budget.reserved

    def _teacher(self, plan: dm.ClassifyPlan) -> ClassifierSpec:
        spec = self.config.classifiers.get(plan.classifier or "")
        if spec is None:
            names = ", ".join(self.config.classifiers)
            raise dm.UsageError(f'no classifier "{plan.classifier}"', hint=f"the config has {names}")
        if spec.type == "local":
            raise dm.UsageError(f'"{spec.name}" is the embedded model, which learns', hint="name another classifier")
        return spec

    def roll_back(self) -> dm.TrainingReport:
        return self._training_run(self.analyst).roll_back()

    def _training_run(self, analyst: Analyst, question: str | None = None) -> "TrainingRun":
        store = self.opened(make=self._make)
        return training_run(self.config, analyst, store=store, question=question)

    def evaluate(
        self, rows: Sequence[dm.Labelled], plan: dm.ClassifyPlan, *, calibrate: bool, question: str = dm.CATEGORY
    ) -> dm.Evaluated:
        asked = self.config.question(question)
        plan = plan._replace(classifier=plan.classifier or asked.classifier or self.config.classifier)
        spec = self.config.classifiers.get(plan.classifier or "")
        own = None if spec is None else own_threshold(self.config, spec, asked)
        if spec is not None and (note := threshold_note(spec.name, asked, open_store(self.config), spec)):
            self.analyst.tell(note)
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
                found = [bounds for *_, bounds in promised_errors(self.config, {spec.name}, asked.name)]
                recommendation = dm.promised_recommendation(promise.share, [b for each in found for b in each.values()])
                return recommendation, dm.proven_forecast(answers, promise.share, now)
            if own is None or spec.type == "cascade":
                return None, None
            if spec.type != "local":
                return dm.recommended(answers, own), None
            version = open_model_registry(open_store(self.config)).active(asked.name)
            foreseen = version and version.forecast
            return dm.recommended(answers, own), foreseen.at(now) if foreseen else dm.unknown_forecast(now)

        return outlook

    def _evaluation_run(self, question: str) -> "EvaluationRun":
        if self._evaluates is None:
            make, store = self._make, self._store
            self._evaluates = evaluation_run(self.config, self.analyst, make=make, store=store, question=question)
            self._evaluates.stop_control = self.stop_control
        return self._evaluates

    def estimate_cost(self, plan: dm.ClassifyPlan, tickets: Iterable[dm.Ticket]) -> CostEstimate:
        """Estimate what it costs to classify tickets."""
        return estimate_cost(self.config, plan, tickets)

    def _foresight(
        self, store: Store, plan: dm.ClassifyPlan, asker: Asker, *, routes: bool, may_ask: bool
    ) -> Foresight:
        def likely_cost(ticket: dm.Ticket) -> float | None:
            return self.estimate_cost(plan, [ticket]).cost

        classifier = open_classifier(self.config, store, plan, asker, self.analyst.tell, may_ask=may_ask)
        rules = routing_map(self.config, store) if routes else None
        return Foresight(classifier, rules, self.config.categories, likely_cost, store, self.config.questions)


def open_classifier(
    config: Config, store: Store, plan: dm.ClassifyPlan, asker: Asker, tell: Callable[[str], None], *, may_ask: bool
) -> Classifier:
    """Open a classifier; unless it may ask, paid steps answer with what is stored and postpone the rest."""
    spec = config.classifiers.get(plan.classifier or config.classifier)
    postpones = not may_ask and spec is not None and bool(paid_steps(config, spec))
    return Classifiers.of(config, store, asker, tell).open(plan._replace(batch=postpones))


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
