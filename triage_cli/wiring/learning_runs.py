"""Creates the training run and the evaluation run that the configuration asks for."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from triage_cli.config import Config
from triage_cli.domain import ClassifyPlan
from triage_cli.ports import Classifier
from triage_cli.service import Began, DecisionRecorder, RunContext, category_renames
from triage_cli.wiring.classifiers import Caller, built_in, encoder_of, open_classifier
from triage_cli.wiring.learned_models import has_learned
from triage_cli.wiring.stores import open_model_registry, open_store, with_first_names

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    from triage_cli.service import EvaluationRun, TrainingRun


def training_run(
    config: Config, actor: str, command_line: str, tell: Callable[[str], None], began: Began = lambda _: None,
    warn: Callable[[str], None] | None = None,
) -> "TrainingRun":  # fmt: skip
    """Return the training use cases. After a training, its version looks again at what embedded classifiers decided.

    `began` gets the run, `warn` what the new version no longer promises.
    """
    from triage_cli.classifiers import Trainer
    from triage_cli.service import Looked, SecondLook, TrainingRun

    store = open_store(config)

    def look(context: RunContext) -> Looked:
        category_renames.apply_renames(store, config.categories, config.routes, actor, context.run.run_id)
        named_config, caller = with_first_names(config, store), Caller(actor, context.run.run_id, {}, warn=warn)
        embedded_specs = [spec for spec in config.classifiers.values() if spec.type == "local"]
        labels = frozenset(category.name for category in config.categories)
        embedded_classifiers = (
            open_classifier(named_config, store, ClassifyPlan(spec.name), caller, tell) for spec in embedded_specs
        )
        recorders = (DecisionRecorder(context, classifier, labels) for classifier in embedded_classifiers)
        return SecondLook(recorders, {spec.name: spec.hysteresis for spec in embedded_specs}).over_all()

    named_config = with_first_names(config, store)
    specs_with_encoder = (spec for spec in config.classifiers.values() if spec.encoder is not None)
    encoder = next(
        map(encoder_of, specs_with_encoder), None
    )  # there is one learned model, so one encoder stands beside it
    trainer = Trainer(named_config.categories, lambda: built_in(named_config, store, tell, encoder).to_bytes(), encoder)
    return TrainingRun(
        store, open_model_registry(store), trainer, named_config.categories, look,
        actor=actor, command_line=command_line, began=began,
    )  # fmt: skip


def evaluation_run(config: Config, actor: str, command_line: str, tell: Callable[[str], None]) -> "EvaluationRun":
    """Return what evaluates the classifiers of the configuration."""
    from triage_cli.service import EvaluationRun

    store = open_store(config)

    def classifier(plan: ClassifyPlan, run_id: str) -> Classifier:
        return open_classifier(with_first_names(config, store), store, plan, Caller(actor, run_id, {}), tell)

    def learned(texts: Sequence[str]) -> list[bool]:
        return has_learned(config, store, texts, tell)

    registry = open_model_registry(store)
    return EvaluationRun(store, registry, config.categories, classifier, learned, config.per_day, actor, command_line)
