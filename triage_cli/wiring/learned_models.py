"""Learned versions of the embedded model, and the thresholds that labels promise: which of them can answer."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.config import ClassifierSpec, Config
from triage_cli.ports import ModelRegistry, Store
from triage_cli.wiring.stores import open_model_registry, rooted_question

if TYPE_CHECKING:
    from triage_cli.classifiers import Model


_EARLIER_RELEASE = "an earlier release"


def suited(
    version: dm.ModelVersion, question: dm.Question, store: Store, tell: Callable[[str], None] | None = None
) -> "Model | None":
    """Return a learned model with a question's values; None if it cannot answer for them.

    A model of an earlier release is fitted again, once, if all labels that it learned from are stored.
    """
    from triage_cli.classifiers import fitted_model

    model = fitted_model.Model.from_bytes(version.weights)
    if model.method != fitted_model.METHOD:
        model = _fitted_again(version, model, question, store, tell) or model
    return fitted_model.suited_model(model, question.values)


def _fitted_again(
    version: dm.ModelVersion,
    old_model: "Model",
    question: dm.Question,
    store: Store,
    tell: Callable[[str], None] | None,
) -> "Model | None":
    from triage_cli.classifiers import fitted_model
    from triage_cli.service import CategoryNames

    key_parts = (fitted_model.METHOD, old_model.learned, fitted_model.fingerprint(question.values))
    model_key = sha256("\0".join(key_parts).encode()).hexdigest()
    weights = store.model(model_key)
    if weights is None:
        names = CategoryNames(question.values, question.name)
        labelled = open_model_registry(store).labelled(question.name)
        labels = {row.text: names.match(row.category, whole=True) for row in labelled}
        learned_texts = [
            text
            for text, is_known in zip(labels, fitted_model.knows_exactly(old_model, list(labels)), strict=True)
            if is_known
        ]
        if not learned_texts or len({fitted_model.text_number(text) for text in learned_texts}) < len(old_model.seen):
            return None
        from triage_cli.classifiers import embedded_fit as fit

        if tell is not None:
            tell(
                f"{version_name_of(version)} is of {_EARLIER_RELEASE}: "
                f"fitting it again to its {len(learned_texts):,} labels, once"
            )
        weights = fit.fit(question.values, [(text, labels[text] or "") for text in learned_texts]).to_bytes()
        store.keep_model(model_key, weights, {"version": version.version, "labelled": len(learned_texts)})
    return fitted_model.Model.from_bytes(weights)


def with_copies(
    version: dm.ModelVersion, model: "Model", store: Store, tell: Callable[[str], None] | None = None
) -> "Model":
    """Return a learned model that recognises its texts in other spellings; one of an earlier release by stored texts.

    `tell` gets a message if some of its texts are not stored, so that copies of them are not recognised.
    """
    from triage_cli.classifiers import fitted_model

    if not fitted_model.lacks_copies(model):
        return model
    texts = list({row.text for row in open_model_registry(store).labelled(version.question)})
    learned = [text for text, is_known in zip(texts, fitted_model.knows_exactly(model, texts), strict=True) if is_known]
    if tell is not None and (number := len(model.seen) - len(learned)):
        tell(
            f"{version_name_of(version)} is of {_EARLIER_RELEASE}: it recognises {number:,} of its texts only in their "
            f"exact spelling, so copies of these in another one count as labels; next: {dm.Step.LEARN} with their file"
        )
    return model._replace(copies=fitted_model.copy_numbers(learned))


def repetition(version: dm.ModelVersion, model: "Model") -> str:
    """Return the message that a model of an earlier release may repeat labels of topics or its own guesses; or none."""
    metrics = json.loads(version.metrics)
    if model.own is not None or not (_of_file(metrics) or metrics.get("unlabelled_weight")):
        return ""
    return (
        f"{version_name_of(version)} is of {_EARLIER_RELEASE} and may repeat labels that nobody gave, so nothing is "
        f"promised of it; next: {how_to_learn_again(version)}"
    )


def version_name_of(version: dm.ModelVersion) -> str:
    """Return what messages call a learned version."""
    of_question = "" if version.question == dm.CATEGORY else f" of {version.question}"
    return f"learned model version {version.version}{of_question}"


def how_to_learn_again(version: dm.ModelVersion) -> str:
    """Return the command that learns anew what a version has learned; earlier releases stored no labels of a file."""
    is_of_file = _of_file(json.loads(version.metrics))
    return f"{dm.Step.LEARN} FILE, with the labels that it learned" if is_of_file else dm.Step.LEARN


def _of_file(metrics: Mapping[str, Any]) -> bool:
    """Return whether labels of a file were learned, by the metrics of a version."""
    return bool(metrics["labelled"] > metrics.get("from_verdicts", metrics["labelled"]))


def misfit(version: dm.ModelVersion) -> str:
    """Return the message that a learned model cannot answer, who does instead, and what to do."""
    return f"{unsuited(version)}, so the built-in model answers; next: {how_to_learn_again(version)}"


def unsuited(version: dm.ModelVersion) -> str:
    """Return the message about a learned model that cannot answer."""
    from triage_cli.classifiers import fitted_model

    version_name = version_name_of(version)
    if fitted_model.Model.from_bytes(version.weights).method != fitted_model.METHOD:
        return f"{version_name} is of {_EARLIER_RELEASE}, and not all labels that it learned from are stored"
    others = "categories" if version.question == dm.CATEGORY else "values"
    return f"{version_name} is for other {others} ({', '.join(json.loads(version.categories))})"


def promised_error(question: dm.Question, spec: ClassifierSpec) -> dm.MaxError | None:
    """Return what a classifier promises of a question: its own `max_error`, else the classifier's."""
    return question.max_error or (spec.max_error if question.min_confidence is None else None)


