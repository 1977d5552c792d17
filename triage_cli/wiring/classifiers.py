"""Creates the classifiers of the configuration: trained, calibrated and with their cache; a server keeps some open."""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from triage_cli.config import ClassifierSpec, Config
from triage_cli.domain import Classification, ClassifyPlan, ConfigError, Event, EventAction, UsageError, times
from triage_cli.ports import Batcher, Classifier, Store
from triage_cli.runtime import Network
from triage_cli.wiring.learned_models import (
    find_error_bounds,
    record_error_bounds,
    suited,
    thresholds_of,
    unsuited,
    version_name_of,
)
from triage_cli.wiring.stores import open_model_registry, with_first_names

if TYPE_CHECKING:
    from triage_cli.classifiers import BatchApi, Bounded, Calibrated, Encoder, LLMClassifier, Model
    from triage_cli.runtime import RateLimiter


class Caller(NamedTuple):
    """Who asks, and in which run. `rate_limiters` holds the rate limiter of each provider, shared by all callers.

    With `waits`, the embedded model answers in the caller's own thread. With `warn`, thresholds that were found for
    `max_error` are recorded, and it gets messages about what changed, and about a cascade's step that is unavailable.
    """

    actor: str
    run_id: str
    rate_limiters: "dict[str, RateLimiter]"
    waits: bool = False
    warn: Callable[[str], None] | None = None


def open_classifier(
    config: Config, store: Store, plan: ClassifyPlan, caller: Caller, tell: Callable[[str], None] | None
) -> Classifier:
    """Open the classifier of a plan, or the default one; the embedded model is trained if it is not stored."""
    classifier_name = plan.classifier or config.classifier
    spec = config.classifiers.get(classifier_name)
    if spec is None:
        raise UsageError(f'no classifier "{classifier_name}"', hint=f"the config has {', '.join(config.classifiers)}")
    if plan.batch and not paid_steps(config, spec):
        raise UsageError(
            f'classifier "{classifier_name}" asks no provider{" offline" if config.offline else ""}, so nothing can be '
            "in a batch",
            hint="leave out --batch",
        )
    if spec.type == "local":
        return _with_thresholds(
            config, store, spec, _embedded_classifier(config, store, spec, caller, tell), caller, tell
        )
    if spec.type == "cascade":
        return _cascade(config, store, spec, plan, caller, tell)
    return _with_thresholds(config, store, spec, _paid_classifier(config, store, spec, plan, caller), caller, tell)


def _cascade(
    config: Config, store: Store, spec: ClassifierSpec, plan: ClassifyPlan, caller: Caller,
    tell: Callable[[str], None] | None,
) -> Classifier:  # fmt: skip
    """Open the steps of a cascade, offline only those that need no network; a single one stands for itself."""
    from triage_cli.classifiers import Cascade

    names = [name for name in spec.steps if not config.offline or config.classifiers[name].type == "local"]
    if not names:
        raise UsageError(f'classifier "{spec.name}" has no step that works offline', hint="leave out --offline")
    paid = paid_steps(config, spec)
    steps = []
    for name in names:
        if name in paid:
            step_spec = config.classifiers[name]
            paid_classifier = _paid_classifier(config, store, step_spec, plan, caller, has_next=name != paid[-1])
            steps.append(_with_thresholds(config, store, step_spec, paid_classifier, caller, tell))
        else:
            step_plan = plan._replace(classifier=name, batch=False)
            steps.append(open_classifier(config, store, step_plan, caller, tell))
    return Cascade(spec.name, steps, spec.audit_rate, caller.warn or tell) if len(steps) > 1 else steps[0]


def only_loads(config: Config, plan: ClassifyPlan) -> bool:
    """Return whether opening a plan's classifier loads models and does nothing else that a user would miss.

    The others may lack a key, or find new thresholds.
    """
    spec = config.classifiers.get(plan.classifier or config.classifier)
    if spec is None or plan.batch:
        return False
    steps = [config.classifiers[name] for name in spec.steps] if spec.type == "cascade" else [spec]
    return all(step.type == "local" and step.encoder is None and step.max_error is None for step in steps)


def _with_thresholds(
    config: Config, store: Store, spec: ClassifierSpec, classifier: Classifier, caller: Caller,
    tell: Callable[[str], None] | None,
) -> Classifier:  # fmt: skip
    """Return a classifier with its calibration, and with the thresholds that its `max_error` needs."""
    calibrated = _calibrated(store, spec, classifier, tell) or classifier
    return _bounded(config, store, spec, calibrated, caller, tell) or calibrated


