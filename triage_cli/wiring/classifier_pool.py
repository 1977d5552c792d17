"""Classifiers that a server keeps open: those that answer at once and cost nothing."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from triage_cli.config import Config
from triage_cli.domain.classifications import ClassifyPlan
from triage_cli.ports.classifiers import Classifier
from triage_cli.ports.storage import Store
from triage_cli.wiring.classifiers import Caller, open_classifier
from triage_cli.wiring.stores import known, open_shelf

# Seconds between two looks at whether another model, calibration or name of a category is in force.
LOOK = 1.0


class _Kept(NamedTuple):
    classifier: Classifier
    basis: object
    until: float


class ClassifierPool:
    """Opens each classifier once, and again when what it is made of has changed."""

    def __init__(self, config: Config, store: Store, tell: Callable[[str], None] | None) -> None:
        self._config = config
        self._store = store
        self._tell = tell
        self._lock = threading.Lock()
        self._entries: dict[str, _Kept] = {}

    def __call__(self, plan: ClassifyPlan) -> Classifier | None:
        """Return the classifier of a plan; None if it may ask a provider, has a `max_error`, or is not there."""
        name = plan.classifier or self._config.classifier
        spec = self._config.classifiers.get(name)
        if spec is None or spec.type != "local" or spec.max_error is not None:  # any label may change its thresholds
            return None
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or time.monotonic() > entry.until:
                basis = self._basis()
                if entry is None or entry.basis != basis:
                    caller = Caller("", "", {}, waits=True)
                    config = known(self._config, self._store)
                    opened = open_classifier(config, self._store, ClassifyPlan(name), caller, self._tell)
                else:
                    opened = entry.classifier
                entry = self._entries[name] = _Kept(opened, basis, time.monotonic() + LOOK)
            return entry.classifier

    def _basis(self) -> object:
        shelf = open_shelf(self._store)
        versions = [version.version for version in shelf.versions() if version.active]
        return versions, [(c.fingerprint, c.at) for c in shelf.calibrations()], list(self._store.renames())
