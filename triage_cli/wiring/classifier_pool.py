"""Classifiers that a server keeps open: those that answer at once and cost nothing."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from triage_cli.config import Config
from triage_cli.domain import ClassifyPlan
from triage_cli.ports import Classifier, Store
from triage_cli.wiring.classifiers import Caller, open_classifier
from triage_cli.wiring.stores import open_model_registry, with_first_names

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
        return active_versions, [(c.fingerprint, c.at) for c in registry.calibrations()], list(self._store.renames())
