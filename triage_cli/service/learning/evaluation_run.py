"""Evaluates classifiers on a labelled file: asks, grades, fits a calibration; paid answers are stored."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from triage_cli.domain import times
from triage_cli.domain.audit.events import Event, EventAction
from triage_cli.domain.chunks import chunked
from triage_cli.domain.decisions import Answer, Classification, ClassifyPlan, Unfinished
from triage_cli.domain.errors import BudgetError, TriageError
from triage_cli.domain.evaluation import calibration
from triage_cli.domain.evaluation.calibration import Calibration
from triage_cli.domain.evaluation.confidence_intervals import wilson
from triage_cli.domain.evaluation.metrics import Graded, Scored, calibration_error, scored
from triage_cli.domain.learning import Labelled
from triage_cli.domain.outcomes import Outcome
from triage_cli.domain.runs import InputPart
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.ports.model_registry import ModelRegistry
from triage_cli.ports.storage import Store
from triage_cli.runtime.stop import StopControl
from triage_cli.service.category_names import CategoryNames
from triage_cli.service.learning.attacks import AttackResult, Tries
from triage_cli.service.run_recorder import Began, RunRecorder, recorded_run

MISTAKES = 25


class Mistake(NamedTuple):
    """A ticket with a wrong answer."""

    text: str
    label: str
    guess: str
    confidence: float | None


class Learned(NamedTuple):
    """How many tickets the embedded model was trained on, which flatters it, and its right answers on the others."""

    n: int
    others: int
    right: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return the confidence interval of the share of right answers on the others."""
        return wilson(self.right, self.others)


class Evaluated(NamedTuple):
    """The result of one evaluation: figures, fitted calibrations, the error that stopped it, the surest mistakes.

    Of `calibrations`, only those that are better are in use. `learned` is None if no ticket was in the training data.
    `first_error` is that of the first ticket that got no answer.
    """

    scored: Scored
    calibrations: tuple[Calibration, ...] = ()
    stopped: TriageError | None = None
    mistakes: tuple[Mistake, ...] = ()
    learned: Learned | None = None
    first_error: TriageError | None = None


class Attacked(NamedTuple):
    """How a classifier withstood the attacks, and the error that stopped them."""

    result: AttackResult
    stopped: TriageError | None = None


class _Asked(NamedTuple):
    row: int
    label: str
    steps: tuple[Classification, ...]
    sure: bool
    error: TriageError | None
    learned: bool = False


