"""Creates what trains the embedded model and what evaluates classifiers, from the configuration."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from triage_cli.config import Config
from triage_cli.domain.classifications import ClassifyPlan
from triage_cli.ports.classifiers import Classifier
from triage_cli.service import category_renames
from triage_cli.service.classification.decision_recorder import DecisionRecorder
from triage_cli.service.run_context import RunContext
from triage_cli.service.run_recorder import Began
from triage_cli.wiring.classifiers import Caller, built_in, encoder_of, open_classifier
from triage_cli.wiring.promised_thresholds import has_learned
from triage_cli.wiring.stores import known, open_shelf, open_store

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    from triage_cli.service.learning.evaluation_run import EvaluationRun
    from triage_cli.service.learning.training_run import TrainingRun


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
