"""Checks of classifiers for `doctor` and `eval`: a test question, the learned model, calibrations, promised errors."""

import json
from collections.abc import Container, Iterator
from enum import Enum

from triage_cli import domain as dm
from triage_cli.config import MODELS, ClassifierSpec, Config
from triage_cli.ports import Store
from triage_cli.runtime import Budget, StopControl
from triage_cli.service import ask_classifier as answers
from triage_cli.service import recorded_run
from triage_cli.wiring.classifiers import Asker, Classifiers, about_alone, paid_steps
from triage_cli.wiring.learned_models import (
    answered_before,
    changed_reading,
    find_error_bounds,
    how_to_learn_again,
    is_cautious,
    is_named_like,
    is_taught,
    levels_note,
    misfit,
    promised_error,
    repetition,
    stored_bounds,
    suited,
    threshold_in_use,
    threshold_note,
    unsuited,
    with_copies,
)
from triage_cli.wiring.stores import open_model_registry, open_store, with_first_names


def try_classifier(config: Config, classifier_name: str, actor: str, command_line: str) -> str:
    """Ask a classifier one short question and return its answer as a message; if it may cost money, in a run.

    Raises what a run would raise.
    """
    store = open_store(config)
    if not asks_provider(config, classifier_name):
        return _ask_test_question(config, store, classifier_name, Budget.free(StopControl()))
    with recorded_run(store, "doctor", actor, command_line, StopControl()) as recorder:
        return _ask_test_question(config, store, classifier_name, recorder.context.open_budget(None, config.per_day))


def asks_provider(config: Config, classifier_name: str) -> bool:
    """Return whether a classifier, or one of its steps, asks a provider."""
    return bool(paid_steps(config, config.classifiers[classifier_name]))


def _ask_test_question(config: Config, store: Store, classifier_name: str, budget: Budget) -> str:
    spec = config.classifiers[classifier_name]
    plan, asker = dm.ClassifyPlan(classifier_name, force=True, max_wait=0.0), Asker("doctor", dm.ids.new_id(), {})
    llm = Classifiers(config, store, asker).llm(spec, plan) if spec.type in MODELS else None
    classifier = llm or Classifiers.of(config, store, asker).open(plan)
    category = config.categories[0].name
    question = dm.Ticket.of_text("", ticket_id=dm.ids.new_id(), source="doctor")
    test_ticket = question._replace(subject=f"A question about {category}", description=None)
    for arrived in answers(classifier, [[test_ticket]], budget):
        for outcome in arrived.final:
            if outcome.error is not None:
                raise outcome.error
            last_answer = outcome.value.steps[-1] if outcome.value else None
            if last_answer is not None:
                share = last_answer.confidence
                confidence = "" if share is None else f" at {share:.2f} ({last_answer.confidence_source})"
                more = f"; {llm.constraint}" if llm else ""
                return f"{last_answer.classifier} answered {last_answer.category or 'none of these'}{confidence}{more}"
    raise dm.UnavailableError(f'classifier "{classifier_name}" gave no answer', hint="try again later")


def misfits(config: Config) -> Iterator[str]:
    """Yield a message about each learned model that cannot answer, as its values have other names now."""
    store = open_store(config)
    for question in with_first_names(config, store).asked:
        version = open_model_registry(store).active(question.name)
        if version is not None and not is_named_like(version, question):
            yield misfit(version)