class EvaluationRun:
    """Evaluates for one list of categories, as one actor; `classifier` opens one for a plan and a run id.

    `learned` returns for each text whether the embedded model was trained on it; `began` gets each run.
    """

    def __init__(
        self, store: Store, shelf: ModelRegistry, categories: Sequence[Category],
        classifier: Callable[[ClassifyPlan, str], Classifier], learned: Callable[[Sequence[str]], Sequence[bool]],
        per_day: float | None, actor: str, command_line: str,
    ) -> None:  # fmt: skip
        self._store = store
        self._shelf = shelf
        self._categories = categories
        self._names = [category.name for category in categories]
        self._category_names = CategoryNames(categories)
        self._classifier = classifier
        self._learned = learned
        self._per_day = per_day
        self._actor = actor
        self._command_line = command_line
        self.began: Began = lambda _: None
        self.stop_control = StopControl()
        self._spent_before = 0.0  # USD that this command has spent

    @contextmanager
    def _classifier_run(self, plan: ClassifyPlan) -> Iterator[tuple[RunRecorder, Classifier]]:
        """Begin a run with its budget, and open the classifier; one cost limit holds for all runs of the command."""
        with recorded_run(
            self._store, "eval", self._actor, self._command_line, self.stop_control, InputPart(spent=self._spent_before)
        ) as recorder:
            self.began(recorder)
            recorder.context.open_budget(plan.max_cost, self._per_day)
            try:
                yield recorder, self._classifier(plan, recorder.context.run.run_id)
            finally:
                self._spent_before = recorder.context.budget.spent_by_command

    def attack(self, plan: ClassifyPlan) -> Attacked:
        """Run the attacks on one classifier, without the answer cache and without storing tickets.

        If the budget ends it, the result covers the tries that were answered; without any, the error is raised.
        """
        with self._classifier_run(plan) as (recorder, classifier):
            tries = Tries(self._categories)
            stopped: TriageError | None = None
            try:
                for asked in tries.over(classifier, recorder.context.budget):
                    recorder.context.heartbeat()
                    recorder.counts["asked"] += asked
            except BudgetError as error:
                stopped = error
                recorder.codes.add(error.exit_code)
            if stopped is not None and not tries.made:
                raise stopped
            return Attacked(tries.result(classifier.name), stopped)

    def rows(self, rows: Iterable[Labelled]) -> list[Labelled]:
        """Return the rows with their labels spelled like the categories; unknown labels stay as they are."""
        found = [row._replace(category=self._category_names.match(row.category) or row.category) for row in rows]
        if not any(row.category in self._names for row in found):
            raise self._category_names.none_of(row.category for row in found)
        return found

    def evaluate(
        self, rows: Sequence[Labelled], plan: ClassifyPlan, own_threshold: float | None, *, fit: bool
    ) -> Evaluated:
        """Ask one classifier about all rows and return the figures; with `fit`, store labels and a calibration.

        If the budget or a signal ends it, the figures cover what was answered.
        """
        with self._classifier_run(plan) as (recorder, classifier):
            start = time.monotonic()
            asked: list[_Asked] = []
            known = self._learned([row.text for row in rows])
            stopped: TriageError | None = None
            try:
                for chunk in self._ask(classifier, rows, recorder):
                    asked += [
                        asked_row._replace(learned=known[asked_row.row] and any(map(_embedded, asked_row.steps)))
                        for asked_row in chunk
                    ]
            except BudgetError as error:
                stopped = error
                recorder.codes.add(error.exit_code)
            seconds = time.monotonic() - start
            if fit:
                self._shelf.keep_graded([pair for asked_row in asked for pair in _labelled(asked_row, self._names)])
            fitted = tuple(self._fit(asked, recorder)) if fit and stopped is None else ()
            found = self._scored(classifier.name, asked, own_threshold, recorder.context.budget.spent, seconds)
            first_error = next((asked_row.error for asked_row in asked if asked_row.error), None)
            return Evaluated(found, fitted, stopped, _mistakes(asked, rows), self._report(asked), first_error)

    def _ask(self, classifier: Classifier, rows: Sequence[Labelled], recorder: RunRecorder) -> Iterator[list[_Asked]]:
        labels = {str(n): row.category for n, row in enumerate(rows)}
        tickets = (Ticket.of_text(row.text, ticket_id=str(n), source="eval") for n, row in enumerate(rows))

        def chunks() -> Iterator[Sequence[Ticket]]:
            for chunk in chunked(tickets, classifier.chunk_size):
                if self.stop_control.stopping:
                    return
                yield chunk

        for outcomes in classifier.classify(chunks(), recorder.context.budget):
            recorder.context.heartbeat()
            answered = [_asked(outcome, labels) for outcome in outcomes]
            paid = [s for a in answered for s in a.steps if not (_embedded(s) or s.error or s.reused)]
            if paid:
                with recorder.context.budget.recording(recorder.context.lease) as lease:
                    self._shelf.keep_trials([s._replace(confidence=s.raw_confidence) for s in paid], lease)
            answered = [
                a for a, outcome in zip(answered, outcomes, strict=True) if not isinstance(outcome.value, Unfinished)
            ]
            recorder.counts["asked"] += len(answered)
            yield answered

    def _report(self, asked: Sequence[_Asked]) -> Learned | None:
        inside = [asked_row for asked_row in asked if asked_row.label in self._names]
        others = [asked_row for asked_row in inside if not asked_row.learned]
        right = sum(
            bool(asked_row.steps) and not asked_row.error and asked_row.steps[-1].category == asked_row.label
            for asked_row in others
        )
        return Learned(len(inside) - len(others), len(others), right) if len(others) < len(inside) else None

    def _scored(
        self, name: str, asked: Sequence[_Asked], own_threshold: float | None, cost: float, seconds: float
    ) -> Scored:
        rows = []
        for asked_row in asked:
            last = asked_row.steps[-1] if asked_row.steps and not asked_row.error else None
            guess, confidence = (last.category, last.confidence) if last else (None, None)
            rows.append(
                Graded(asked_row.label, guess, confidence if guess else None, asked_row.sure and not asked_row.error)
            )
        steps = [step for asked_row in asked for step in asked_row.steps]
        return scored(
            name, rows, self._names, own=own_threshold, cost=cost, seconds=seconds,
            failed=sum(asked_row.error is not None for asked_row in asked),
            reused=sum(bool(step.reused) for step in steps),
        )  # fmt: skip

    def _fit(self, asked: Sequence[_Asked], recorder: RunRecorder) -> Iterator[Calibration]:
        """Fit a curve for each step that was asked often enough, and keep it if it is better on held-out answers.

        What a model has learned tells nothing.
        """
        pairs_by_step: dict[tuple[str, str], list[calibration.Pair]] = {}
        for asked_row in asked:
            for step in _gradable(asked_row):
                key = (step.fingerprint, step.classifier)
                pairs_by_step.setdefault(key, []).append((step.raw_confidence or 0.0, step.category == asked_row.label))
        for (fingerprint, name), pairs in pairs_by_step.items():
            if len(pairs) < calibration.LEAST:
                continue
            curve = calibration.fit(pairs)
            found = Calibration(
                fingerprint, name, compact(curve.points), curve.method, len(pairs),
                _error(pairs), _error(calibration.held_out(pairs)), times.now(),
            )  # fmt: skip
            if found.is_better:
                data = {"classifier": name, "fingerprint": fingerprint, "n": found.n, "method": found.method}
                event = Event(EventAction.CALIBRATED, None, recorder.context.run.run_id, self._actor, found.at, data)
                self._shelf.keep_calibration(found, event)
            yield found