def _bounded(
    config: Config, store: Store, spec: ClassifierSpec, classifier: Classifier, caller: Caller,
    tell: Callable[[str], None] | None = None,
) -> "Bounded | None":  # fmt: skip
    if spec.max_error is None:
        return None
    from triage_cli.classifiers import Bounded

    category_bounds = find_error_bounds(config, store, classifier.fingerprint, spec.max_error, tell)
    if caller.warn is not None:

        def event(data: Mapping[str, object]) -> Event:
            return Event(EventAction.BOUNDED, None, caller.run_id, caller.actor, times.now(), data)

        record_error_bounds(
            open_model_registry(store), spec, classifier.fingerprint, category_bounds, event, caller.warn
        )
    return Bounded(classifier, thresholds_of(category_bounds))


def _calibrated(
    store: Store, spec: ClassifierSpec, classifier: Classifier, tell: Callable[[str], None] | None = None
) -> "Calibrated | None":
    calibration = open_model_registry(store).calibration(classifier.fingerprint)
    if calibration is None:
        return None
    from triage_cli.classifiers import Calibrated

    if tell is not None:
        tell(
            f"confidences of {spec.name} are calibrated (on {calibration.n:,} labelled tickets, {calibration.at[:10]})"
        )
    return Calibrated(classifier, calibration)


def paid_steps(config: Config, spec: ClassifierSpec) -> list[str]:
    """Return the names of the steps that ask a provider; offline there are none."""
    if config.offline:
        return []
    names = spec.steps if spec.type == "cascade" else (spec.name,)
    return [name for name in names if config.classifiers[name].type != "local"]


def open_batcher(config: Config, store: Store, classifier_name: str, plan: ClassifyPlan, caller: Caller) -> Batcher:
    """Open the batches of a classifier; it may be outside of the plan, because its batches are to be collected."""
    from triage_cli.classifiers import BatchClient

    spec = config.classifiers.get(classifier_name)
    if spec is None:
        raise ConfigError(
            f'a batch of classifier "{classifier_name}" is to be collected, which the config no longer has',
            hint="add it again until then",
        )
    steps = paid_steps(config, config.classifiers[plan.classifier or config.classifier])
    llm_classifier = open_llm_classifier(config, spec, plan, caller)
    calibrated = _calibrated(store, spec, llm_classifier)
    bounded = _bounded(config, store, spec, llm_classifier, caller)
    return BatchClient(
        llm_classifier, batch_api_of(llm_classifier, os.environ), has_next=classifier_name in steps[:-1],
        calibrate=calibrated.changed if calibrated is not None else None,
        bound=bounded.changed if bounded is not None else None,
    )  # fmt: skip


def batch_api_of(llm_classifier: "LLMClassifier", env: Mapping[str, str]) -> "BatchApi":
    """Return the batch API of a classifier's provider."""
    if llm_classifier.spec.type == "openai":
        from triage_cli.classifiers import OpenAIBatchApi

        return OpenAIBatchApi(llm_classifier.spec, env)
    from triage_cli.classifiers import AnthropicBatchApi

    return AnthropicBatchApi(llm_classifier.spec, env)


def open_llm_classifier(config: Config, spec: ClassifierSpec, plan: ClassifyPlan, caller: Caller) -> "LLMClassifier":
    """Open a classifier that asks a provider, without cache and calibration."""
    from triage_cli.classifiers import build
    from triage_cli.runtime import RateLimiter

    if spec.name not in caller.rate_limiters:
        caller.rate_limiters[spec.name] = RateLimiter(spec.requests_per_minute, spec.tokens_per_minute)
    return build(
        spec._replace(workers=plan.workers or spec.workers),
        config.categories,
        env=os.environ,
        actor=caller.actor,
        run_id=caller.run_id,
        max_wait=plan.max_wait,
        network=Network(config.offline),
        shared_rate_limiter=caller.rate_limiters[spec.name],
    )


def _paid_classifier(
    config: Config, store: Store, spec: ClassifierSpec, plan: ClassifyPlan, caller: Caller, *, has_next: bool = False
) -> Classifier:
    from triage_cli.classifiers import CachedClassifier

    llm_classifier = open_llm_classifier(config, spec, plan, caller)
    inner_classifier: Classifier = llm_classifier
    if plan.batch:
        from triage_cli.classifiers import BatchedClassifier

        inner_classifier = BatchedClassifier(llm_classifier, has_next=has_next)
    registry = open_model_registry(store)

    # A stored answer may have the name of a rename that this configuration is older than.
    category_names = {name for category in config.categories for name in (category.name, *category.was)}

    def recall(keys: Sequence[str]) -> Mapping[str, Classification]:
        stored_answers = {} if plan.force else {**registry.trials(keys), **store.answers.recall(keys)}
        return {
            key: answer
            for key, answer in stored_answers.items()
            if answer.category is None or answer.category in category_names
        }

    return CachedClassifier(inner_classifier, recall, caller.actor, caller.run_id)


