"""Trains the embedded model on verdicts, keeps a new version if it is better, and has it look again at tickets."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from triage_cli.domain import times
from triage_cli.domain.audit.events import Event, EventAction
from triage_cli.domain.errors import UnavailableError, UsageError
from triage_cli.domain.learning import Labelled, ModelVersion
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Category
from triage_cli.ports.classifiers import Trainer
from triage_cli.ports.model_registry import ModelRegistry
from triage_cli.ports.storage import Store
from triage_cli.runtime.stop import StopControl
from triage_cli.service.category_names import CategoryNames
from triage_cli.service.learning.model_comparison import Comparison, Figures, InUse, compared, figures, shared_settings
from triage_cli.service.learning.second_look import Look, Looked
from triage_cli.service.learning.suspect_labels import Confused, Suspect, suspect_labels
from triage_cli.service.learning.training_data import LEAST, Material, gathered, too_few
from triage_cli.service.run_context import RunContext
from triage_cli.service.run_recorder import Began, recorded_run

TRIES = 5  # trainings, if others become active meanwhile
UNLABELLED = 600  # stored tickets without a verdict that may be learned from
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

    def material(self, rows: Iterable[Labelled]) -> Material:
        """Return the training data: the rows of a file, and the verdicts in the store, which overrule them.

        Raises `UsageError` if there are rows and none of their labels is a category.
        """
        return gathered(list(rows), self._registry.labelled(), CategoryNames(self._categories))

    def learn_verdicts(self) -> TrainingReport:
        """Learn from the verdicts in the store alone; for `review`, which goes on with the new order."""
        return self.learn(self.material(()))

    def learn(self, material: Material) -> TrainingReport:
        """Train a model, compare it with the one in use on held-out tickets, keep the better one, and look again.

        If another version became active meanwhile, it is compared with that one, with the present verdicts. The second
        look is also taken by a version that stays in use, so that what an interrupted run left is done. Raises
        `UnavailableError` if others keep learning.
        """
        with recorded_run(self._store, "learn", self._actor, self._command_line, StopControl()) as recorder:
            self._began(recorder)
            report = self._trained(material, recorder.context)
            if report.version is None:
                return report
            return report._replace(looked=self._look(recorder.context))

    def _trained(self, material: Material, context: RunContext) -> TrainingReport:
        for _ in range(TRIES):
            if report := self._tried(material, context):
                return report
            material = self.material(material.file_rows)
        raise UnavailableError(
            "other programs keep learning at the same time", hint="run it again when they have ended"
        )

    def _tried(self, material: Material, context: RunContext) -> TrainingReport | None:
        """Return the report of one training; None if the compared version is no longer active."""
        rows, active = material.rows, self._registry.active()
        used = active if active and self._trainer.suits(active.weights) else None
        report = TrainingReport(
            used.version if used else None, "kept", "", len(rows), sum(bool(row.ticket_id) for row in rows),
            material.skipped.total(), len(material.overruled),
        )  # fmt: skip
        in_use = self._in_use(rows, used)
        lacks_encoder = in_use.whole and self._trainer.lacks_encoder(in_use.weights)
        if reason := too_few(rows) or ("" if lacks_encoder else _nothing_new(in_use)):
            return report._replace(reason=reason)
        more = self._trainer.weighed(rows, self._registry.unlabelled(UNLABELLED))
        settings = shared_settings(self._trainer, rows, more)
        comparison = compared(self._trainer, rows, more, settings, in_use, context.heartbeat)
        if len(comparison.after) < LEAST:
            reason = f"too few labelled tickets differ so much that they can be held out ({len(comparison.after)})"
            return report._replace(reason=reason)
        gain, interval = comparison.gain
        before, after = figures(comparison.before), figures(comparison.after)
        report = report._replace(
            before=before, after=after, gain=gain, gain_interval=interval, unlabelled=len(more.texts),
            unlabelled_weight=more.weight,
        )  # fmt: skip
        if comparison.refusal:
            return report._replace(reason=comparison.refusal)
        metrics = {
            "labelled": len(rows), "held_out": after.n, "before": before.accuracy, "after": after.accuracy,
            "interval": list(after.interval), "log_loss": [before.log_loss, after.log_loss],
            "unlabelled": len(more.texts), "unlabelled_weight": more.weight,
        }  # fmt: skip
        names = compact([category.name for category in self._categories])
        weights, based_on = self._trainer.fit(rows, more, settings), active.version if active else 0
        version = ModelVersion(0, names, weights, compact(metrics), 1, self._actor, times.now(), based_on)
        event = Event(EventAction.LEARNED, None, context.run.run_id, self._actor, version.at, metrics)
        kept = self._registry.add_version(version, event)
        return kept and report._replace(version=kept.version, outcome="learned", reason=_reason(comparison))

    def _in_use(self, rows: Sequence[Labelled], used: ModelVersion | None) -> InUse:
        if used is None:
            return InUse(self._trainer.built_in(), [False] * len(rows), whole=False)
        known = self._trainer.seen(used.weights, [row.text for row in rows])
        return InUse(used.weights, known, whole=sum(known) == self._trainer.number_learned(used.weights))

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

    def suspects(self, material: Material) -> tuple[list[Suspect], list[Confused]]:
        """Return the labels that several answers contradict, and the categories that are confused."""
        return suspect_labels(material, self._trainer, self._registry.opinions(), self._categories)


def _nothing_new(used: InUse) -> str:
    """Return why there is nothing to compare; empty if there is."""
    fresh = sum(not known for known in used.known)
    if not fresh:
        return "it has learned from all labelled tickets already"
    if len(used.comparable) < LEAST:
        return f"too few labelled tickets are new to it ({fresh}) to tell whether learning again is better"
    return ""


def _reason(comparison: Comparison) -> str:
    before, after = figures(comparison.before), figures(comparison.after)
    more, than = comparison.more_right, f"log loss {after.log_loss:.2f} instead of {before.log_loss:.2f}"
    return f"{than}, right on {abs(more):,} {'fewer' if more < 0 else 'more'} of {after.n:,}"