def find_error_bounds(
    question: dm.Question,
    store: Store,
    fingerprint: str,
    max_error: dm.MaxError,
    tell: Callable[[str], None] | None = None,
    rule: Sequence[str] | None = None,
) -> dict[str, dm.ErrorBound]:
    """Return the bounds of a question (`bounds`), from the answers to it about labelled texts.

    Texts from which the embedded model has learned do not count. `tell` gets a message if not all are recognised.
    `rule` are the categories of the rule whose promise it is, empty if it takes all.
    """
    registry = open_model_registry(store)
    graded_answers = registry.graded(fingerprint, question.name)
    in_use = _in_use(question, store) if graded_answers else None
    if in_use and (repeated := _repetition_of(in_use, question, fingerprint)):
        graded_answers = []
        if tell is not None:
            tell(repeated)
    learned = _learned(in_use, store, [answer.text for answer in graded_answers], tell)
    levels, calibrated = question.labels, dm.level_calibration(registry.calibration, fingerprint)
    unlearned = (
        dm.graded_levels(answer, levels, calibrated, rule)
        for answer, seen in zip(graded_answers, learned, strict=True)
        if not seen
    )
    bounds = registry.error_bounds() if rule is None else ()
    held = [each for each in bounds if (each.fingerprint, each.question) == (fingerprint, question.name)]
    return dm.bounds(unlearned, rule or [value.name for value in question.values], max_error, held)


class _InUse(NamedTuple):
    version: dm.ModelVersion
    model: "Model"


def _in_use(question: dm.Question, store: Store) -> _InUse | None:
    """Return the version in use for a question with its model, which is read anew; None if none can answer."""
    version = open_model_registry(store).active(question.name)
    model = None if version is None else suited(version, rooted_question(question, store), store)
    return None if version is None or model is None else _InUse(version, model)


def _repetition_of(in_use: _InUse, question: dm.Question, fingerprint: str) -> str:
    """Return the `repetition` of the model in use for a question, if it is the one that has this fingerprint."""
    from triage_cli.classifiers import embedded_classifier

    own = embedded_classifier.question_fingerprint(in_use.model.learned, question)
    return repetition(*in_use) if own == fingerprint else ""


def learned_before(
    question: dm.Question, store: Store, texts: Sequence[str], tell: Callable[[str], None] | None = None
) -> list[bool]:
    """Return for each text whether the model in use for a question was trained on it, be it in another spelling.

    An empty text never was. `tell` gets a message if not all texts are recognised in other spellings.
    """
    return _learned(_in_use(question, store) if any(texts) else None, store, texts, tell)


def _learned(
    in_use: _InUse | None, store: Store, texts: Sequence[str], tell: Callable[[str], None] | None
) -> list[bool]:
    if in_use is None or not any(texts):
        return [False] * len(texts)
    from triage_cli.classifiers import fitted_model

    model = with_copies(*in_use, store, tell)
    return [seen and bool(text) for text, seen in zip(texts, fitted_model.has_learned(model, texts), strict=True)]