def _embedded_classifier(
    config: Config, store: Store, spec: ClassifierSpec, caller: Caller, tell: Callable[[str], None] | None
) -> Classifier:
    from triage_cli.classifiers import embedded_classifier, fitted_model

    encoder = encoder_of(spec)
    version = open_model_registry(store).active()
    model = origin = None
    if version is not None:
        model = suited(version, config, store, tell, encoder)
        origin = f"version {version.version}, learned from {json.loads(version.metrics)['labelled']:,} tickets"
        if model is None and tell is not None:
            tell(f"{unsuited(version)}, so the built-in model answers; next: triage learn")
        elif model is not None and not fitted_model.knows_encoder(model, encoder.fingerprint if encoder else ""):
            if tell is not None:
                tell(
                    f"{version_name_of(version)} was not fitted beside this encoder, which is not asked; "
                    "next: triage learn with all the labels that it learned from"
                )
            encoder = None
    return embedded_classifier.LocalClassifier(
        spec.name,
        model or built_in(config, store, tell, encoder),
        spec.min_confidence,
        actor=caller.actor,
        run_id=caller.run_id,
        categories=config.categories,
        version=origin if model and origin else "",
        overlaps=not caller.waits,
        encoder=encoder,
    )


def encoder_of(spec: ClassifierSpec) -> "Encoder | None":
    """Return the encoder that an embedded classifier asks where it is unsure. Raises `ConfigError`."""
    if spec.encoder is None:
        return None
    from triage_cli.classifiers import Encoder

    return Encoder(spec.encoder)


def built_in(
    config: Config, store: Store, tell: Callable[[str], None] | None, encoder: "Encoder | None" = None
) -> "Model":
    """Return the embedded model of the categories alone; it is trained and stored if it is missing.

    That of the default categories comes with the package.
    """
    from triage_cli.classifiers import fitted_model

    model = fitted_model.default_model(config.categories) if encoder is None else None
    if model is None:
        model_key = fitted_model.fingerprint(config.categories) + (f" {encoder.fingerprint}" if encoder else "")
        weights = store.model(model_key)
        if weights is None:
            from triage_cli.classifiers import embedded_fit as fit

            if tell is not None:
                tell(f"fitting the embedded model to {len(config.categories)} categories, once")
            weights = fit.fit(config.categories, encoder=encoder).to_bytes()
            store.keep_model(model_key, weights, {"categories": len(config.categories)})
        model = fitted_model.Model.from_bytes(weights)
    # Its labels are in the order of the categories, and may be their former names.
    return model._replace(labels=tuple(c.name for c in config.categories))


# Seconds between two looks at whether another model, calibration or name of a category is in force.
BASIS_CHECK_SECONDS = 1.0


class _PooledClassifier(NamedTuple):
    classifier: Classifier
    basis: object  # what the classifier is made of
    until: float


class ClassifierPool:
    """Opens each classifier once, and again when what it is made of has changed."""

    def __init__(self, config: Config, store: Store, tell: Callable[[str], None] | None) -> None:
        self._config = config
        self._store = store
        self._tell = tell
        self._lock = threading.Lock()
        self._pool: dict[str, _PooledClassifier] = {}

    def __call__(self, plan: ClassifyPlan) -> Classifier | None:
        """Return the classifier of a plan; None if it may ask a provider, has a `max_error`, or is not there."""
        name = plan.classifier or self._config.classifier
        spec = self._config.classifiers.get(name)
        if spec is None or spec.type != "local" or spec.max_error is not None:  # any label may change its thresholds
            return None
        with self._lock:
            pooled = self._pool.get(name)
            if pooled is None or time.monotonic() > pooled.until:
                basis = self._basis()
                if pooled is None or pooled.basis != basis:
                    caller = Caller("", "", {}, waits=True)
                    named_config = with_first_names(self._config, self._store)
                    opened = open_classifier(named_config, self._store, ClassifyPlan(name), caller, self._tell)
                else:
                    opened = pooled.classifier
                pooled = self._pool[name] = _PooledClassifier(opened, basis, time.monotonic() + BASIS_CHECK_SECONDS)
            return pooled.classifier

    def _basis(self) -> object:
        registry = open_model_registry(self._store)
        active_versions = [version.version for version in registry.versions() if version.active]
        return (
            active_versions,
            [(c.fingerprint, c.at) for c in registry.calibrations()],
            list(self._store.categories.renames()),
        )
