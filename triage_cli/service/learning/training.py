"""Trains the embedded model on verdicts, keeps a version that is better on held-out labels, and has it look again."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import ModelRegistry, Store, Trainer
from triage_cli.runtime import StopControl
from triage_cli.service.category_renames import CategoryNames
from triage_cli.service.learning.comparison import (
    FEW_LABELLED,
    SAME_SETTINGS,
    Comparison,
    HeldOutAnswer,
    InUse,
    compared,
    compared_on,
    figures,
    shared_settings,
)
from triage_cli.service.learning.second_look import Look
from triage_cli.service.learning.suspect_labels import suspect_labels
from triage_cli.service.learning.training_data import (
    LEAST_LABELLED,
    TrainingData,
    gather_training_data,
    has_proof,
    too_few,
)
from triage_cli.service.runs import Began, RunContext, RunRecorder, recorded_run

MANY_LABELLED = 5_000  # labels from which on texts without one add nothing, and texts that prove compare two models
LEAST_COMPARED, MOST_COMPARED = 500, 2_000  # of these


# Why labels of topics alone are not enough, and what is said where they are learned nevertheless.
UNPROVEN = f"labels of topics and teachers prove nothing; fewer than {LEAST_LABELLED} others are there to measure on"
UNMEASURED = f"nobody knows how good it is: {UNPROVEN}"

TRAINING_TRIES = 5  # if others become active meanwhile
MOST_UNLABELLED = 600  # stored tickets without a verdict that may be learned from
EVERY = 25  # verdicts of a sitting after which `review` offers to learn


# The parts of a training, with their shares of its time as measured on 250 to 4,000 labelled tickets.
WEIGHING, CHOOSING, COMPARING, FITTING = 5, 2, 2, 1
# Gets what a training does now, and which share of it is done.
TellProgress = Callable[[str, float], None]


class Subject(NamedTuple):
    """What is taught: a question, and what trains the model that answers it.

    `min_confidence` and `promise` are what the configuration says of its answers; of neither, labels set a threshold.
    """

    question: dm.Question
    trainer: Trainer
    min_confidence: float | None = None
    promise: dm.MaxError | None = None

    def threshold(self, measured: dm.MeasuredThreshold) -> float:
        """Return from which confidence on a version is sure that was measured so, if no promise sets that."""
        return measured.threshold if self.min_confidence is None else self.min_confidence

    def recommendation(self, held_out: "Sequence[HeldOutAnswer]", measured: dm.MeasuredThreshold) -> dm.Recommendation:
        """Return what the held-out answers of a version recommend; they prove no promise, since it learned them."""
        answers = [(each.graded.confidence or 0.0, each.graded.right) for each in held_out]
        return dm.recommended(answers, self.threshold(measured), self.promise, prove=False)

    def share_sure(self, weights: bytes, texts: Sequence[str], measured: dm.MeasuredThreshold) -> float:
        """Return the share of texts of which a version is sure before anything is proven of it."""
        if self.promise is not None or not texts:
            return 0.0
        threshold = self.threshold(measured)
        return sum((sure or 0.0) >= threshold for _, sure in self.trainer.answers(weights, texts)) / len(texts)


class Proof(NamedTuple):
    """What texts that prove say of a version: why it must not be used, if so, and what they say of a promise.

    There is a forecast where the promise is proven.
    """

    broken: str = ""
    recommendation: dm.Recommendation | None = None
    forecast: dm.Forecast | None = None


# Puts the weights of a version of a question to texts that prove.
Prove = Callable[[dm.Question, bytes, Sequence[dm.Labelled]], Proof]


class TextUse(NamedTuple):
    """How stored labelled texts are used: the newest `keep` teach, `prove` puts a version to those that prove.

    `tell` gets notes.
    """

    keep: int
    prove: Prove
    tell: Callable[[str], None]


class Attempt(NamedTuple):
    """A new model that may be taken: its comparison with the one in use, None where nothing proves, and what fits it.

    `unlabelled` are the texts without a label that it learns from.
    """

    comparison: Comparison | None
    fit: Callable[[], bytes]
    unlabelled: dm.Unlabelled = dm.NOTHING


class TrainingRun:
    """Trains for questions, as one actor. The labels of files are about the first one.

    `look` has the version in use look again at tickets; `began` gets each run.
    """

    def __init__(
        self,
        store: Store,
        registry: ModelRegistry,
        subjects: Sequence[Subject],
        look: Look,
        *,
        actor: str,
        command_line: str,
        began: Began,
        texts: TextUse,
    ) -> None:
        self._store = store
        self._registry = registry
        self._texts = texts
        self._subjects = subjects
        self._look = look
        self._actor = actor
        self._command_line = command_line
        self._began = began

    def training_data(self, rows: Sequence[dm.Labelled], subject: Subject | None = None) -> TrainingData:
        """Return the training data of the first subject, or another one: rows of a file, and stored labels.

        Those of a column of inputs overrule the rows, and verdicts overrule both. Raises `UsageError` if there are rows
        and none of their labels is a value of the question.
        """
        question = (subject or self._subjects[0]).question
        cells = self._registry.column_cells(question.column) if question.column else ()
        meant = (each._replace(category=value) for each in cells if (value := question.label_of(each.category)))
        stored = chain(meant, self._registry.labelled(question.name))
        return gather_training_data(rows, stored, CategoryNames.of(question))

    def _stored_data(self, subject: Subject) -> TrainingData:
        """Return the training data of a subject: the labelled texts that teach it, and all that overrules them."""
        name = subject.question.name
        teaching = self._store.labelled_texts.held(name, proves=False, newest=self._texts.keep)
        named = CategoryNames.of(subject.question)
        known = [row for row in teaching if named.match(row.category)]
        training_data = self.training_data(known, subject)
        return training_data._replace(
            skipped=Counter(r.category for r in teaching) - Counter(r.category for r in known)
        )

    def learn(
        self, rows: Sequence[dm.Labelled] = (), tell_progress: TellProgress = lambda _doing, _share: None
    ) -> list[dm.Lesson]:
        """Train a model for each question, keep it if it is better on held-out tickets than that in use, look again.

        The rows are stored first, in a transaction: this and each later training learns what teaches of all that is
        stored. Raises `UsageError` if none of their labels is a value of the question.

        A question after the first one is left out if it has no label. If another version became active meanwhile, the
        new one is compared with that, with the present verdicts. The second look is also taken by a version that stays
        in use, so that what an interrupted run left is done. Raises `UnavailableError` if others keep learning.
        """
        names = CategoryNames.of(self._subjects[0].question)
        if rows and not any(names.match(row.category) for row in rows):
            raise names.none_of(row.category for row in rows)
        lessons: list[dm.Lesson] = []
        with recorded_run(self._store, "learn", self._actor, self._command_line, StopControl()) as recorder:
            self._began(recorder)
            if rows:
                self._keep_rows(rows, recorder)
            for subject in self._subjects:
                training_data = self._stored_data(subject)
                if lessons and not training_data.rows:
                    continue
                report = self._train_until_active(
                    subject, training_data, recorder.context, tell_progress, of_file=bool(rows)
                )
                lessons.append(dm.Lesson(subject.question.name, training_data.counts, report))
            for n, (question, _, report) in enumerate(lessons):
                # What a version has decided that is out of use is looked at again by the built-in model.
                if report.version is not None or self._registry.has_learned():
                    tell_progress("looking again at tickets", 1.0)
                    lessons[n] = lessons[n]._replace(
                        report=report._replace(looked=self._look(recorder.context, question))
                    )
        return lessons

    def _keep_rows(self, rows: Sequence[dm.Labelled], recorder: RunRecorder) -> None:
        """Store the labelled rows, and put the version in use to those that prove."""
        context, question = recorder.context, self._subjects[0].question
        event = dm.Event(dm.EventAction.LABELLED, None, context.run.run_id, self._actor, dm.times.now())
        kept = self._store.labelled_texts.keep(rows, question.name, context.lease, event)
        recorder.counts.update(kept._asdict())
        if kept.erased:
            self._texts.tell(f"note: {kept.erased:,} of these texts were forgotten or taken back, and stay out")
        active = self._registry.active(question.name)
        if active and kept.new and any(row.proves for row in rows):
            self._texts.prove(question, active.weights, self._store.labelled_texts.held(question.name, proves=True))

    def _train_until_active(
        self,
        subject: Subject,
        training_data: TrainingData,
        context: RunContext,
        tell_progress: TellProgress,
        *,
        of_file: bool,
    ) -> dm.TrainingReport:
        for _ in range(TRAINING_TRIES):
            if report := self._train_once(subject, training_data, context, tell_progress, of_file=of_file):
                return report
            training_data = self._stored_data(subject)
        raise dm.UnavailableError(
            "other programs keep learning at the same time", hint="run it again when they have ended"
        )

    def _train_once(
        self,
        subject: Subject,
        training_data: TrainingData,
        context: RunContext,
        tell_progress: TellProgress,
        *,
        of_file: bool,
    ) -> dm.TrainingReport | None:
        """Return the report of one training; None if the compared version is no longer active."""
        question, trainer, *_ = subject
        based_on = self._registry.newest()
        labelled_rows, active = training_data.rows, self._registry.active(question.name)
        used_version = active if active and trainer.suits(active.weights) else None
        sure_before = (used_version.sure_from if used_version else None) or dm.MeasuredThreshold()
        report = dm.TrainingReport(
            used_version.version if used_version else None,
            "kept",
            "",
            len(labelled_rows),
            sum(bool(row.ticket_id) for row in labelled_rows),
            training_data.skipped.total(),
            len(training_data.overruled),
        )
        by_erased = self._registry.taught_by_erased(active.version) if active else None
        erased = (by_erased.labels if by_erased else 0) + self._too_old()
        in_use = _in_use(trainer, labelled_rows, used_version, erased)
        if active and not of_file:
            report = report._replace(missing=_missing(trainer, training_data, active, erased))
        is_measured = has_proof(labelled_rows)
        if not is_measured and used_version and used_version.is_measured:
            return report._replace(reason=UNPROVEN)
        # A version that has learned from what was forgotten since is learned anew, without that.
        is_old = by_erased is not None or trainer.is_outdated(in_use.weights, of_file=of_file)
        is_outdated = in_use.whole and is_old
        if reason := too_few(labelled_rows) or ("" if is_outdated else _nothing_new(in_use, labelled_rows)):
            return report._replace(reason=reason)
        texts = self._registry.unlabelled(MOST_UNLABELLED)

        def trained(doing: str, share: float) -> None:
            context.heartbeat()
            tell_progress(doing, share)

        proving = self._proving(question) if len(labelled_rows) > MANY_LABELLED else []
        attempt = (
            taught_many(subject, in_use, labelled_rows, proving, trained, anew=is_old)
            if len(proving) >= LEAST_COMPARED
            else _taught(subject, in_use, labelled_rows, [*texts.values()], trained)
        )
        unlabelled = attempt.unlabelled
        report = report._replace(unlabelled=len(unlabelled.texts), unlabelled_weight=unlabelled.weight)
        if attempt.comparison:
            report = _measured(report, attempt.comparison)
            if report.reason:
                return report._replace(recommendation=subject.recommendation(attempt.comparison.before, sure_before))
            sure_from = attempt.comparison.sure_from
            recommendation = subject.recommendation(attempt.comparison.after, sure_from)
            report = report._replace(reason=_learned_reason(attempt.comparison), recommendation=recommendation)
        else:
            sure_from = dm.MeasuredThreshold(dm.NOT_MEASURED)
            report = report._replace(reason=UNMEASURED)
        weights = attempt.fit()
        if (proof := self._proof(question, weights)).broken:
            return report._replace(reason=proof.broken)
        if proof.forecast:
            report = report._replace(forecast=proof.forecast)
        elif is_measured and texts:
            before = subject.share_sure(in_use.weights, [*texts.values()], sure_before)
            now = subject.share_sure(weights, [*texts.values()], sure_from)
            report = report._replace(forecast=dm.grown_forecast(before, now, len(in_use.known) - sum(in_use.known)))
        metrics = _metrics(report) | {"sure_from": sure_from, "forecast": report.forecast}
        new_version = dm.ModelVersion(
            version=0,
            categories=dm.compact([value.name for value in question.values]),
            weights=weights,
            metrics=dm.compact(metrics),
            active=1,
            actor=self._actor,
            at=dm.times.now(),
            based_on=based_on,
            question=question.name,
            run_id=context.run.run_id,
        )
        data = metrics if question.name == dm.CATEGORY else {"question": question.name} | metrics
        event = dm.Event(dm.EventAction.LEARNED, None, context.run.run_id, self._actor, new_version.at, data)
        kept_version = self._registry.add_version(new_version, event, _teachers(labelled_rows, texts, unlabelled))
        return kept_version and report._replace(
            version=kept_version.version,
            outcome="learned",
            recommendation=proof.recommendation or report.recommendation,
        )

    def _proving(self, question: dm.Question) -> list[dm.Labelled]:
        """Return the newest stored texts that prove, of values that the question has."""
        held = self._store.labelled_texts.held(question.name, proves=True, newest=MOST_COMPARED)
        names = CategoryNames.of(question)
        return [row._replace(category=name) for row in held if (name := names.match(row.category))]

    def _proof(self, question: dm.Question, weights: bytes) -> Proof:
        """Return what the texts that prove say of a version."""
        proving = self._store.labelled_texts.held(question.name, proves=True)
        return self._texts.prove(question, weights, proving) if proving else Proof()

    def _too_old(self) -> int:
        """Return how many labelled texts teach no more, since enough newer ones do."""
        return max(sum(self._store.labelled_texts.counts().teaching.values()) - self._texts.keep, 0)

    def roll_back(self) -> dm.TrainingReport:
        """Make the versions before the last learning active, or the built-in models, and have them look again."""
        with recorded_run(self._store, "learn", self._actor, self._command_line, StopControl()) as recorder:
            self._began(recorder)
            event = dm.Event(dm.EventAction.ROLLED_BACK, None, recorder.context.run.run_id, self._actor, dm.times.now())
            try:
                version = self._registry.step_back(event)
            except LookupError:
                raise dm.UsageError(
                    "the built-in model is in use: there is nothing to go back to",
                    hint=f"{dm.Step.LEARN} makes a version",
                ) from None
            looks = [self._look(recorder.context, subject.question.name) for subject in self._subjects]
            looked = dm.Looked(*map(sum, zip(*looks, strict=True)))
        reason = f"version {version.version} is in use again" if version else "the built-in model is in use again"
        return dm.TrainingReport(version.version if version else None, "rolled_back", reason, 0, 0, 0, 0, looked=looked)

    def suspects(self, training_data: TrainingData) -> tuple[list[dm.Suspect], list[dm.Confused]]:
        """Return the labels that several answers contradict, and the categories that are confused."""
        question, trainer, *_ = self._subjects[0]
        return suspect_labels(training_data, trainer, self._registry.opinions(question.name), question.values)


def taught_many(
    subject: Subject,
    in_use: InUse,
    rows: Sequence[dm.Labelled],
    proving: Sequence[dm.Labelled],
    trained: TellProgress,
    *,
    anew: bool,
) -> Attempt:
    """Return the model that is fitted to many labels, compared by texts that prove, of which neither has learned any.

    If few of the labels are new to the model in use, it keeps its settings and begins with its weights, unless `anew`.
    """
    trainer = subject.trainer
    is_near = not anew and in_use.whole and sum(in_use.known) >= SAME_SETTINGS * len(rows)
    settings = trainer.settings_of(in_use.weights) if is_near else ()
    start = in_use.weights if settings else b""
    trained("fitting the new model" if settings else "choosing settings", 0.0)
    settings = settings or trainer.settings(rows)
    trained("fitting the new model", 0.0 if start else 0.6)
    weights = trainer.fit(rows, settings=settings, to_use=True, start=start)
    trained("comparing with the model in use", 0.9)
    texts = [row.text for row in proving]
    learned = zip(trainer.seen(weights, texts), trainer.seen(in_use.weights, texts), strict=True)
    unlearned = [row for row, is_known in zip(proving, learned, strict=True) if not any(is_known)]
    return Attempt(compared_on(trainer, unlearned, in_use, weights, subject.question.labels), lambda: weights)


def _taught(
    subject: Subject, in_use: InUse, rows: Sequence[dm.Labelled], texts: Sequence[str], trained: TellProgress
) -> Attempt:
    """Return the model that is fitted to labels, and to texts without one if these help, with settings of its own."""
    question, trainer, *_ = subject
    weighs = bool(texts) and len(rows) <= MANY_LABELLED
    parts = (WEIGHING if weighs else 0, CHOOSING if len(rows) > FEW_LABELLED else 0, COMPARING, FITTING)
    weighed, chosen, measured, whole = accumulate(parts)
    trained("weighing texts without a label" if weighs else "choosing settings", 0.0)
    unlabelled = trainer.weighed(rows, texts) if weighs else dm.NOTHING
    trained("choosing settings", weighed / whole)
    settings = shared_settings(trainer, rows, unlabelled)

    def folds_done(share: float) -> None:
        trained("comparing with the model in use", (chosen + share * COMPARING) / whole)

    comparison = (
        compared(trainer, rows, unlabelled, settings, in_use, folds_done, question.labels) if has_proof(rows) else None
    )

    def fit() -> bytes:
        trained("fitting the new model", measured / whole)
        return trainer.fit(rows, unlabelled, settings, to_use=True)

    return Attempt(comparison, fit, unlabelled)


def _teachers(
    labelled_rows: Sequence[dm.Labelled], texts: Mapping[str, str], unlabelled: dm.Unlabelled
) -> dict[str, bool]:
    """Return the tickets that a version learns from, and whether each has a label."""
    guessed = set(unlabelled.texts)
    teachers = {ticket_id: False for ticket_id, text in texts.items() if text in guessed}
    return teachers | {row.teacher_id: True for row in labelled_rows if row.teacher_id}


def _in_use(
    trainer: Trainer, labelled_rows: Sequence[dm.Labelled], version: dm.ModelVersion | None, erased: int
) -> InUse:
    """Return the version in use; it is whole without the labelled texts that were `erased` since."""
    if version is None:
        return InUse(trainer.built_in(), [False] * len(labelled_rows), whole=False)
    known = trainer.seen(version.weights, [row.text for row in labelled_rows])
    whole = sum(known) + erased >= trainer.number_learned(version.weights)
    return InUse(version.weights, known, whole, loses=not whole)


def _missing(trainer: Trainer, training_data: TrainingData, version: dm.ModelVersion, erased: int) -> int:
    """Return how many labels a version has learned from that were not read now, as those of a file that is not named.

    A label that is read, and is no category any more, is not missing, and neither is that of an `erased` text.
    """
    known = sum(trainer.seen(version.weights, [row.text for row in training_data.rows]))
    return max(trainer.number_learned(version.weights) - known - erased - training_data.skipped.total(), 0)


def _nothing_new(in_use: InUse, rows: Sequence[dm.Labelled]) -> str:
    """Return why there is nothing to compare; empty if there is."""
    new_labels = sum(not known for known in in_use.known)
    if not new_labels:
        return "it has learned from all labelled tickets already"
    if has_proof(rows) and len(in_use.comparable(rows)) < LEAST_LABELLED:
        return f"too few labelled tickets are new to it ({new_labels}) to tell whether learning again is better"
    return ""


def _measured(report: dm.TrainingReport, comparison: Comparison) -> dm.TrainingReport:
    """Return a report with the figures of a comparison, and a reason if the new model is not to be taken."""
    if len(comparison.after) < LEAST_LABELLED:
        reason = f"too few labelled tickets differ so much that they can be held out ({len(comparison.after)})"
        return report._replace(reason=reason, unlabelled=0, unlabelled_weight=0.0)
    gain, interval = comparison.gain
    return report._replace(
        before=figures(comparison.before),
        after=figures(comparison.after),
        gain=gain,
        gain_interval=interval,
        reason=comparison.refusal,
    )


def _metrics(report: dm.TrainingReport) -> dict[str, object]:
    """Return what is stored of a version: the figures for which it was accepted."""
    before, after = report.before, report.after
    measured = (
        {}
        if before is None or after is None
        else {
            "before": before.accuracy,
            "after": after.accuracy,
            "interval": list(after.interval),
            "log_loss": [before.log_loss, after.log_loss],
        }
    )
    return {
        "labelled": report.labelled,
        "from_verdicts": report.from_verdicts,
        "held_out": 0 if after is None else after.n,
        **measured,
        "unlabelled": report.unlabelled,
        "unlabelled_weight": report.unlabelled_weight,
    }


def _learned_reason(comparison: Comparison) -> str:
    before, after = figures(comparison.before), figures(comparison.after)
    more_right, gain = comparison.more_right, f"log loss {after.log_loss:.2f} instead of {before.log_loss:.2f}"
    more = f"{abs(more_right):,} {'fewer' if more_right < 0 else 'more'}"
    return f"right on {more} of {after.n:,} held-out tickets ({gain})"