def _asked(outcome: Outcome[Answer], labels: Mapping[str, str]) -> _Asked:
    ticket, answer = outcome.ticket, outcome.value
    steps = answer.steps if answer else ()
    sure = bool(answer and answer.sure)
    return _Asked(int(ticket.ticket_id), labels[ticket.ticket_id], steps, sure, outcome.error)


def _gradable(asked: _Asked) -> Iterator[Classification]:
    """Yield the answers with a confidence; what the embedded model has learned tells nothing."""
    for step in asked.steps:
        answered = step.category is not None and step.raw_confidence is not None and not step.error
        if answered and not (asked.learned and _embedded(step)):
            yield step


def _labelled(asked: _Asked, names: Collection[str]) -> list[tuple[Classification, str]]:
    """Return the answers with their label; one that is no category makes each answer wrong."""
    label = asked.label if asked.label in names else ""
    return [(step, label) for step in _gradable(asked)]


def _embedded(step: Classification) -> bool:
    return step.confidence_source == "model"


def _mistakes(asked: Sequence[_Asked], rows: Sequence[Labelled]) -> tuple[Mistake, ...]:
    found = [
        Mistake(rows[asked_row.row].text, asked_row.label, last.category, last.confidence)
        for asked_row in asked
        if asked_row.steps and (last := asked_row.steps[-1]).category and last.category != asked_row.label
    ]
    return tuple(sorted(found, key=lambda mistake: -(mistake.confidence or 0.0))[:MISTAKES])


def _error(pairs: Sequence[calibration.Pair]) -> float:
    found = calibration_error([Graded("right", "right" if right else "wrong", c, sure=True) for c, right in pairs])
    return round(found or 0.0, 4)
