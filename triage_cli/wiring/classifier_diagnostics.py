"""Checks of classifiers for `doctor` and `eval`: a test question, the learned model, calibrations, promised errors."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from triage_cli.config import ClassifierSpec, Config
from triage_cli.domain import ids
from triage_cli.domain.classifications import ClassifyPlan
from triage_cli.domain.errors import UnavailableError
from triage_cli.domain.evaluation.calibration import Calibration
from triage_cli.domain.evaluation.error_bounds import ErrorBound
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.storage import Store
from triage_cli.runtime.budget import Budget
from triage_cli.runtime.stop import StopControl
from triage_cli.service.run_recorder import recorded_run
from triage_cli.wiring.classifiers import Caller, encoder_of, open_asked, open_classifier, paid_steps
from triage_cli.wiring.learned_models import suited, unsuited
from triage_cli.wiring.promised_thresholds import find
from triage_cli.wiring.stores import known, open_shelf, open_store

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    pass


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


def _encoder(spec: ClassifierSpec) -> str:
    """Return what doctor tells of an encoder; empty if there is none. Raises `ConfigError` if it does not work."""
    encoder = encoder_of(spec)
    if encoder is None:
        return ""
    return f"; encoder of {encoder.vectors(['a']).shape[1]} dimensions, sha256 {encoder.fingerprint[:12]}…"


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
