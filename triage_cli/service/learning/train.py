"""Trains the embedded model on verdicts, and keeps a new version if it is better on held-out tickets."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from triage_cli.domain import ids
from triage_cli.domain.audit import Event
from triage_cli.domain.decisions import Labelled, ModelVersion
from triage_cli.domain.errors import UnavailableError, UsageError
from triage_cli.domain.evaluation.cross_validation import folds_of, groups_of
from triage_cli.domain.evaluation.metrics import Graded, macro_f1, share, wilson
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Category
from triage_cli.ports.adapters import Trainer
from triage_cli.ports.storage import ModelRegistry, Store
from triage_cli.runtime.stop import StopControl
from triage_cli.service.runs import running
from triage_cli.service.verdicts import Verdicts

FOLDS = 5
LEAST = 10  # labelled tickets, and unseen held-out ones: fewer prove nothing
MUCH = 2_000  # labelled tickets from which on only one fold is held out
SURE = 0.6
TRIES = 5  # trainings, if others become active meanwhile


class Figures(NamedTuple):
    """A model's figures on held-out tickets."""

    n: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float


class TrainingReport(NamedTuple):
    """The result of `learn`: the version in use, why, and the figures of the old and new model on the same tickets."""

    version: int | None
    outcome: str  # learned | kept | rolled_back
    reason: str
    labelled: int
    from_verdicts: int
    skipped: int
    contradictory: int
    before: Figures | None = None
    after: Figures | None = None


class Suspect(NamedTuple):
    """A ticket whose label is contradicted: by which classifiers (`voices`), and by how many (`against`)."""

    ticket_id: str
    label: str
    suggestion: str
    confidence: float
    against: int
    voices: Mapping[str, str]
    text: str


class Confused(NamedTuple):
    """Two categories that are taken for each other: how often, and their descriptions."""

    label: str
    guess: str
    n: int
    share: float
    descriptions: tuple[str, str]


class Material(NamedTuple):
    """Labelled tickets, each text once; how many rows had an unknown category, and how many texts had two labels.

    `given` are the rows of a file that were part of it.
    """

    rows: list[Labelled]
    skipped: Counter[str]
    contradictory: int
    given: Sequence[Labelled] = ()


