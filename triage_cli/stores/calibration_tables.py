"""The tables of calibrations, of graded answers to labelled texts, and of the error bounds that follow from them."""

from collections.abc import Sequence

from triage_cli.domain.audit.events import Event
from triage_cli.domain.changes import Change
from triage_cli.domain.classifications import Classification
from triage_cli.domain.evaluation.calibration import Calibration
from triage_cli.domain.evaluation.error_bounds import GradedAnswer, StoredBound
from triage_cli.domain.tickets import text_of
from triage_cli.stores.database import Db, Tables

_CALIBRATION_COLUMNS = ", ".join(Calibration._fields)
KEEP_CALIBRATION = f"""insert into calibrations ({_CALIBRATION_COLUMNS})
    values ({", ".join("?" * len(Calibration._fields))})
    on conflict (fingerprint) do update set {", ".join(f"{f} = excluded.{f}" for f in Calibration._fields[1:])}"""
KEEP_GRADED = """insert into graded_answers (fingerprint, answer_key, category, confidence, label, at)
    values (?, ?, ?, ?, ?, ?) on conflict (fingerprint, answer_key) do update set label = excluded.label,
    category = excluded.category, confidence = excluded.confidence, at = excluded.at"""
GRADED_ANSWERS = "select answer_key, category, confidence, label from graded_answers where fingerprint = ?"
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
        """Return the answers to a question about labelled texts, each text once; a verdict overrules a file's label."""
        graded_rows = self._database.read(GRADED_ANSWERS, (fingerprint,))
        graded_answers = {answer_key: GradedAnswer(*answer) for answer_key, *answer in graded_rows}
        for answer_key, category, confidence, label, source, *ticket in self._database.read(
            JUDGED_ANSWERS, (fingerprint,)
        ):
            graded_text = text_of(*ticket) if source == "model" else ""
            graded_answers[answer_key] = GradedAnswer(category, confidence, label, graded_text)
        return list(graded_answers.values())

    def keep_graded(self, answers: Sequence[tuple[Classification, str]]) -> None:
        """Store answers with the labels of their texts."""

        def keep_graded(db: Db) -> None:
            for answer, label in answers:
                key = (answer.fingerprint, answer.answer_key)
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
