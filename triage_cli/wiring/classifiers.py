"""Creates the classifiers of the configuration: trained, calibrated and with their cache; a server keeps some open."""

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from triage_cli import domain as dm
from triage_cli import hooks
from triage_cli.config import CLASSIFIER_TYPES, MODELS, ClassifierSpec, Config, without_secrets
from triage_cli.hooks import Hook
from triage_cli.ports import AskedModel, Batcher, Classifier, Store
from triage_cli.runtime import Network
from triage_cli.wiring.learned_models import (
    doubted_before,
    find_error_bounds,
    levels_note,
    misfit,
    policy_in_use,
    promised_error,
    record_error_bounds,
    suited,
    taught_by_topic,
    threshold_note,
)
from triage_cli.wiring.stores import open_model_registry, with_first_names

if TYPE_CHECKING:
    from triage_cli.classifiers import Bounded, Calibrated, Head, Model
    from triage_cli.runtime import RateLimiter


class Asker(NamedTuple):
    """Who asks, and in which run. `rate_limiters` holds the rate limiter of each provider, shared by all askers.

    With `waits`, the embedded model answers in the thread that asks. With `warn`, thresholds that were found for
    `max_error` are recorded, and it gets messages about what changed, and about a cascade's step that is unavailable.
    """

    actor: str
    run_id: str
    rate_limiters: "dict[str, RateLimiter]"
    waits: bool = False
    warn: Callable[[str], None] | None = None


