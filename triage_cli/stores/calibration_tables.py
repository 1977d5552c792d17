"""The tables of calibrations, of graded answers to labelled texts, and of the error bounds that follow from them."""

from collections.abc import Iterable, Sequence

from triage_cli.domain import (
    Calibration,
    Change,
    Classification,
    Event,
    GradedAnswer,
    LabelledAnswer,
    StoredBound,
    copy_key,
    text_of,
)
from triage_cli.stores.database import Db, Tables

_CALIBRATION_COLUMNS = ", ".join(Calibration._fields)
KEEP_CALIBRATION = f"""insert into calibrations ({_CALIBRATION_COLUMNS})
    values ({", ".join("?" * len(Calibration._fields))})
    on conflict (fingerprint) do update set {", ".join(f"{f} = excluded.{f}" for f in Calibration._fields[1:])}"""
KEEP_GRADED = """insert into graded_answers (fingerprint, answer_key, category, confidence, label, at)
    values (?, ?, ?, ?, ?, ?) on conflict (fingerprint, answer_key) do update set label = excluded.label,
    category = excluded.category, confidence = excluded.confidence, at = excluded.at"""
# A key of a graded answer is that of the answer, and after a blank that of the text's copies; earlier releases stored
# the former alone.
DROP_GRADED = "delete from graded_answers where fingerprint = ? and answer_key >= ? and answer_key < ?"
GRADED_ANSWERS = """select answer_key, category, confidence, label from graded_answers where fingerprint = ?
    order by at, answer_key"""
# The answers to one question about tickets that a person has decided, oldest first.
JUDGED_ANSWERS = """select c.answer_key, c.category, coalesce(c.raw, c.confidence), t.category,
    c.confidence_source, t.subject, t.description, t.extra
    from tickets t join classifications c on c.ticket_id = t.ticket_id
    where t.verdict = 1 and t.category is not null and (t.subject is not null or t.description is not null)
    and c.fingerprint = ? and c.category is not null and c.confidence is not null and c.error is null
    order by c.classification_id"""
_BOUND_COLUMNS = ", ".join(StoredBound._fields)
KEEP_BOUND = f"""insert into error_bounds ({_BOUND_COLUMNS}) values ({", ".join("?" * len(StoredBound._fields))})
    on conflict (classifier, category, max_error)
    do update set {", ".join(f"{f} = excluded.{f}" for f in StoredBound._fields)}"""


class CalibrationTables:
    """Stores calibrations, graded answers and error bounds on the connections of a store."""

    def __init__(self, store: Tables) -> None:
        self._store = store
        self._database = store.database

    # -- calibrations

    def calibration(self, fingerprint: str) -> Calibration | None:
        """Return the calibration for the question with this fingerprint, or None."""
        calibration_rows = self._database.read(
            f"select {_CALIBRATION_COLUMNS} from calibrations where fingerprint = ?", (fingerprint,)
        )
        return Calibration(*calibration_rows[0]) if calibration_rows else None

    def calibrations(self) -> list[Calibration]:
        """Return all stored calibrations, newest first."""
        calibrations_query = f"select {_CALIBRATION_COLUMNS} from calibrations order by at desc, fingerprint"
        return [Calibration(*row) for row in self._database.read(calibrations_query)]

    def keep_calibration(self, calibration: Calibration, event: Event) -> None:
        """Store a calibration, replacing an earlier one with the same fingerprint."""

        def keep_calibration(db: Db) -> None:
            db.execute(KEEP_CALIBRATION, tuple(calibration))
            self._store.log(db, [Change(event)])

        self._database.write(keep_calibration)

    # -- labels, and the error bounds that follow from them

    def graded(self, fingerprint: str) -> list[GradedAnswer]:
        """Return the answers to a question about labelled texts; a verdict overrules a file's label.

        A text and its copies in other spellings count once a category: the first that was decided, else the first of
        the files.
        """
        judged_answers: dict[str, tuple[str, GradedAnswer]] = {}  # the key of the text's copies, and the answer
        for answer_key, category, confidence, label, source, *ticket in self._database.read(
            JUDGED_ANSWERS, (fingerprint,)
        ):
            graded_text = text_of(*ticket)
            answer = GradedAnswer(category, confidence, label, graded_text if source == "model" else "")
            judged_answers[answer_key] = (_copies_of(graded_text), answer)
        graded_answers: dict[tuple[str, str], GradedAnswer] = {}
        for copies, answer in judged_answers.values():
            graded_answers.setdefault((copies, answer.category), answer)
        judged_copies = {copies for copies, _ in judged_answers.values()}
        for graded_key, *graded in self._database.read(GRADED_ANSWERS, (fingerprint,)):
            answer_key, _, copies = graded_key.partition(" ")
            if answer_key not in judged_answers and copies not in judged_copies:
                answer = GradedAnswer(*graded)
                graded_answers.setdefault((copies or answer_key, answer.category), answer)
        return list(graded_answers.values())

    def keep_graded(self, answers: Iterable[LabelledAnswer], learned: Iterable[Classification] = ()) -> None:
        """Store answers with the labels of their texts; drop answers about texts that were learned."""

        def keep_graded(db: Db) -> None:
            for answer in learned:
                _drop_graded(db, answer)
            for answer, label, text in answers:
                _drop_graded(db, answer)
                key = (answer.fingerprint, f"{answer.answer_key} {_copies_of(text)}")
                db.execute(KEEP_GRADED, (*key, answer.category, answer.raw_confidence, label, answer.at))

        self._database.write(keep_graded)

    def error_bounds(self) -> list[StoredBound]:
        """Return the bounds that were found last, by classifier and category."""
        bounds_query = f"select {_BOUND_COLUMNS} from error_bounds order by classifier, category, max_error"
        return [StoredBound(*row) for row in self._database.read(bounds_query)]

    def keep_error_bounds(self, bounds: Sequence[StoredBound], event: Event) -> None:
        """Store bounds, replacing those of the same classifier, category and error."""

        def keep_bounds(db: Db) -> None:
            for bound in bounds:
                db.execute(KEEP_BOUND, tuple(bound))
            self._store.log(db, [Change(event)])

        self._database.write(keep_bounds)


def _copies_of(text: str) -> str:
    return f"{copy_key(text):016x}"


def _drop_graded(db: Db, answer: Classification) -> None:
    """Drop what is stored of an answer, under whatever key of its text's copies."""
    db.execute(DROP_GRADED, (answer.fingerprint, answer.answer_key, f"{answer.answer_key}!"))
