"""Runs an evaluation: asks a classifier about labelled rows, scores it, fits calibrations, stores paid answers."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Classifier, ModelRegistry, Store
from triage_cli.runtime import StopControl
from triage_cli.service.answers import answers
from triage_cli.service.category_renames import CategoryNames
from triage_cli.service.runs import Began, RunRecorder, TrialRecorder, recorded_run

SHOWN_MISTAKES = 25


class GradedRow(NamedTuple):
    """The answers of a classifier about one row of the labelled file."""

    row: int
    label: str
    steps: tuple[dm.Classification, ...]
    is_sure: bool
    error: dm.TriageError | None
    learned: bool = False


def learned_tickets(graded_rows: Sequence[GradedRow], labels: dm.Levels) -> dm.LearnedTickets | None:
    """Return how many graded rows the embedded model has learned; None if it has learned none."""
    known_labels = [row for row in graded_rows if row.label in labels]
    others = [row for row in known_labels if not row.learned]
    number_learned = len(known_labels) - len(others)
    right = sum(bool(row.steps) and not row.error and labels.is_guessed(row.steps[-1], row.label) for row in others)
    return dm.LearnedTickets(number_learned, len(others), right) if number_learned else None


def graded_row_of(
    outcome: dm.Outcome[dm.Answer], rows: Sequence[dm.Labelled], was_learned: Sequence[bool]
) -> GradedRow:
    """Return the graded row of a classifier's answer; its ticket has the row's number as its id."""
    row, answer = int(outcome.ticket.ticket_id), outcome.value
    steps = answer.steps if answer else ()
    learned = was_learned[row] and any(map(is_embedded, steps))
    return GradedRow(row, rows[row].category, steps, bool(answer and answer.sure), outcome.error, learned)


def gradable_answers(graded_row: GradedRow) -> Iterator[dm.Classification]:
    """Yield the answers that can be graded by confidence; what the embedded model has learned tells nothing."""
    for step in graded_row.steps:
        answered = step.category is not None and step.raw_confidence is not None and not step.error
        if answered and not (graded_row.learned and is_embedded(step)):
            yield step


def learned_answers(graded_row: GradedRow) -> list[dm.Classification]:
    """Return the answers that tell nothing, since the embedded model has learned the text."""
    return [step for step in graded_row.steps if graded_row.learned and is_embedded(step)]


def labelled_answers(
    graded_row: GradedRow, rows: Sequence[dm.Labelled], labels: Collection[str]
) -> list[dm.LabelledAnswer]:
    """Return the graded answers, each with the label; one that is no category makes each answer wrong."""
    label = graded_row.label if graded_row.label in labels else ""
    text = rows[graded_row.row].text
    return [dm.LabelledAnswer(step, label, text) for step in gradable_answers(graded_row)]


def is_embedded(step: dm.Classification) -> bool:
    """Return whether the embedded model gave an answer."""
    return step.confidence_source == "model"


def surest_mistakes(
    graded_rows: Sequence[GradedRow], labelled_rows: Sequence[dm.Labelled], labels: dm.Levels
) -> tuple[dm.Mistake, ...]:
    """Return the graded rows with a wrong answer, the surest first."""
    mistakes = [
        dm.Mistake(labelled_rows[graded_row.row].text, graded_row.label, last.category, last.confidence)
        for graded_row in graded_rows
        if graded_row.steps and (last := graded_row.steps[-1]).category
        if not labels.is_within(graded_row.label, last.category)
    ]
    return tuple(sorted(mistakes, key=lambda mistake: -(mistake.confidence or 0.0))[:SHOWN_MISTAKES])


# Makes of the measured answers, (confidence, right), and of the share that is sure, what these recommend and foresee.
Outlook = Callable[[Sequence[tuple[float, bool]], float], tuple[dm.Recommendation | None, dm.Forecast | None]]


class EvaluationRun:
    """Evaluates the answers to one question, as one actor; `classifier` opens one for a plan and a run id.

    `learned` returns for each text whether the embedded model was trained on it; `began` gets each run.
    """

    def __init__(
        self,
        store: Store,
        registry: ModelRegistry,
        question: dm.Question,
        classifier: Callable[[dm.ClassifyPlan, str], Classifier],
        learned: Callable[[Sequence[str]], Sequence[bool]],
        per_day: float | None,
        actor: str,
        command_line: str,
    ) -> None:
        self._store = store
        self._registry = registry
        self._question = question
        self._labels = [value.name for value in question.values]
        self._levels = question.labels
        self._names = CategoryNames.of(question)
        self._classifier = classifier
        self._learned = learned
        self._per_day = per_day
        self._actor = actor
        self._command_line = command_line
        self.began: Began = lambda _: None
        self.stop_control = StopControl()
        self._spent_before = 0.0  # USD that earlier evaluations of this command have spent

    @contextmanager
    def _classifier_run(self, plan: dm.ClassifyPlan) -> Iterator[tuple[RunRecorder, Classifier]]:
        """Begin a run with its budget, and open the classifier; one cost limit holds for all runs of the command."""
        with recorded_run(
            self._store,
            "eval",
            self._actor,
            self._command_line,
            self.stop_control,
            dm.InputPart(spent=self._spent_before),
        ) as recorder:
            self.began(recorder)
            recorder.context.open_budget(plan.max_cost, self._per_day)
            try:
                yield recorder, self._classifier(plan, recorder.context.run.run_id)
            finally:
                self._spent_before = recorder.context.budget.spent_by_command

    def rows(self, labelled_rows: Sequence[dm.Labelled]) -> list[dm.Labelled]:
        """Return labelled rows with their labels spelled as the question's values; unknown ones stay as they are.

        Labels of topics are left out: they prove nothing.
        """
        provers = [row for row in labelled_rows if not row.is_typical]
        if labelled_rows and not provers:
            raise dm.UsageError(
                "all labels are of topics, which prove nothing", hint="name tickets that a person labelled"
            )
        matched_rows = [row._replace(category=self._names.match(row.category) or row.category) for row in provers]
        if not any(row.category in self._labels for row in matched_rows):
            raise self._names.none_of(row.category for row in matched_rows)
        return matched_rows

    def evaluate(
        self,
        labelled_rows: Sequence[dm.Labelled],
        plan: dm.ClassifyPlan,
        own_threshold: float | None,
        outlook: Outlook,
        *,
        fit: bool,
    ) -> dm.Evaluated:
        """Ask one classifier about labelled rows and return the figures; with `fit`, store labels and a calibration.

        If the budget or a signal ends it, the figures cover what was answered.
        """
        with self._classifier_run(plan) as (recorder, classifier):
            started_at = time.monotonic()
            rows: list[GradedRow] = []
            stopped: dm.TriageError | None = None
            try:
                for chunk in self._ask(classifier, labelled_rows, recorder):
                    rows += chunk
            except dm.BudgetError as error:
                stopped = error
                recorder.exit_codes.add(error.exit_code)
            seconds = time.monotonic() - started_at
            if fit:
                self._registry.keep_graded(
                    (answer for row in rows for answer in labelled_answers(row, labelled_rows, self._labels)),
                    (answer for row in rows for answer in learned_answers(row)),
                )
            calibrations = tuple(self._fit(rows, recorder)) if fit and stopped is None else ()
            self._registry.keep_evaluated(self._judged(rows, calibrations), dm.times.now())
            spent = recorder.context.budget.spent
            figures = self._scored(classifier.name, rows, own_threshold, spent, seconds)
            recommendation, forecast = outlook([*self._measured(rows)], figures.coverage)
            figures = figures._replace(recommendation=recommendation, forecast=forecast)
            first_error = next((row.error for row in rows if row.error), None)
            mistakes = surest_mistakes(rows, labelled_rows, self._levels)
            return dm.Evaluated(
                figures, calibrations, stopped, mistakes, learned_tickets(rows, self._levels), first_error
            )

    def _ask(
        self, classifier: Classifier, labelled_rows: Sequence[dm.Labelled], recorder: RunRecorder
    ) -> Iterator[list[GradedRow]]:
        was_learned = self._learned([row.text for row in labelled_rows])
        tickets = (
            dm.Ticket.of_text(row.text, ticket_id=str(n), source="eval")._replace(asked=(self._question.name,))
            for n, row in enumerate(labelled_rows)
        )

        chunks = takewhile(lambda _: not self.stop_control.stopping, dm.chunked(tickets, classifier.chunk_size))
        trials = TrialRecorder(self._registry, recorder.context)
        for arrived in answers(classifier, chunks, recorder.context.budget, trials.save_steps):
            trials.save(arrived.final)
            recorder.counts["asked"] += len(arrived.final)
            yield [graded_row_of(outcome, labelled_rows, was_learned) for outcome in arrived.final]

    def _judged(
        self, graded_rows: Sequence[GradedRow], calibrations: Sequence[dm.Calibration]
    ) -> dict[str, dm.JudgedAnswers]:
        """Return what the answers show, by fingerprint; what was sure before a calibration tells nothing afterwards."""
        is_calibrated = any(calibration.is_better for calibration in calibrations)
        measured, sure, wrong = Counter[str](), Counter[str](), Counter[str]()
        for row in graded_rows:
            for step in gradable_answers(row):
                measured[step.fingerprint] += 1
                is_sure = row.is_sure and step is row.steps[-1] and not is_calibrated
                sure[step.fingerprint] += is_sure
                wrong[step.fingerprint] += is_sure and not self._levels.is_within(row.label, step.category)
        return {key: dm.JudgedAnswers(number, sure[key], wrong[key]) for key, number in measured.items()}

    def _measured(self, graded_rows: Sequence[GradedRow]) -> Iterator[tuple[float, bool]]:
        """Yield the confidence of the last answer about each labelled ticket, and whether it is right."""
        for row in graded_rows:
            if row.steps and not row.error and not row.learned and row.label in self._labels:
                last = row.steps[-1]
                yield last.confidence or 0.0, self._levels.is_within(row.label, last.category)

    def _scored(
        self, name: str, graded_rows: Sequence[GradedRow], own_threshold: float | None, cost: float, seconds: float
    ) -> dm.Scored:
        graded, by_level = [], []
        for row in graded_rows:
            last = row.steps[-1] if row.steps and not row.error else None
            guess, confidence = self._guess(last) if last else (None, None)
            is_sure = row.is_sure and not row.error
            by_level.append((row.label, guess, last.category if last and is_sure else None))
            if self._levels.is_within(guess, row.label):
                guess = row.label  # what is below a label nobody has denied
            graded.append(dm.Graded(row.label, guess, confidence if guess else None, is_sure))
        steps = [step for row in graded_rows for step in row.steps]
        metrics = dm.scored(
            name,
            graded,
            self._labels,
            own=own_threshold,
            cost=cost,
            seconds=seconds,
            failed=sum(row.error is not None for row in graded_rows),
            reused=sum(bool(step.reused) for step in steps),
        )
        return metrics._replace(levels=dm.per_level(by_level, self._levels))

    def _guess(self, answer: dm.Classification) -> tuple[str | None, float | None]:
        """Return the guess of an answer with its own confidence, also if the answer is sure at a level above it."""
        if not self._levels.parents:
            return answer.category, answer.confidence
        calibration_of = self._registry.calibration
        calibrated = None if answer.raw is None else dm.level_calibration(calibration_of, answer.fingerprint)
        guess = self._levels.settled(answer, lambda _: dm.NEVER, calibrated)
        return guess.category, guess.confidence

    def _fit(self, graded_rows: Sequence[GradedRow], recorder: RunRecorder) -> Iterator[dm.Calibration]:
        """Fit a curve for each step that was asked often enough, and keep it if it is better on held-out answers.

        What a model has learned tells nothing.
        """
        pairs_by_step: dict[tuple[str, str], list[dm.calibration.CalibrationPair]] = {}
        for row in graded_rows:
            for step in gradable_answers(row):
                for level, (name, chance) in enumerate(self._levels.steps(step)):
                    key = step.fingerprint + (dm.ABOVE if level else ""), step.classifier
                    pairs_by_step.setdefault(key, []).append((chance, self._levels.is_within(row.label, name)))
        for (fingerprint, name), pairs in pairs_by_step.items():
            if len(pairs) < dm.calibration.LEAST:
                continue
            curve = dm.calibration.fit(pairs)
            fitted = dm.Calibration(
                fingerprint=fingerprint,
                classifier=name,
                curve=dm.compact(curve.points),
                method=curve.method,
                n=len(pairs),
                error_before=_calibration_error(pairs),
                error_after=_calibration_error(dm.calibration.held_out(pairs)),
                at=dm.times.now(),
            )
            if fitted.is_better:
                data = {"classifier": name, "fingerprint": fingerprint, "n": fitted.n, "method": fitted.method}
                if self._question.name != dm.CATEGORY:
                    data["question"] = self._question.name
                event = dm.Event(
                    dm.EventAction.CALIBRATED, None, recorder.context.run.run_id, self._actor, fitted.at, data
                )
                self._registry.keep_calibration(fitted, event)
            yield fitted


def _calibration_error(pairs: Sequence[dm.calibration.CalibrationPair]) -> float:
    error = dm.calibration_error(
        [dm.Graded("right", "right" if right else "wrong", c, sure=True) for c, right in pairs]
    )
    return round(error or 0.0, 4)