class Classifiers(NamedTuple):
    """Opens the classifiers of a configuration for an asker. `tell` gets notes about models and slow steps."""

    config: Config
    store: Store
    asker: Asker
    tell: Callable[[str], None] | None = None

    @classmethod
    def of(cls, config: Config, store: Store, asker: Asker, tell: Callable[[str], None] | None = None) -> Self:
        """Return what opens classifiers whose categories have their first names in the store."""
        return cls(with_first_names(config, store), store, asker, tell)

    def open(self, plan: dm.ClassifyPlan) -> Classifier:
        """Open the classifier of a plan, or the default one; the embedded model is trained if it is not stored."""
        name = plan.classifier or self.config.classifier
        spec = self.config.classifiers.get(name)
        if spec is None:
            raise dm.UsageError(f'no classifier "{name}"', hint=f"the config has {', '.join(self.config.classifiers)}")
        if plan.batch and not any(paid_steps(self.config, each) for each in self._asked_of(spec).values()):
            raise dm.UsageError(
                f'classifier "{name}" asks no provider{" offline" if self.config.offline else ""}, so nothing can be '
                "in a batch",
                hint="leave out --batch",
            )
        if (note := levels_note(self.config)) and not self.store.answers.know_levels():
            self._note(note)
        asked_of = self._asked_of(spec)
        paths = {question: self._steps_of(asked, question) for question, asked in asked_of.items()}
        if not paths[dm.CATEGORY]:
            raise dm.UsageError(f'classifier "{spec.name}" has no step that works offline', hint="leave out --offline")
        paid = paid_steps(self.config, spec)
        steps = [
            self._step(
                self.config.classifiers[step],
                plan,
                {question: asked_of[question] for question in asked},
                has_next=step in paid[:-1],
            )
            for step, asked in merged_steps(paths)
        ]
        if len(steps) == 1:
            return steps[0]
        from triage_cli.classifiers import Cascade

        return Cascade(spec.name, steps, spec.audit_rate, self.asker.warn or self.tell)

    def _asked_of(self, spec: ClassifierSpec) -> dict[str, ClassifierSpec]:
        """Return the classifier of each question, where `spec` is that of the category."""
        return {dm.CATEGORY: spec} | {
            question.name: self.config.classifiers[question.classifier] if question.classifier else spec
            for question in self.config.questions
        }

    def _steps_of(self, spec: ClassifierSpec, question: str) -> list[str]:
        """Return the steps by which a classifier answers a question; offline, only those that need no network."""
        if spec.type != "cascade" and question == dm.CATEGORY:
            return [spec.name]  # which refuses itself to be asked offline
        names = spec.steps or (spec.name,)
        return [n for n in names if not self.config.offline or not uses_network(self.config.classifiers[n])]

    def _step(
        self, spec: ClassifierSpec, plan: dm.ClassifyPlan, asked: Mapping[str, ClassifierSpec], *, has_next: bool
    ) -> Classifier:
        """Open what is asked several questions, with the thresholds that its `max_error` needs.

        `asked` has the classifier of each question, of which this one is a step or the only one.
        """
        if spec.type == "local":
            return self._with_thresholds(spec, self._embedded(spec, asked))
        if spec.type == "command":
            return self._with_thresholds(spec, self._program(spec, asked))
        if spec.type not in MODELS:
            return self._with_thresholds(spec, self._of_plugin(spec, asked))
        return self._with_thresholds(spec, self._paid(spec, plan, asked, has_next=has_next))

    def batcher(self, name: str, plan: dm.ClassifyPlan) -> Batcher:
        """Open the batches of a classifier; it may be outside of the plan, because its batches are to be collected."""
        from triage_cli.classifiers import ToldLanguage, told_language

        spec = self.config.classifiers.get(name)
        if spec is None:
            raise dm.ConfigError(
                f'a batch of classifier "{name}" is to be collected, which the config no longer has',
                hint="add it again until then",
            )
        steps = paid_steps(self.config, self.config.classifiers[plan.classifier or self.config.classifier])
        llm = self.llm(spec, plan, [dm.CATEGORY, *(question.name for question in self.config.questions)])
        calibrated = self._calibrated(spec, llm)
        bounded = self._bounded(spec, llm, calibrated)
        finished = ToldLanguage(llm, told_language)
        return llm.batcher(
            os.environ,
            has_next=name in steps[:-1],
            calibrate=lambda answer: finished.changed(calibrated.changed(answer) if calibrated else answer),
            bound=bounded.changed if bounded is not None else None,
        )

    def _questions(self, names: Collection[str]) -> list[dm.Question]:
        return [question for question in self.config.asked if question.name in names]

    def llm(self, spec: ClassifierSpec, plan: dm.ClassifyPlan, asked: Collection[str] = ()) -> AskedModel:
        """Open a classifier that asks a provider, by default for categories, without cache and calibration."""
        from triage_cli.runtime import RateLimiter

        limiters = self.asker.rate_limiters
        if spec.name not in limiters:
            limiters[spec.name] = RateLimiter(spec.requests_per_minute, spec.tokens_per_minute)
        opened = hooks.added(Hook.CLASSIFIER, spec.type)(
            spec._replace(workers=plan.workers or spec.workers),
            self.config.categories,
            questions=self._questions(asked),
            env=os.environ,
            actor=self.asker.actor,
            run_id=self.asker.run_id,
            max_wait=plan.max_wait,
            network=Network(self.config.offline),
            shared_rate_limiter=limiters[spec.name],
            nearest=partial(nearest_decided, self.store, self.config.categories, spec.nearest),
        )
        return cast("AskedModel", opened)

    def built_in(self, question: dm.Question) -> "Model":
        """Return the embedded model of a question's values alone; it is fitted and stored if it is missing.

        That of the default categories comes with the package.
        """
        from triage_cli.classifiers import fitted_model

        categories = question.values
        model = fitted_model.default_model(categories)
        if model is None:
            model_key = fitted_model.fingerprint(categories)
            weights = self.store.model(model_key)
            if weights is None:
                from triage_cli.classifiers import embedded_fit as fit

                fitted_to = "categories" if question.name == dm.CATEGORY else f"values of {question.name}"
                self._note(f"fitting the embedded model to {len(categories)} {fitted_to}, once")
                weights = fit.fit(categories).to_bytes()
                self.store.keep_model(model_key, weights, {"categories": len(categories)})
            model = fitted_model.Model.from_bytes(weights)
        # Its labels are in the order of the categories, and may be their former names.
        return model._replace(labels=tuple(c.name for c in categories))

    def _note(self, sentence: str) -> None:
        if self.tell is not None:
            self.tell(sentence)

    def _note_once(self, version: dm.ModelVersion, message: str) -> None:
        """Tell what is to be said of a version of an earlier release, when it first answers by this one."""
        mark = sha256(f"told of version {version.version}".encode()).hexdigest()
        if message and self.tell is not None and self.store.model(mark) is None:
            self._note(message)
            self.store.keep_model(mark, b"", {"told": version.version})

    def _with_thresholds(self, spec: ClassifierSpec, classifier: Classifier) -> Classifier:
        """Return a classifier with its calibration, and with the thresholds that its `max_error` needs."""
        calibrated = self._calibrated(spec, classifier, self.tell)
        return self._bounded(spec, classifier, calibrated, self.tell) or calibrated or classifier

    def _bounded(
        self,
        spec: ClassifierSpec,
        classifier: Classifier,
        calibrated: "Calibrated | None",
        tell: Callable[[str], None] | None = None,
    ) -> "Bounded | None":
        promised = [
            (question, max_error, fingerprint)
            for question in self.config.asked
            for fingerprint in classifier.fingerprints_of(question.name)
            if (max_error := promised_error(question, spec)) is not None
        ]
        if not promised:
            return None
        from triage_cli.classifiers import Bounded, Promise

        promises: dict[str, Promise] = {}
        for question, max_error, fingerprint in promised:
            found = find_error_bounds(question, self.store, fingerprint, max_error, tell)
            if self.asker.warn is not None:
                record_error_bounds(
                    open_model_registry(self.store),
                    spec.name,
                    question.name,
                    max_error,
                    fingerprint,
                    found,
                    lambda data: dm.Event(
                        dm.EventAction.BOUNDED, None, self.asker.run_id, self.asker.actor, dm.times.now(), data
                    ),
                    self.asker.warn,
                )
            curves = calibrated.curves.get(question.name) if calibrated else None
            promises[question.name] = Promise(
                dm.thresholds_of(found, [value.name for value in question.values]),
                question.labels,
                curves.calibrated if curves else None,
                taught_by_topic(question, self.store) if spec.type == "local" else lambda _: False,
                doubted_before(spec.name, question, self.store, fingerprint, max_error),
            )
        return Bounded(calibrated or classifier, promises)

    def _calibrated(
        self, spec: ClassifierSpec, classifier: Classifier, tell: Callable[[str], None] | None = None
    ) -> "Calibrated | None":
        registry = open_model_registry(self.store)
        calibrations = [
            (question, calibration)
            for question in self.config.asked
            for fingerprint in classifier.fingerprints_of(question.name)
            if (calibration := registry.calibration(fingerprint)) is not None
        ]
        if not calibrations:
            return None
        from triage_cli.classifiers import Calibrated, Curves

        curves: dict[str, Curves] = {}
        for question, calibration in calibrations:
            if tell is not None:
                basis = f"on {calibration.n:,} labelled tickets, {calibration.at[:10]}"
                about = "" if question.name == dm.CATEGORY else f" about {question.name}"
                tell(f"confidences of {spec.name}{about} are calibrated ({basis})")
            levels = question.labels
            above = registry.calibration(calibration.fingerprint + dm.ABOVE) if levels.parents else None
            curves[question.name] = Curves(dm.Curve.of(calibration), levels, dm.Curve.of(above) if above else None)
        return Calibrated(classifier, curves)

    def _paid(
        self, spec: ClassifierSpec, plan: dm.ClassifyPlan, asked: Collection[str], *, has_next: bool = False
    ) -> Classifier:
        from triage_cli.classifiers import CachedClassifier, Memory, ToldLanguage, told_language

        llm = self.llm(spec, plan, asked)
        inner: Classifier = llm
        if plan.batch:
            inner = llm.batched(has_next=has_next)
        store, registry = self.store, open_model_registry(self.store)
        # A stored answer may have the name of a rename that this configuration is older than.
        names = {name for category in self.config.categories for name in (category.name, *category.was)}
        known = {dm.CATEGORY: names} | {q.name: {value.name for value in q.values} for q in self.config.questions}

        def recall(keys: Sequence[str]) -> Mapping[str, dm.Classification]:
            stored = {} if plan.force else {**registry.trials(keys), **store.answers.recall(keys)}
            return {k: a for k, a in stored.items() if a.category is None or a.category in known.get(a.question, ())}

        memory = Memory(recall)
        if not plan.force and not plan.batch:  # what waits in a batch is joined where it is submitted
            begin, give_up = (
                partial(store.answers.begin, self.asker.run_id),
                partial(store.answers.give_up, self.asker.run_id),
            )
            memory = Memory(recall, begin, give_up, plan.max_wait)
        cached = CachedClassifier(inner, memory, self.asker.actor, self.asker.run_id)
        return ToldLanguage(cached, told_language)

    def _program(self, spec: ClassifierSpec, asked: Collection[str]) -> Classifier:
        from triage_cli.classifiers import CommandClassifier, ToldLanguage, told_language

        env = without_secrets(self.config, os.environ)
        program = CommandClassifier(
            spec,
            self.config.categories,
            questions=self._questions(asked),
            env=env,
            actor=self.asker.actor,
            run_id=self.asker.run_id,
        )
        return ToldLanguage(program, told_language)

    def _of_plugin(self, spec: ClassifierSpec, asked: Collection[str]) -> Classifier:
        from triage_cli.classifiers import ToldLanguage, told_language

        opened = hooks.added(Hook.CLASSIFIER, spec.type)(
            spec,
            self.config.categories,
            questions=self._questions(asked),
            offline=self.config.offline,
            actor=self.asker.actor,
            run_id=self.asker.run_id,
        )
        return ToldLanguage(cast("Classifier", opened), told_language)

    def _embedded(self, spec: ClassifierSpec, asked: Mapping[str, ClassifierSpec]) -> Classifier:
        from triage_cli.classifiers import embedded_classifier

        steps = {question for question, asked_of in asked.items() if asked_of.steps}
        heads = [self._head(spec, q, is_step=q.name in steps) for q in self.config.asked if q.name in asked]
        overlaps = not self.asker.waits
        return embedded_classifier.LocalClassifier(
            spec.name, heads, actor=self.asker.actor, run_id=self.asker.run_id, overlaps=overlaps
        )

    def _head(self, spec: ClassifierSpec, question: dm.Question, *, is_step: bool) -> "Head":
        """Return what answers a question: a learned version, or a model of its values alone."""
        from triage_cli.classifiers import embedded_classifier, fitted_model

        version = open_model_registry(self.store).active(question.name)
        model, origin = None, ""
        if version is not None:
            model = suited(version, question, self.store, self.tell)
            origin = f"version {version.version}, learned from {json.loads(version.metrics)['labelled']:,} tickets"
            if model is None and self.tell is not None:
                self.tell(misfit(version))
        policy = policy_in_use(question, self.store, spec, taught=model is not None, is_step=is_step)
        if model is None:
            is_first = self.store.model(fitted_model.fingerprint(question.values)) is None
            origin, model = "", self.built_in(question)
            if is_first and policy is not None and question.name == dm.CATEGORY:
                self._note(threshold_note(spec.name, question, self.store, spec))
        elif policy is None and version is not None and version.sure_from is None and not is_step:
            self._note_once(version, threshold_note(spec.name, question, self.store, spec))
        own = spec.threshold if question.min_confidence is None else question.min_confidence
        threshold = own if policy is None else policy.threshold
        return embedded_classifier.Head(model, threshold, question.values, question.name, origin, policy)


