"""Creates the training run and the evaluation run that the configuration asks for."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from triage_cli import domain as dm
from triage_cli.config import ClassifierSpec, Config
from triage_cli.ports import Classifier, Store
from triage_cli.runtime import StopControl
from triage_cli.service import Began, DecisionRecorder, RunContext, category_renames, unasked_budget
from triage_cli.wiring.classifier_diagnostics import is_alone
from triage_cli.wiring.classifiers import Asker, Classifiers, about_alone
from triage_cli.wiring.learned_models import (
    find_error_bounds,
    is_cautious,
    learned_before,
    promised_error,
    threshold_note,
)
from triage_cli.wiring.stores import open_model_registry, open_store

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    from triage_cli.service import EvaluationRun, Proof, TrainingRun


class Analyst(NamedTuple):
    """Who analyses, by which command, both stored with runs; `tell` gets notes, `warn` warnings, `began` each run."""

    actor: str
    command_line: str
    tell: Callable[[str], None] = lambda _: None
    warn: Callable[[str], None] | None = None
    began: Began = lambda _: None


def training_run(
    config: Config, analyst: Analyst, *, store: Store | None = None, question: str | None = None
) -> "TrainingRun":
    """Return the training use cases of one question, or of all.

    After a training, the version of each question looks again at what embedded classifiers answered; the analyst is
    warned of what it no longer promises, and of what sets its threshold now, if that
    changed. A `store` may be open already.
    """
    from triage_cli.classifiers import LocalTrainer
    from triage_cli.service import SecondLook, Subject, TextUse, TrainingRun

    actor, command_line, tell, warn, began = analyst
    store = store or open_store(config)
    embedded_specs = [spec for spec in config.classifiers.values() if spec.type == "local"]
    alone_specs = [spec for spec in embedded_specs if is_alone(config, spec.name)]

    def thresholds() -> list[str]:
        return [threshold_note(spec.name, config.asked[0], store, spec) for spec in alone_specs]

    thresholds_before = thresholds() if warn is not None else []

    def look(context: RunContext, name: str) -> dm.Looked:
        category_renames.apply_renames(store, config.asked, config.routes, actor, context.run.run_id)
        alone = about_alone(config, config.question(name))
        classifiers = Classifiers.of(alone, store, Asker(actor, context.run.run_id, {}, warn=warn), tell)
        if name == dm.CATEGORY and warn is not None:
            for message in thresholds():
                if message and message not in thresholds_before:
                    warn(message)
        opened = (classifiers.open(dm.ClassifyPlan(spec.name)) for spec in embedded_specs)
        recorders = (DecisionRecorder(context, classifier, config.asked) for classifier in opened)
        return SecondLook(recorders, {spec.name: spec.hysteresis for spec in embedded_specs}, name).over_all()

    classifiers = Classifiers.of(config, store, Asker("", "", {}), tell)
    asked = classifiers.config.asked if question is None else (classifiers.config.question(question),)
    by_use = sorted([*alone_specs, *embedded_specs], key=lambda spec: spec.name != config.classifier)
    subjects = [
        Subject(each, LocalTrainer(each.values, partial(_built_in, classifiers, each)), *_configured(each, by_use))
        for each in asked
    ]
    registry = open_model_registry(store)
    return TrainingRun(
        store,
        registry,
        subjects,
        look,
        actor=actor,
        command_line=command_line,
        began=began,
        texts=TextUse(config.texts_kept, partial(prove_version, store, alone_specs), tell),
    )


def prove_version(
    store: Store,
    specs: Sequence[ClassifierSpec],
    question: dm.Question,
    weights: bytes,
    rows: Sequence[dm.Labelled],
) -> "Proof":
    """Grade a version's answers about labelled texts that prove, so that promises about it are found by them.

    The version must not be used if the one in use keeps a promise that this one breaks. Copies of texts that
    it has learned prove nothing. A label that is no value any more makes each sure answer wrong.
    """
    from triage_cli.classifiers import embedded_classifier, fitted_model
    from triage_cli.service import Proof

    model = fitted_model.Model.from_bytes(weights)
    names = category_renames.CategoryNames.of(question)
    learned = fitted_model.has_learned(model, [row.text for row in rows])
    unlearned = [row for row, is_known in zip(rows, learned, strict=True) if not is_known]
    head = embedded_classifier.Head(model, 0.0, question.values, question.name)
    classifier = embedded_classifier.LocalClassifier("learn", [head], actor="", run_id=None, overlaps=False)
    tickets = (
        dm.Ticket.of_text(row.text, ticket_id=str(n), source="learn")._replace(asked=(question.name,))
        for n, row in enumerate(unlearned)
    )
    graded = (
        dm.LabelledAnswer(answer, names.match(row.category) or "", row.text)
        for outcomes in classifier.classify(dm.chunked(tickets, classifier.chunk_size), unasked_budget(StopControl()))
        for outcome in outcomes
        if outcome.value
        for answer, row in [(outcome.value.steps[-1], unlearned[int(outcome.ticket.ticket_id)])]
        if answer.category is not None and answer.raw_confidence is not None
    )
    registry = open_model_registry(store)
    registry.keep_graded(graded)
    promises = {promise for spec in specs if (promise := promised_error(question, spec))}
    found = {each: [*find_error_bounds(question, store, head.fingerprint, each).values()] for each in promises}
    answers = registry.graded(head.fingerprint, question.name)
    proof = next((_promised(question, answers, *each) for each in found.items()), Proof())
    if (active := registry.active(question.name)) is None:
        return proof
    in_use = embedded_classifier.question_fingerprint(fitted_model.Model.from_bytes(active.weights).learned, question)
    for max_error, bounds in found.items():
        before = find_error_bounds(question, store, in_use, max_error).values()
        if any(each.threshold is not None for each in before) and all(each.threshold is None for each in bounds):
            share = dm.in_percent(max_error.share)
            return Proof(
                f"the promise of {share}, which holds, is not proven of the new model by {len(unlearned):,} texts"
            )
    return proof


def _promised(
    question: dm.Question, answers: Sequence[dm.GradedAnswer], promise: dm.MaxError, bounds: Sequence[dm.ErrorBound]
) -> "Proof":
    """Return what is missing of a promise, and where it holds for all categories together, what it will send."""
    from triage_cli.service import Proof

    recommendation = dm.promised_recommendation(promise.share, bounds)
    together = next((each for each in bounds if each.category == dm.OVERALL), None)
    if together is None or together.threshold is None:
        return Proof(recommendation=recommendation)
    is_within = question.labels.is_within
    graded = [(answer.confidence, is_within(answer.label, answer.category)) for answer in answers]
    forecast = dm.proven_forecast(graded, promise.share, together.labelled / len(graded))
    return Proof(recommendation=recommendation, forecast=forecast)


def _configured(question: dm.Question, specs: Sequence[ClassifierSpec]) -> tuple[float | None, dm.MaxError | None]:
    """Return the threshold and the promise of the first embedded classifier about a question; None if labels set it."""
    for spec in specs:
        is_open = is_cautious(question, spec)
        return None if is_open else question.min_confidence or spec.threshold, promised_error(question, spec)
    return None, None


def _built_in(classifiers: Classifiers, question: dm.Question) -> bytes:
    return classifiers.built_in(question).to_bytes()


def evaluation_run(
    config: Config, analyst: Analyst, *, make: bool = False, store: Store | None = None, question: str = dm.CATEGORY
) -> "EvaluationRun":
    """Return what evaluates the answers of the configuration's classifiers to a question.

    With `make`, a missing database is created, unless a `store` is open already.
    """
    from triage_cli.service import EvaluationRun

    actor, command_line, tell, _, began = analyst
    store = store or open_store(config, make=make)
    asked = config.question(question)

    def classifier(plan: dm.ClassifyPlan, run_id: str) -> Classifier:
        alone = about_alone(config, asked)
        return Classifiers.of(alone, store, Asker(actor, run_id, {}), tell).open(plan)

    def learned(texts: Sequence[str]) -> list[bool]:
        return learned_before(asked, store, texts, tell)

    registry = open_model_registry(store)
    run = EvaluationRun(store, registry, asked, classifier, learned, config.per_day, actor, command_line)
    run.began = began
    return run
