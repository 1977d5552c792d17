"""Finds the thresholds that keep a promised error, from the labels in the store, and records when they change."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from triage_cli.config import ClassifierSpec, Config
from triage_cli.domain import NEVER, Curve, ErrorBound, Event, StoredBound, bounds, threshold_sentences, times
from triage_cli.ports import ModelRegistry, Store
from triage_cli.wiring.learned_models import suited, with_copies
from triage_cli.wiring.stores import open_model_registry, with_first_names


def find_error_bounds(
    config: Config, store: Store, fingerprint: str, max_error: float, tell: Callable[[str], None] | None = None
) -> dict[str, ErrorBound]:
    """Return the bound of each category for a question, from the answers to it about labelled texts.

    Texts from which the embedded model has learned do not count. `tell` gets a message if not all are recognised.
    """
    registry = open_model_registry(store)
    graded_answers = registry.graded(fingerprint)
    learned = has_learned(config, store, [answer.text for answer in graded_answers], tell)
    calibration = registry.calibration(fingerprint)
    if calibration is not None:
        curve = Curve(tuple((x, y) for x, y in json.loads(calibration.curve)), calibration.method)
        graded_answers = [a._replace(confidence=round(curve(a.confidence), 4)) for a in graded_answers]
    unlearned = (answer for answer, seen in zip(graded_answers, learned, strict=True) if not seen)
    return bounds(unlearned, [category.name for category in config.categories], max_error)


def has_learned(
    config: Config, store: Store, texts: Sequence[str], tell: Callable[[str], None] | None = None
) -> list[bool]:
    """Return for each text whether the embedded model in use was trained on it, be it in another spelling.

    An empty text never was. `tell` gets a message if not all texts are recognised in other spellings.
    """
    version = open_model_registry(store).active() if any(texts) else None
    if version is None:
        return [False] * len(texts)
    from triage_cli.classifiers import fitted_model

    model = suited(version, with_first_names(config, store), store)
    if model is None:
        return [False] * len(texts)
    model = with_copies(version, model, store, tell)
    return [seen and bool(text) for text, seen in zip(texts, fitted_model.has_learned(model, texts), strict=True)]


def thresholds_of(error_bounds: Mapping[str, ErrorBound]) -> dict[str, float]:
    """Return the thresholds of the categories for which the error can be promised."""
    return {name: bound.threshold for name, bound in error_bounds.items() if bound.threshold is not None}


def promised_thresholds(config: Config, store: Store) -> Callable[[str, str, float], float]:
    """Return a function from (fingerprint, category, max_error) to the confidence that a routing rule asks for."""

    @cache
    def thresholds_for(fingerprint: str, max_error: float) -> Mapping[str, float]:
        return thresholds_of(find_error_bounds(config, store, fingerprint, max_error))

    return lambda fingerprint, category, max_error: thresholds_for(fingerprint, max_error).get(category, NEVER)


def needed_confidence(config: Config, store: Store, category: str) -> dict[str, float | None]:
    """Return the confidence that each step of the default classifier needs for a category, None if none is enough.

    Of a step that promises a `max_error` it is the threshold that was found last.
    """
    spec = config.classifiers[config.classifier]
    stored_thresholds = {
        (b.classifier, b.max_error, b.category): b.threshold for b in open_model_registry(store).error_bounds()
    }
    steps = [config.classifiers[name] for name in spec.steps or (spec.name,)]
    return {
        step.name: step.min_confidence
        if step.max_error is None
        else stored_thresholds.get((step.name, step.max_error, category))
        for step in steps
    }


def record_error_bounds(
    registry: ModelRegistry,
    spec: ClassifierSpec,
    fingerprint: str,
    error_bounds: Mapping[str, ErrorBound],
    event: Callable[[Mapping[str, object]], Event],
    warn: Callable[[str], None],
) -> None:
    """Store the bounds of a classifier that have changed, with an event; tell what is withdrawn and what is missing."""
    bounds_before = [b for b in registry.error_bounds() if (b.classifier, b.max_error) == (spec.name, spec.max_error)]
    bounds_by_category, at = {bound.category: bound for bound in bounds_before}, times.now()
    present_bounds = [StoredBound(spec.name, fingerprint, *bound, at) for bound in error_bounds.values()]
    changed_bounds = [
        bound
        for bound in present_bounds
        if (was := bounds_by_category.get(bound.category)) is None or was._replace(at=at) != bound
    ]
    if not changed_bounds:
        return
    thresholds = {bound.category: bound.threshold for bound in changed_bounds}
    bounded_data = {"classifier": spec.name, "max_error": spec.max_error, "thresholds": thresholds}
    registry.keep_error_bounds(changed_bounds, event(bounded_data))
    for message in threshold_sentences.change_messages(changed_bounds, bounds_before):
        warn(message)
