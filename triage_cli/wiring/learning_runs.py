"""Creates the training run and the evaluation run that the configuration asks for."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from triage_cli.config import Config
from triage_cli.domain import ClassifyPlan
from triage_cli.ports import Classifier, Store
from triage_cli.service import Began, DecisionRecorder, RunContext, category_renames
from triage_cli.wiring.classifiers import Asker, Classifiers
from triage_cli.wiring.learned_models import learned_before
from triage_cli.wiring.stores import open_model_registry, open_store

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    from triage_cli.service import EvaluationRun, TrainingRun


def training_run(
    config: Config,
    actor: str,
    command_line: str,
    tell: Callable[[str], None],
    began: Began = lambda _: None,
    warn: Callable[[str], None] | None = None,
    *,
    make: bool = False,
    store: Store | None = None,
) -> "TrainingRun":
    """Return the training use cases. After a training, its version looks again at what embedded classifiers decided.

    `began` gets the run, `warn` what the new version no longer promises. With `make`, a missing database is created,
    unless a `store` is open already.
    """
    from triage_cli.classifiers import LocalTrainer
    from triage_cli.domain import CATEGORY, Looked, Question
    from triage_cli.service import SecondLook, TrainingRun

    store = store or open_store(config, make=make)

    def look(context: RunContext) -> Looked:
        category_renames.apply_renames(store, config.categories, config.routes, actor, context.run.run_id)
        classifiers = Classifiers.of(config, store, Asker(actor, context.run.run_id, {}, warn=warn), tell)
        embedded_specs = [spec for spec in config.classifiers.values() if spec.type == "local"]
        questions = [Question(CATEGORY, config.categories), *config.questions]
        opened = (classifiers.open(ClassifyPlan(spec.name)) for spec in embedded_specs)
        recorders = (DecisionRecorder(context, classifier, questions) for classifier in opened)
        return SecondLook(recorders, {spec.name: spec.hysteresis for spec in embedded_specs}).over_all()

    classifiers = Classifiers.of(config, store, Asker("", "", {}), tell)
    categories = classifiers.config.categories
    trainer = LocalTrainer(categories, lambda: classifiers.built_in().to_bytes())
    return TrainingRun(
        store,
        open_model_registry(store),
        trainer,
        categories,
        look,
        actor=actor,
        command_line=command_line,
        began=began,
    )


def evaluation_run(
    config: Config,
    actor: str,
    command_line: str,
    tell: Callable[[str], None],
    *,
    make: bool = False,
    store: Store | None = None,
) -> "EvaluationRun":
    """Return what evaluates the classifiers of the configuration.

    With `make`, a missing database is created, unless a `store` is open already.
    """
    from triage_cli.service import EvaluationRun

    store = store or open_store(config, make=make)

    def classifier(plan: ClassifyPlan, run_id: str) -> Classifier:
        return Classifiers.of(config, store, Asker(actor, run_id, {}), tell).open(plan)

    def learned(texts: Sequence[str]) -> list[bool]:
        return learned_before(config, store, texts, tell)

    registry = open_model_registry(store)
    return EvaluationRun(store, registry, config.categories, classifier, learned, config.per_day, actor, command_line)