def taught_by_topic(question: dm.Question, store: Store) -> Callable[[str], bool]:
    """Return what tells whether the model in use for a question was taught a text by the label of a topic."""
    in_use = _in_use(question, store)
    if in_use is None:
        return lambda _: False
    from triage_cli.classifiers import fitted_model

    return fitted_model.learned_by_topic(in_use.model)


def doubted_before(
    classifier_name: str, question: dm.Question, store: Store, fingerprint: str, max_error: dm.MaxError
) -> Callable[[dm.Classification, str], bool]:
    """Return what tells of an answer about a text whether an earlier version was unsure of it and kept the promise.

    What a later version is sure of among these was chosen by that doubt, as no labels are, so nothing is proven of it.
    """

    @cache
    def threshold_of(earlier: str) -> Mapping[str, float]:
        found = find_error_bounds(question, store, earlier, max_error)
        return dm.thresholds_of(found, [value.name for value in question.values])

    calibration_of = cache(lambda earlier: dm.level_calibration(open_model_registry(store).calibration, earlier))

    def is_doubt(earlier: dm.Classification, text: str) -> bool:
        asked = earlier.step == classifier_name and earlier.question == question.name and not earlier.error
        if not asked or earlier.fingerprint == fingerprint or earlier.confidence_source in ("human", dm.PRECEDENT):
            return False
        if earlier.answer_key != dm.ids.answer_key(earlier.fingerprint, text):
            return False
        threshold = threshold_of(earlier.fingerprint).get(earlier.category or "")
        calibrated, confidence = calibration_of(earlier.fingerprint), earlier.raw_confidence
        if threshold is None or confidence is None:
            return threshold is not None
        return (confidence if calibrated is None else calibrated(confidence, False)) < threshold

    return lambda answer, text: any(is_doubt(earlier, text) for earlier in store.answers.of_ticket(answer.ticket_id))


def level_chances(levels: dm.Levels, store: Store) -> Callable[[dm.Classification, str], float]:
    """Return a function from (answer, category) to the probability of a category above that of the answer."""
    calibration_of = cache(
        lambda fingerprint: dm.level_calibration(open_model_registry(store).calibration, fingerprint)
    )

    def chance(answer: dm.Classification, category: str) -> float:
        own = levels.chances(answer).get(category, answer.raw_confidence or 0.0)
        calibrated = None if answer.raw is None else calibration_of(answer.fingerprint)
        return max(answer.confidence or 0.0, own if calibrated is None else calibrated(own, True))

    return chance


def promised_thresholds(config: Config, store: Store) -> Callable[[dm.Classification, str, dm.Rule, str], float]:
    """Return a function from (answer, category, rule, text) to the confidence that a rule with a `max_error` asks for.

    The promise is about the rule's categories; labels of a file have none of the other columns that a rule may name.
    """
    taught = cache(lambda: taught_by_topic(config.asked[0], store))

    @cache
    def thresholds_for(fingerprint: str, max_error: dm.MaxError, names: tuple[str, ...]) -> Mapping[str, float]:
        found = find_error_bounds(config.asked[0], store, fingerprint, max_error, rule=names)
        return dm.thresholds_of(found, names or [category.name for category in config.categories])

    def promised(answer: dm.Classification, category: str, rule: dm.Rule, text: str) -> float:
        if rule.max_error is None or (answer.confidence_source == "model" and taught()(text)):
            return dm.NEVER
        return thresholds_for(answer.fingerprint, rule.max_error, rule.categories).get(category, dm.NEVER)

    return promised


def is_cautious(question: dm.Question, spec: ClassifierSpec) -> bool:
    """Return whether an embedded classifier has the threshold that held-out answers bear out.

    The model of the default categories was evaluated by those who made it.
    """
    from triage_cli.classifiers import are_built_in

    is_left_open = spec.min_confidence is None and question.min_confidence is None
    has_promise = promised_error(question, spec) is not None
    return spec.type == "local" and is_left_open and not has_promise and not are_built_in(question.values)