def learned_versions(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield each question that has a learned model, the description of that, and what to do if it is not in use."""
    store = open_store(config)
    for question in with_first_names(config, store).asked:
        version = open_model_registry(store).active(question.name)
        if version is None:
            continue
        model = suited(version, question, store)
        labelled = json.loads(version.metrics)["labelled"]
        description = f"version {version.version} of {version.at[:10]}, learned from {labelled:,} tickets"
        if model is None:
            yield question.name, f"{unsuited(version)}: not in use", how_to_learn_again(version)
            continue
        remarks = [each for each in (repetition(version, model),) if each]
        with_copies(version, model, store, remarks.append)
        yield question.name, "; ".join((description, *remarks)), ""


def calibrations(config: Config) -> Iterator[tuple[str, dm.Calibration, bool]]:
    """Yield each configured classifier's newest calibration, and whether it holds; then those of further questions."""
    store = open_store(config)
    registry, named = open_model_registry(store), with_first_names(config, store)
    newest_calibrations: dict[str, dm.Calibration] = {}
    for calibration in registry.calibrations():
        newest_calibrations.setdefault(calibration.classifier, calibration)
    for name, spec in config.classifiers.items():
        if name not in newest_calibrations or spec.type == "cascade":
            continue
        found = {q.name: registry.calibration(f) for q in config.asked for f in _fingerprints(named, store, name, q)}
        if not found:  # whether a calibration holds of a classifier that cannot be opened is unknown
            continue
        in_force = found.pop(dm.CATEGORY, None)
        of_further = {question: calibration for question, calibration in found.items() if calibration is not None}
        if in_force is not None or not of_further:
            yield name, in_force or newest_calibrations[name], in_force is not None
        for question, calibration in of_further.items():
            yield f"{name}, {question}", calibration, True


def promised_errors(
    config: Config, names: Container[str] | None = None, about: str | None = None
) -> Iterator[tuple[str, str, dm.MaxError, dict[str, dm.ErrorBound]]]:
    """Yield each classifier with a `max_error`, the question that it promises it of, the promise, and its bounds.

    With `names`, only of the classifiers of these names; with `about`, only of the question of this name.
    """
    store = open_store(config)
    named_config = with_first_names(config, store)
    questions = [each for each in named_config.asked if about in (None, each.name)]
    for name, spec in config.classifiers.items():
        for question in questions:
            max_error = promised_error(question, spec)
            if max_error is None or spec.type == "cascade" or not (names is None or name in names):
                continue
            for fingerprint in _fingerprints(named_config, store, name, question):
                yield name, question.name, max_error, find_error_bounds(question, store, fingerprint, max_error)


def rule_promises(config: Config) -> Iterator[tuple[str, str, dm.MaxError, dict[str, dm.ErrorBound]]]:
    """Yield each rule with a `max_error`, each classifier that is no cascade, the promise, and its bounds."""
    store = open_store(config)
    named_config = with_first_names(config, store)
    question = named_config.asked[0]
    answering = [name for name, spec in config.classifiers.items() if spec.type != "cascade"]
    for rule in config.routes:
        if (max_error := rule.max_error) is None:
            continue
        for name, fingerprint in ((n, f) for n in answering for f in _fingerprints(named_config, store, n, question)):
            bounds = find_error_bounds(question, store, fingerprint, max_error, rule=rule.categories)
            yield rule.name, name, max_error, bounds


def meanings(config: Config, *, has_database: bool) -> Iterator[tuple[str, str]]:
    """Yield what a person may not expect: the name of what it is about, and a message.

    It is about names in levels, questions that nobody has taught, categories without a threshold that nobody has
    taught, and promises that once were for each category.
    """
    if note := levels_note(config):
        yield "levels", note
    store = open_store(config) if has_database else None
    yield from _untaught_questions(config, store)
    category = config.asked[0]
    for name, spec in config.classifiers.items():
        is_left_open = is_alone(config, name) and is_cautious(category, spec)
        if is_left_open and (note := threshold_note(name, category, store, spec)):
            yield f"threshold {name}", note
        if store is not None and spec.max_error is not None:
            stored = stored_bounds(open_model_registry(store), name, spec.max_error)
            if reading := changed_reading(name, spec.max_error, stored):
                yield f"promise {name}", reading
    for rule in config.routes:
        if rule.max_error and not rule.max_error.each and len(rule.categories or config.categories) > 1:
            share = dm.in_percent(rule.max_error.share)
            one_promise = f"max_error: {share} is one promise over all categories that the rule takes"
            yield rule.name, f"{one_promise}; {{each: {share}}} promises it of each, as an earlier release did"


def _untaught_questions(config: Config, store: Store | None) -> Iterator[tuple[str, str]]:
    """Yield a message about each further question of which no label was learned, unless a threshold is configured."""
    for question in config.questions:
        has_examples = any(value.examples for value in question.values)
        asked = config.classifiers[question.classifier or config.classifier]
        may_be_sure = has_examples and not is_cautious(question, asked)
        if may_be_sure or (store is not None and is_taught(question, store)):
            continue
        cautious = "no answer of the embedded model is sure"
        if has_examples and store is not None and answered_before(question, store):
            cautious = f"answers are sure from {dm.CAUTIOUS_THRESHOLD:.2f} on, as in an earlier release"
        teach = f"give verdicts on it, then {dm.Step.LEARN}"
        yield f"question {question.name}", f"no label of it was learned, so {cautious}; {teach}"


def answers_untaught(config: Config) -> bool:
    """Return whether the default classifier answers by a person's own categories, neither taught nor evaluated."""
    spec, category, store = config.classifiers[config.classifier], config.asked[0], open_store(config)
    return is_cautious(category, spec) and threshold_in_use(category, store, spec) == dm.CAUTIOUS_THRESHOLD


LEAST_MEASURED = 10  # answers of an evaluation that tell anything


class Measured(Enum):
    """How far anybody knows how right the default classifier is about the categories of a configuration."""

    NOT = "not"
    MISTRUSTED = "mistrusted"  # `eval` found what is sure wrong too often
    HELD_OUT = "held out"  # of the version in use, on verdicts that it did not learn
    EVALUATED = "evaluated"  # by `eval`, by a promise, or by those who made the built-in categories


def measured(config: Config) -> Measured:
    """Return what was measured of the answers that `route` would send."""
    from triage_cli.classifiers import are_built_in

    store, spec, category = open_store(config), config.classifiers[config.classifier], config.asked[0]
    if promised_error(category, spec) is not None or are_built_in(category.values):  # what is unproven waits
        return Measured.EVALUATED
    registry = open_model_registry(store)
    for fingerprint in _fingerprints(with_first_names(config, store), store, config.classifier, category):
        judged = registry.evaluated(fingerprint)
        if judged.is_mistrusted:
            return Measured.MISTRUSTED
        if judged.measured >= LEAST_MEASURED or registry.calibration(fingerprint) is not None:
            return Measured.EVALUATED
    return Measured.HELD_OUT if spec.type == "local" and is_taught(category, store) else Measured.NOT


def is_alone(config: Config, name: str) -> bool:
    """Return whether a classifier is used by itself, and not only as a step of a cascade."""
    return name == config.classifier or not any(name in spec.steps for spec in config.classifiers.values())


def own_threshold(config: Config, spec: ClassifierSpec, question: dm.Question) -> float | None:
    """Return the threshold of a classifier for a question; None if labels set it (`max_error`)."""
    if promised_error(question, spec) is not None:
        return None
    if spec.type == "local":
        return threshold_in_use(question, open_store(config), spec)
    return spec.min_confidence if question.min_confidence is None else question.min_confidence


def _fingerprints(config: Config, store: Store, classifier_name: str, question: dm.Question) -> tuple[str, ...]:
    """Return the fingerprint of what a classifier asks now for a question, if it answers that and can be opened.

    Why one cannot be opened, `try_classifier` says.
    """
    asker = Asker("doctor", dm.ids.new_id(), {})
    try:
        classifier = Classifiers(about_alone(config, question), store, asker).open(dm.ClassifyPlan(classifier_name))
    except (dm.UsageError, dm.RefusedError):  # offline, or without a key
        return ()
    return classifier.fingerprints_of(question.name)