class Learning:
    """Trains for one list of categories, as one actor."""

    def __init__(
        self,
        store: Store,
        shelf: ModelRegistry,
        trainer: Trainer,
        categories: Sequence[Category],
        actor: str,
        command_line: str,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._trainer = trainer
        self._categories = categories
        self._actor = actor
        self._command_line = command_line

    def material(self, rows: Iterable[Labelled]) -> Material:
        """Return the training data: the rows of a file, and the verdicts in the store, which overrule them.

        Raises `UsageError` if there are rows and none of their labels is a category.
        """
        known = Verdicts(self._categories, self._actor)
        found: dict[str, Labelled] = {}
        skipped: Counter[str] = Counter()
        contradicted = set()
        given = list(rows)
        if given and not any(known.category(row.category) for row in given):
            raise known.none_of(row.category for row in given)
        for row in (*given, *self._shelf.labelled()):
            category = known.category(row.category)
            if category is None:
                skipped[row.category] += 1
                continue
            if row.text in found and found[row.text].category != category:
                contradicted.add(row.text)
            found[row.text] = row._replace(category=category)
        return Material(list(found.values()), skipped, len(contradicted), given)

    def learn(self, material: Material) -> TrainingReport:
        """Train a model, compare it with the active one on tickets that neither has seen, and keep the better one.

        If another version became active meanwhile, it is compared with that one, with the present verdicts. Raises
        `UnavailableError` if that keeps happening.
        """
        if reason := _too_few(material.rows):
            return self._kept(material, self._in_use(self._shelf.active()))._replace(reason=reason)
        with running(self._store, "learn", self._actor, self._command_line, StopControl()) as tally:
            for _ in range(TRIES):
                if lesson := self._learned(material, tally.context.run.run_id):
                    return lesson
                material = self.material(material.given)
        raise UnavailableError(
            "other programs keep learning at the same time", hint="run it again when they have ended"
        )

    def _in_use(self, active: ModelVersion | None) -> ModelVersion | None:
        return active if active and self._trainer.suits(active.weights) else None

    @staticmethod
    def _kept(material: Material, used: ModelVersion | None) -> TrainingReport:
        verdicts = sum(bool(row.ticket_id) for row in material.rows)
        return TrainingReport(
            used.version if used else None, "kept", "", len(material.rows), verdicts, material.skipped.total(),
            material.contradictory,
        )  # fmt: skip

    def _learned(self, material: Material, run_id: str) -> TrainingReport | None:
        """Return the report of one training; None if the compared version is no longer active."""
        rows, active = material.rows, self._shelf.active()
        used = self._in_use(active)
        report = self._kept(material, used)
        before, after = self._compared(
            rows, used.weights if used else self._trainer.built_in(), learned=used is not None
        )
        if len(after) < LEAST:
            reason = f"too few labelled tickets are new to it ({len(after)}) to tell whether learning again is better"
            return report._replace(reason=reason)
        report = report._replace(before=figures(before), after=figures(after))
        gained = sum(row.right for row in after) - sum(row.right for row in before)
        if gained <= 0:
            return report._replace(reason="the new model is not better on held-out tickets")
        metrics = {
            "labelled": len(rows), "held_out": len(after), "before": share(before), "after": share(after),
            "interval": list(report.after.interval) if report.after else None,
        }  # fmt: skip
        names = compact([category.name for category in self._categories])
        weights, based_on = self._trainer.fit(rows), active.version if active else 0
        version = ModelVersion(0, names, weights, compact(metrics), 1, self._actor, ids.now(), based_on)
        kept = self._shelf.add_version(version, Event("learned", None, run_id, self._actor, version.at, metrics))
        reason = f"right on {gained} more of {len(after)}"
        return kept and report._replace(version=kept.version, outcome="learned", reason=reason)

    def roll_back(self) -> TrainingReport:
        """Make the previous version active; before the first one, that is the built-in model."""
        with running(self._store, "learn", self._actor, self._command_line, StopControl()) as tally:
            event = Event("rolled_back", None, tally.context.run.run_id, self._actor, ids.now())
            try:
                version = self._shelf.step_back(event)
            except LookupError:
                raise UsageError(
                    "the built-in model is in use: there is nothing to go back to", hint="triage learn makes a version"
                ) from None
        reason = f"version {version.version} is in use again" if version else "the built-in model is in use again"
        return TrainingReport(version.version if version else None, "rolled_back", reason, 0, 0, 0, 0)

    def suspects(self, material: Material) -> tuple[list[Suspect], list[Confused]]:
        """Return the labels that several answers contradict, the surest first, and the categories that are confused.

        The answers are those of a model trained on the other labels (cross-validation), and each classifier's last.
        """
        rows = material.rows
        if _too_few(rows):
            return [], []
        guesses: list[tuple[str | None, float | None]] = [(None, None)] * len(rows)
        for rest, held in self._splits(rows, every=True):
            weights = self._trainer.fit([rows[n] for n in rest])
            for n, guess in zip(held, self._trainer.answers(weights, [rows[n].text for n in held]), strict=True):
                guesses[n] = guess
        opinions = self._shelf.opinions()
        found = [
            suspect
            for row, (guess, confidence) in zip(rows, guesses, strict=True)
            if (suspect := _doubted(row, guess, confidence or 0.0, opinions.get(row.ticket_id, {})))
        ]
        found.sort(key=lambda s: (-s.against, -s.confidence))
        pairs = [(row.category, guess) for row, (guess, _) in zip(rows, guesses, strict=True) if guess]
        return found, self._confused(pairs)

    def _confused(self, pairs: Sequence[tuple[str, str]]) -> list[Confused]:
        described = {category.name: category.description for category in self._categories}
        number = Counter(label for label, _ in pairs)
        wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
        return [
            Confused(label, guess, n, n / number[label], (described[label], described[guess]))
            for (label, guess), n in wrong.most_common()
            if n > 1
        ]

    def _compared(
        self, rows: Sequence[Labelled], weights: bytes, *, learned: bool
    ) -> tuple[list[Graded], list[Graded]]:
        """Return the answers of the active and of new models about held-out tickets that neither was trained on."""
        before: list[Graded] = []
        after: list[Graded] = []
        known = self._trainer.seen(weights, [row.text for row in rows]) if learned else [False] * len(rows)
        for rest, held in self._splits(rows):
            new = [rows[n] for n in held if not known[n]]
            if new:
                before += self._graded(weights, new)
                after += self._graded(self._trainer.fit([rows[n] for n in rest]), new)
        return before, after

    def _splits(self, rows: Sequence[Labelled], *, every: bool = False) -> Iterable[tuple[list[int], list[int]]]:
        groups = groups_of([row.text for row in rows])
        folds = folds_of([row.category for row in rows], groups, FOLDS)
        for fold in range(1 if len(rows) > MUCH and not every else FOLDS):
            held = [n for n, own in enumerate(folds) if own == fold]
            rest = [n for n, own in enumerate(folds) if own != fold]
            if held and rest:
                yield rest, held

    def _graded(self, weights: bytes, rows: Sequence[Labelled]) -> list[Graded]:
        answers = self._trainer.answers(weights, [row.text for row in rows])
        return [
            Graded(row.category, guess, confidence, (confidence or 0.0) >= SURE)
            for row, (guess, confidence) in zip(rows, answers, strict=True)
        ]


def _too_few(rows: Sequence[Labelled]) -> str:
    """Return why there is too little to train on; empty if there is enough."""
    if len(rows) < LEAST:
        return f"too few labelled tickets ({len(rows)}): learning begins with {LEAST}, of two categories"
    if len({row.category for row in rows}) < 2:
        return f"all {len(rows)} labelled tickets are {rows[0].category}: learning needs two categories"
    return ""


def figures(rows: Sequence[Graded]) -> Figures:
    """Return the figures of these answers."""
    return Figures(len(rows), share(rows), wilson(sum(row.right for row in rows), len(rows)), macro_f1(rows))


def _doubted(
    row: Labelled, guess: str | None, confidence: float, opinions: Mapping[str, tuple[str, float | None]]
) -> Suspect | None:
    """Return a suspect if most answers name the same other category: a single sure one, or two."""
    voices = {"cross-validated": guess} if guess else {}
    voices |= {name: category for name, (category, _) in opinions.items()}
    other = Counter(category for category in voices.values() if category != row.category).most_common(1)
    if not other:
        return None
    suggestion, against = other[0]
    agreeing = sum(category == row.category for category in voices.values())
    sure = guess == suggestion and confidence >= SURE
    if against <= agreeing or (against < 2 and not sure):
        return None
    sureness = confidence if guess == suggestion else max(c or 0.0 for k, c in opinions.values() if k == suggestion)
    return Suspect(row.ticket_id, row.category, suggestion, round(sureness, 4), against, voices, row.text)