# Of the decided tickets, how many of the newest are compared, and how many of the nearest are looked at.
COMPARED, LOOKED_AT = 5_000, 50


def nearest_decided(store: Store, categories: Sequence[dm.Category], number: int, ticket: dm.Ticket) -> list[dm.Ticket]:
    """Return the nearest tickets with a verdict, the nearest last: one of each category first, as far as there is room.

    None has another category than these, or a text that addresses the classifier.
    """
    labels = frozenset(category.name for category in categories)
    suspicion = dm.Suspicion(labels)
    found = store.words.similar(ticket, dm.SimilarQuery(decided=True, limit=LOOKED_AT), COMPARED)
    tickets = store.find(dm.Selection(ids=tuple(ticket_id for ticket_id, _ in found))) if found else ()
    near = [t for t in tickets if t.verdict and t.category in labels and not suspicion.found(t.text)]
    firsts = list({t.category: t for t in reversed(near)}.values())
    chosen = sorted(firsts, key=near.index)[:number]
    chosen += [t for t in near if t not in chosen][: number - len(chosen)]
    return sorted(chosen, key=near.index, reverse=True)


def merged_steps(paths: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str]]]:
    """Return one list of steps that has the steps of each question in their order, and the questions of each step.

    A step that questions share is one, so that a language model is asked them together.
    """
    merged: list[tuple[str, list[str]]] = []
    for question, names in paths.items():
        place = -1
        for name in names:
            found = next((n for n in range(place + 1, len(merged)) if merged[n][0] == name), None)
            if found is None:
                found = place + 1
                merged.insert(found, (name, []))
            merged[found][1].append(question)
            place = found
    return merged