def threshold_note(name: str, question: dm.Question, store: Store | None, spec: ClassifierSpec) -> str:
    """Return the message about the threshold that an embedded classifier has where the configuration names none.

    It is empty where the configuration names one, or a calibration or the makers of the categories evaluated it.
    """
    if not is_cautious(question, spec):
        return ""
    version = None if store is None else open_model_registry(store).active(question.name)
    policy = dm.MeasuredThreshold() if store is None else policy_in_use(question, store, spec)
    if policy is not None:
        sure = "sure of nothing" if policy.threshold >= dm.NEVER else f"sure from {policy.threshold:.2f} on"
        return f"{name} is {sure}: {policy.basis}; min_confidence sets another threshold (docs/howto/first-week.md)"
    if version is None or version.sure_from is not None or not is_named_like(version, question):
        return ""
    return (
        f"{name} is sure from {spec.threshold:.2f} on: {version_name_of(version)}, of "
        f"{json.loads(version.metrics)['labelled']:,} labels, is of {_EARLIER_RELEASE}, which did not measure that; it "
        f"holds until {how_to_learn_again(version)} does (docs/howto/first-week.md)"
    )


def levels_note(config: Config) -> str:
    """Return the message that names of the configuration are in levels, unless it says itself whether they are."""
    return "" if "levels" in config.origins else dm.levels_sentence(config.categories)


def threshold_in_use(
    question: dm.Question, store: Store, spec: ClassifierSpec, *, taught: bool | None = None, is_step: bool = False
) -> float:
    """Return the confidence from which on an embedded classifier is sure of a question now (`policy_in_use`)."""
    policy = policy_in_use(question, store, spec, taught=taught, is_step=is_step)
    if policy is not None:
        return policy.threshold
    return spec.threshold if question.min_confidence is None else question.min_confidence


def policy_in_use(
    question: dm.Question, store: Store, spec: ClassifierSpec, *, taught: bool | None = None, is_step: bool = False
) -> dm.MeasuredThreshold | None:
    """Return the threshold that held-out answers bear out; None if the configuration or a calibration decides.

    So it is for a version of an earlier release, too, until the next one is learned. A further question is never sure
    before it has learned labels: by examples alone it is often told worse than by its commonest value. One without
    examples is not, whatever is configured; one that an earlier release answered goes on as it was. `taught` says
    whether a learned version answers, if that is known; a step of a cascade is not cautious.
    """
    may_guess = question.name == dm.CATEGORY or any(value.examples for value in question.values)
    is_open = not is_step and is_cautious(question, spec)
    if may_guess and not is_open:
        return None
    version = open_model_registry(store).active(question.name)
    if version is not None and not (is_named_like(version, question) if taught is None else taught):
        version = None
    is_taught_by_people = version is not None and version.is_measured
    if (is_taught_by_people and not is_open) or _is_calibrated(version, question, store):
        return None
    if version is not None and (is_taught_by_people or version.sure_from is not None):
        return version.sure_from
    is_sure = question.name == dm.CATEGORY or (may_guess and answered_before(question, store))
    return dm.MeasuredThreshold() if is_sure else dm.MeasuredThreshold(dm.NEVER)


def answered_before(question: dm.Question, store: Store) -> bool:
    """Return whether an earlier release has answered a question by its examples: what was sent goes on to be sent."""
    from triage_cli.classifiers import fitted_model

    weights = store.model(fitted_model.fingerprint(question.values))
    return weights is not None and fitted_model.Model.from_bytes(weights).is_of_earlier_examples


def _is_calibrated(version: dm.ModelVersion | None, question: dm.Question, store: Store) -> bool:
    """Return whether labelled answers have calibrated a version, or the built-in model."""
    registry = open_model_registry(store)
    if not registry.calibrations():
        return False
    from triage_cli.classifiers import embedded_classifier, fitted_model

    learned = "" if version is None else fitted_model.Model.from_bytes(version.weights).learned
    name = learned or fitted_model.fingerprint(question.values)
    fingerprint = embedded_classifier.question_fingerprint(name, question)
    return registry.calibration(fingerprint) is not None


def is_taught(question: dm.Question, store: Store) -> bool:
    """Return whether the learned version in use has a question's values, by their names alone, and was measured."""
    version = open_model_registry(store).active(question.name)
    return version is not None and version.is_measured and is_named_like(version, question)


