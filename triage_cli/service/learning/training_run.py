"""Trains the embedded model on verdicts, keeps a new version if it is better, and has it look again at tickets."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from triage_cli.domain import (
    Category,
    Event,
    EventAction,
    Labelled,
    ModelVersion,
    UnavailableError,
    UsageError,
    compact,
    times,
)
from triage_cli.ports import ModelRegistry, Store, Trainer
from triage_cli.runtime import StopControl
from triage_cli.service.category_names import CategoryNames
from triage_cli.service.learning.model_comparison import Comparison, Figures, InUse, compared, figures, shared_settings
from triage_cli.service.learning.second_look import Look, Looked
from triage_cli.service.learning.suspect_labels import Confused, Suspect, suspect_labels
from triage_cli.service.learning.training_data import LEAST_LABELLED, TrainingData, gather_training_data, too_few
from triage_cli.service.run_context import RunContext
from triage_cli.service.run_recorder import Began, recorded_run

TRAINING_TRIES = 5  # if others become active meanwhile
MOST_UNLABELLED = 600  # stored tickets without a verdict that may be learned from
EVERY = 25  # verdicts of a sitting after which `review` offers to learn


class TrainingReport(NamedTuple):
    """The result of `learn`: the version in use, why, and the figures of the old and new model on the same tickets.

    `gain` is by how much the new log loss is lower, in nats, and `gain_interval` its 95 % interval. `looked` is what
    the second look of the version in use changed; None if the built-in model stays in use. `unlabelled` is how many
    stored tickets without a verdict were learned from, each with `unlabelled_weight` (a labelled one has 1).
    """

    version: int | None
    outcome: str  # learned | kept | rolled_back
    reason: str
    labelled: int
    from_verdicts: int
    skipped: int
    contradictory: int
    before: Figures | None = None
    after: Figures | None = None
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None
    looked: Looked | None = None
    unlabelled: int = 0
    unlabelled_weight: float = 0.0


class TrainingRun:
    """Trains for one list of categories, as one actor.

    `look` has the version in use look again at tickets; `began` gets each run.
    """

    def __init__(
        self, store: Store, registry: ModelRegistry, trainer: Trainer, categories: Sequence[Category], look: Look,
        *, actor: str, command_line: str, began: Began,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._trainer = trainer
        self._categories = categories
        self._look = look
        self._actor = actor
        self._command_line = command_line
        self._began = began

    def training_data(self, rows: Iterable[Labelled]) -> TrainingData:
        """Return the training data: the rows of a file, and the verdicts in the store, which overrule them.

        Raises `UsageError` if there are rows and none of their labels is a category.
        """
        return gather_training_data(list(rows), self._registry.labelled(), CategoryNames(self._categories))

    def learn_verdicts(self) -> TrainingReport:
        """Learn from the verdicts in the store alone; for `review`, which goes on with the new order."""
        return self.learn(self.training_data(()))

    def learn(self, training_data: TrainingData) -> TrainingReport:
        """Train a model, compare it with the one in use on held-out tickets, keep the better one, and look again.

        If another version became active meanwhile, it is compared with that one, with the present verdicts. The second
        look is also taken by a version that stays in use, so that what an interrupted run left is done. Raises
        `UnavailableError` if others keep learning.
        """
        with recorded_run(self._store, "learn", self._actor, self._command_line, StopControl()) as recorder:
            self._began(recorder)
            report = self._train_until_active(training_data, recorder.context)
            if report.version is None:
                return report
            return report._replace(looked=self._look(recorder.context))

    def _train_until_active(self, training_data: TrainingData, context: RunContext) -> TrainingReport:
        for _ in range(TRAINING_TRIES):
            if report := self._train_once(training_data, context):
                return report
            training_data = self.training_data(training_data.file_rows)
        raise UnavailableError(
            "other programs keep learning at the same time", hint="run it again when they have ended"
        )

    def _train_once(self, training_data: TrainingData, context: RunContext) -> TrainingReport | None:
        """Return the report of one training; None if the compared version is no longer active."""
        labelled_rows, active = training_data.rows, self._registry.active()
        used_version = active if active and self._trainer.suits(active.weights) else None
        report = TrainingReport(
            used_version.version if used_version else None, "kept", "", len(labelled_rows),
            sum(bool(row.ticket_id) for row in labelled_rows),
            training_data.skipped.total(), len(training_data.overruled),
        )  # fmt: skip
        in_use = self._in_use(labelled_rows, used_version)
        is_outdated = in_use.whole and (
            self._trainer.lacks_encoder(in_use.weights)
            # The store has the texts of verdicts; those of a file are known only while it is here.
            or (bool(training_data.file_rows) and self._trainer.lacks_copies(in_use.weights))
        )
        if reason := too_few(labelled_rows) or ("" if is_outdated else _nothing_new(in_use)):
            return report._replace(reason=reason)
        unlabelled = self._trainer.weighed(labelled_rows, self._registry.unlabelled(MOST_UNLABELLED))
        settings = shared_settings(self._trainer, labelled_rows, unlabelled)
        comparison = compared(self._trainer, labelled_rows, unlabelled, settings, in_use, context.heartbeat)
        if len(comparison.after) < LEAST_LABELLED:
            reason = f"too few labelled tickets differ so much that they can be held out ({len(comparison.after)})"
            return report._replace(reason=reason)
        gain, interval = comparison.gain
        before, after = figures(comparison.before), figures(comparison.after)
        report = report._replace(
            before=before, after=after, gain=gain, gain_interval=interval, unlabelled=len(unlabelled.texts),
            unlabelled_weight=unlabelled.weight,
        )  # fmt: skip
        if comparison.refusal:
            return report._replace(reason=comparison.refusal)
        metrics = {
            "labelled": len(labelled_rows), "held_out": after.n, "before": before.accuracy, "after": after.accuracy,
            "interval": list(after.interval), "log_loss": [before.log_loss, after.log_loss],
            "unlabelled": len(unlabelled.texts), "unlabelled_weight": unlabelled.weight,
        }  # fmt: skip
        names = compact([category.name for category in self._categories])
        weights, based_on = self._trainer.fit(labelled_rows, unlabelled, settings), active.version if active else 0
        new_version = ModelVersion(0, names, weights, compact(metrics), 1, self._actor, times.now(), based_on)
        event = Event(EventAction.LEARNED, None, context.run.run_id, self._actor, new_version.at, metrics)
        kept_version = self._registry.add_version(new_version, event)
        return kept_version and report._replace(
            version=kept_version.version, outcome="learned", reason=_learned_reason(comparison)
        )

    def _in_use(self, labelled_rows: Sequence[Labelled], used_version: ModelVersion | None) -> InUse:
        if used_version is None:
            return InUse(self._trainer.built_in(), [False] * len(labelled_rows), whole=False)
        known = self._trainer.seen(used_version.weights, [row.text for row in labelled_rows])
        return InUse(
            used_version.weights, known, whole=sum(known) == self._trainer.number_learned(used_version.weights)
        )

    def roll_back(self) -> TrainingReport:
        """Make the previous version active, before the first one the built-in model, and have it look again."""
        with recorded_run(self._store, "learn", self._actor, self._command_line, StopControl()) as recorder:
            self._began(recorder)
            event = Event(EventAction.ROLLED_BACK, None, recorder.context.run.run_id, self._actor, times.now())
            try:
                version = self._registry.step_back(event)
            except LookupError:
                raise UsageError(
                    "the built-in model is in use: there is nothing to go back to", hint="triage learn makes a version"
                ) from None
            looked = self._look(recorder.context)
        reason = f"version {version.version} is in use again" if version else "the built-in model is in use again"
        return TrainingReport(version.version if version else None, "rolled_back", reason, 0, 0, 0, 0, looked=looked)

    def suspects(self, training_data: TrainingData) -> tuple[list[Suspect], list[Confused]]:
        """Return the labels that several answers contradict, and the categories that are confused."""
        return suspect_labels(training_data, self._trainer, self._registry.opinions(), self._categories)


def _nothing_new(in_use: InUse) -> str:
    """Return why there is nothing to compare; empty if there is."""
    new_labels = sum(not known for known in in_use.known)
    if not new_labels:
        return "it has learned from all labelled tickets already"
    if len(in_use.comparable) < LEAST_LABELLED:
        return f"too few labelled tickets are new to it ({new_labels}) to tell whether learning again is better"
    return ""


def _learned_reason(comparison: Comparison) -> str:
    before, after = figures(comparison.before), figures(comparison.after)
    more_right, gain = comparison.more_right, f"log loss {after.log_loss:.2f} instead of {before.log_loss:.2f}"
    return f"{gain}, right on {abs(more_right):,} {'fewer' if more_right < 0 else 'more'} of {after.n:,}"