def about_alone(config: Config, question: dm.Question) -> Config:
    """Return a configuration in which the classifier of a plan is asked a question, beside the category at most."""
    if question.name == dm.CATEGORY:
        return config._replace(questions=())
    return config._replace(questions=(question._replace(classifier=None),))


def only_loads(config: Config, plan: dm.ClassifyPlan) -> bool:
    """Return whether opening a plan's classifier loads models and does nothing else that a user would miss.

    The others may lack a key, or find new thresholds.
    """
    spec = config.classifiers.get(plan.classifier or config.classifier)
    if spec is None or plan.batch:
        return False
    for question in config.asked:
        asked = config.classifiers[question.classifier] if question.classifier else spec
        steps = [config.classifiers[name] for name in asked.steps or (asked.name,)]
        if any(step.type != "local" or promised_error(question, step) is not None for step in steps):
            return False
    return True


def uses_network(spec: ClassifierSpec) -> bool:
    """Return whether a classifier uses the network, as far as that is known. Raises `UsageError` for a plug-in."""
    if spec.type in CLASSIFIER_TYPES:
        return spec.type in MODELS
    return bool(hooks.added(Hook.CLASSIFIER, spec.type).uses_network)


def paid_steps(config: Config, spec: ClassifierSpec) -> list[str]:
    """Return the names of the steps that ask a provider; offline there are none."""
    if config.offline:
        return []
    names = spec.steps if spec.type == "cascade" else (spec.name,)
    return [name for name in names if config.classifiers[name].type in MODELS]


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

    def __call__(self, plan: dm.ClassifyPlan) -> Classifier | None:
        """Return the classifier of a plan; None if it may ask a provider, has a `max_error`, or is not there."""
        name = plan.classifier or self._config.classifier
        # With a `max_error`, any label may change its thresholds.
        if not only_loads(self._config, plan) or self._config.classifiers[name].steps:
            return None
        with self._lock:
            pooled = self._pool.get(name)
            if pooled is None or time.monotonic() > pooled.until:
                basis = self._basis()
                opened = None if pooled is None or pooled.basis != basis else pooled.classifier
                if opened is None:
                    classifiers = Classifiers.of(self._config, self._store, Asker("", "", {}, waits=True), self._tell)
                    opened = classifiers.open(dm.ClassifyPlan(name))
                pooled = self._pool[name] = _PooledClassifier(opened, basis, time.monotonic() + BASIS_CHECK_SECONDS)
            return pooled.classifier

    def _basis(self) -> object:
        registry = open_model_registry(self._store)
        calibrations = [(c.fingerprint, c.at) for c in registry.calibrations()]
        renames = [list(self._store.categories.renames(question.name)) for question in self._config.asked]
        return registry.newest(), calibrations, renames