def is_named_like(version: dm.ModelVersion, question: dm.Question) -> bool:
    """Return whether a learned version has a question's values, by their names alone."""
    present_names = {name: c.name for c in question.values for name in (c.name, c.root, *c.was)}
    learned_names = [present_names.get(name, "") for name in json.loads(version.categories)]
    return sorted(learned_names) == sorted(value.name for value in question.values)


def needed_confidence(config: Config, store: Store, category: str) -> dict[str, float | None]:
    """Return the confidence that each step of the default classifier needs for a category, None if none is enough.

    Of a step that promises a `max_error` it is the threshold that was found last.
    """
    spec = config.classifiers[config.classifier]
    stored_thresholds = {
        (b.classifier, b.max_error, b.category): b.threshold
        for b in open_model_registry(store).error_bounds()
        if b.question == dm.CATEGORY
    }

    def promised(name: str, max_error: dm.MaxError) -> float | None:
        together = None if max_error.each else stored_thresholds.get((name, max_error.share, dm.OVERALL))
        return together or stored_thresholds.get((name, max_error.share, category))

    steps = [config.classifiers[name] for name in spec.steps or (spec.name,)]
    return {
        step.name: promised(step.name, step.max_error)
        if step.max_error is not None
        else step.threshold
        if spec.steps
        else threshold_in_use(config.asked[0], store, step)
        for step in steps
    }


def record_error_bounds(
    registry: ModelRegistry,
    classifier_name: str,
    question: str,
    max_error: dm.MaxError,
    fingerprint: str,
    error_bounds: Mapping[str, dm.ErrorBound],
    event: Callable[[Mapping[str, object]], dm.Event],
    warn: Callable[[str], None],
) -> None:
    """Store the bounds of a classifier that have changed, with an event; tell what is withdrawn and what is missing."""
    bounds_before = stored_bounds(registry, classifier_name, max_error, question)
    if question == dm.CATEGORY and (reading := changed_reading(classifier_name, max_error, bounds_before)):
        warn(reading)
    bounds_by_category, at = {bound.category: bound for bound in bounds_before}, dm.times.now()
    present = [dm.StoredBound(classifier_name, fingerprint, *bound, at, question) for bound in error_bounds.values()]
    changed_bounds = [
        bound
        for bound in present
        if (was := bounds_by_category.get(bound.category)) is None or was._replace(at=at) != bound
    ]
    if not changed_bounds:
        return
    thresholds = {bound.category: bound.threshold for bound in changed_bounds}
    bounded_data = {"classifier": classifier_name, "max_error": max_error.configured, "thresholds": thresholds}
    if question != dm.CATEGORY:
        bounded_data["question"] = question
    registry.keep_error_bounds(changed_bounds, event(bounded_data))
    for message in dm.bound_changes(changed_bounds, bounds_before):
        warn(message)


def stored_bounds(
    registry: ModelRegistry, name: str, max_error: dm.MaxError, question: str = dm.CATEGORY
) -> list[dm.StoredBound]:
    """Return the bounds that were found last for a classifier's promise about a question."""
    promise = name, question, max_error.share
    return [
        bound for bound in registry.error_bounds() if (bound.classifier, bound.question, bound.max_error) == promise
    ]


def promised_bounds(config: Config, registry: ModelRegistry) -> list[dm.StoredBound]:
    """Return the bounds of what classifiers promise of the category now; where one over all is proven, that alone."""
    found: list[dm.StoredBound] = []
    for name, spec in config.classifiers.items():
        max_error = promised_error(config.asked[0], spec)
        bounds = [] if max_error is None else stored_bounds(registry, name, max_error)
        together = [bound for bound in bounds if bound.category == dm.OVERALL]
        of_each = sorted(bound for bound in bounds if bound.category != dm.OVERALL)
        is_proven = any(bound.threshold is not None for bound in together)
        found += together if is_proven else [*together, *of_each] if max_error and not max_error.each else of_each
    return found


def changed_reading(classifier_name: str, max_error: dm.MaxError, bounds_before: Sequence[dm.StoredBound]) -> str:
    """Return a message if an earlier release has read a `max_error` as a promise for each category; else nothing."""
    if max_error.each or not bounds_before:
        return ""
    if any(bound.category == dm.OVERALL for bound in bounds_before):
        return ""
    share = dm.in_percent(max_error.share)
    return (
        f"max_error: {share} of {classifier_name} is one promise now, over all that it is sure of; "
        f"{{each: {share}}} promises it of each category, as before"
    )
