"""Checks and figures of classifiers: a test question, a cost estimate, evaluation, training, calibrations."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from triage_cli.config import ClassifierSpec, Config
from triage_cli.domain import ids
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.errors import UnavailableError
from triage_cli.domain.evaluation.calibration import Calibration
from triage_cli.domain.evaluation.error_bounds import ErrorBound
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.ports.storage import Store
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.network import Network
from triage_cli.runtime.stop import StopControl
from triage_cli.service import category_renames
from triage_cli.service.classification.decision_recorder import DecisionRecorder
from triage_cli.service.run_context import RunContext
from triage_cli.service.run_recorder import Began, recorded_run
from triage_cli.wiring.classifiers import Caller, built_in, encoder_of, open_asked, open_classifier, paid_steps
from triage_cli.wiring.learned_models import suited, unsuited
from triage_cli.wiring.promised_thresholds import find, has_learned
from triage_cli.wiring.stores import known, open_shelf, open_store

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    from triage_cli.service.learning.evaluation_run import EvaluationRun
    from triage_cli.service.learning.training_run import TrainingRun


def try_classifier(config: Config, classifier_name: str, actor: str, command_line: str) -> str:
    """Ask a classifier one short question and return its answer as a message; if it may cost money, in a run.

    Raises what a run would raise.
    """
    store = open_store(config)
    if not asks_provider(config, classifier_name):
        return _tried(config, store, classifier_name, Budget.free(StopControl()))
    with recorded_run(store, "doctor", actor, command_line, StopControl()) as recorder:
        return _tried(config, store, classifier_name, recorder.context.open_budget(None, config.per_day))


def asks_provider(config: Config, classifier_name: str) -> bool:
    """Return whether a classifier, or one of its steps, asks a provider."""
    return bool(paid_steps(config, config.classifiers[classifier_name]))


def _tried(config: Config, store: Store, classifier_name: str, budget: Budget) -> str:
    spec = config.classifiers[classifier_name]
    plan, caller = ClassifyPlan(classifier_name, force=True, max_wait=0.0), Caller("doctor", ids.new_id(), {})
    model = open_asked(config, spec, plan, caller) if spec.type not in ("local", "cascade") else None
    classifier = model or open_classifier(known(config, store), store, plan, caller, None)
    category = config.categories[0].name
    question = Ticket.of_text("", ticket_id=ids.new_id(), source="doctor")
    ticket = question._replace(subject=f"A question about {category}", description=None)
    for outcomes in classifier.classify([[ticket]], budget):
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            last = outcome.value.steps[-1] if outcome.value else None
            if last is not None:
                share = "" if last.confidence is None else f" at {last.confidence:.2f} ({last.confidence_source})"
                held = f"; {model.provider.constraint}" if model else _encoder(spec)
                return f"{last.classifier} answered {last.category or 'none of these'}{share}{held}"
    raise UnavailableError(f'classifier "{classifier_name}" gave no answer', hint="try again later")


class Estimate(NamedTuple):
    """The estimated tickets, tokens and USD of a classification, its worst case in USD, and the first prompt.

    USD are None without a price; the worst case is what is set aside, for one call per ticket.
    """

    tickets: int
    tokens: int = 0
    cost: float | None = 0.0
    most: float | None = 0.0
    prompt: str = ""


def estimate(config: Config, plan: ClassifyPlan, tickets: Iterable[Ticket]) -> Estimate:
    """Estimate tokens and cost of classifying tickets, without a call; for a cascade, of its first paid step."""
    spec = config.classifiers[plan.classifier or config.classifier]
    steps = [config.classifiers[step] for step in spec.steps] if spec.type == "cascade" else [spec]
    paid = next((step for step in steps if step.type != "local"), None)
    if paid is None:
        return Estimate(sum(1 for _ in tickets))
    from triage_cli.classifiers.llm import classifier as llm_classifier
    from triage_cli.classifiers.llm import costs
    from triage_cli.classifiers.llm.provider import BUDGET

    asked = llm_classifier.build(
        paid, config.categories, env=os.environ, actor="", run_id=None, network=Network(config.offline)
    )
    bill = costs.Cost(costs.half(paid.price) if plan.batch else paid.price)
    number = tokens = 0
    cost, most, prompt = 0.0, 0.0, ""
    for ticket in tickets:
        question, _ = asked.question(ticket)
        worst = asked.worst(question, BUDGET)
        usage = costs.expected(worst)
        number, tokens = number + 1, tokens + usage.input + usage.output
        cost, most = cost + bill.price_of(usage), most + bill.price_of(worst)
        prompt = prompt or f"{question.system}\n\n{question.user}"
    return Estimate(number, tokens, cost if paid.price else None, most if paid.price else None, prompt)


def _encoder(spec: ClassifierSpec) -> str:
    """Return what doctor tells of an encoder; empty if there is none. Raises `ConfigError` if it does not work."""
    encoder = encoder_of(spec)
    if encoder is None:
        return ""
    return f"; encoder of {encoder.vectors(['a']).shape[1]} dimensions, sha256 {encoder.fingerprint[:12]}…"


def training_run(
    config: Config, actor: str, command_line: str, tell: Callable[[str], None], began: Began = lambda _: None,
    warn: Callable[[str], None] | None = None,
) -> "TrainingRun":  # fmt: skip
    """Return the training use cases. After a training, its version looks again at what embedded classifiers decided.

    `began` gets the run, `warn` what the new version no longer promises.
    """
    from triage_cli.classifiers.embedded.trainer import Trainer
    from triage_cli.service.learning.second_look import Looked, SecondLook
    from triage_cli.service.learning.training_run import TrainingRun

    store = open_store(config)

    def look(context: RunContext) -> Looked:
        category_renames.apply_renames(store, config.categories, config.routes, actor, context.run.run_id)
        present, caller = known(config, store), Caller(actor, context.run.run_id, {}, warn=warn)
        local = [spec for spec in config.classifiers.values() if spec.type == "local"]
        labels = frozenset(category.name for category in config.categories)
        opened = (open_classifier(present, store, ClassifyPlan(spec.name), caller, tell) for spec in local)
        recorders = (DecisionRecorder(context, classifier, labels) for classifier in opened)
        return SecondLook(recorders, {spec.name: spec.hysteresis for spec in local}).over_all()

    present = known(config, store)
    encoded = (spec for spec in config.classifiers.values() if spec.encoder is not None)
    encoder = next(map(encoder_of, encoded), None)  # there is one learned model, so one encoder stands beside it
    trainer = Trainer(present.categories, lambda: built_in(present, store, tell, encoder).to_bytes(), encoder)
    return TrainingRun(
        store, open_shelf(store), trainer, present.categories, look,
        actor=actor, command_line=command_line, began=began,
    )  # fmt: skip


def evaluation_run(config: Config, actor: str, command_line: str, tell: Callable[[str], None]) -> "EvaluationRun":
    """Return the evaluation use cases."""
    from triage_cli.service.learning.evaluation_run import EvaluationRun

    store = open_store(config)

    def classifier(plan: ClassifyPlan, run_id: str) -> Classifier:
        return open_classifier(known(config, store), store, plan, Caller(actor, run_id, {}), tell)

    def learned(texts: Sequence[str]) -> list[bool]:
        return has_learned(config, store, texts)

    registry = open_shelf(store)
    return EvaluationRun(store, registry, config.categories, classifier, learned, config.per_day, actor, command_line)


def learned_version(config: Config) -> tuple[str, bool] | None:
    """Return the description of the learned model, and whether it is in use; None if there is none."""
    store = open_store(config)
    version = open_shelf(store).active()
    if version is None:
        return None
    suits = suited(version, known(config, store), store) is not None
    labelled = json.loads(version.metrics)["labelled"]
    description = f"version {version.version} of {version.at[:10]}, learned from {labelled:,} tickets"
    return (description, True) if suits else (f"{unsuited(version)}: not in use", False)


def calibrations(config: Config) -> Iterator[tuple[str, Calibration, bool]]:
    """Yield each configured classifier's newest calibration, and whether it holds."""
    store = open_store(config)
    newest: dict[str, Calibration] = {}
    for calibration in open_shelf(store).calibrations():
        newest.setdefault(calibration.classifier, calibration)
    for classifier_name, spec in config.classifiers.items():
        if classifier_name in newest and spec.type != "cascade":
            held = open_shelf(store).calibration(_fingerprint(known(config, store), store, classifier_name))
            yield classifier_name, held or newest[classifier_name], held is not None


def promised(config: Config) -> Iterator[tuple[str, float, dict[str, ErrorBound]]]:
    """Yield each classifier with a `max_error`, that error, and the bound of each category."""
    store = open_store(config)
    named = known(config, store)
    for classifier_name, spec in config.classifiers.items():
        if spec.max_error is not None:
            fingerprint = _fingerprint(named, store, classifier_name)
            yield classifier_name, spec.max_error, find(named, store, fingerprint, spec.max_error)


def _fingerprint(config: Config, store: Store, classifier_name: str) -> str:
    """Return the fingerprint of what a classifier asks now."""
    caller = Caller("doctor", ids.new_id(), {})
    return open_classifier(config, store, ClassifyPlan(classifier_name), caller, None).fingerprint
