"""The tables of trained models: versions of the embedded model, calibrations, and answers paid for by `eval`.

The same SQL runs on SQLite and PostgreSQL.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from triage_cli.domain.audit.events import Event
from triage_cli.domain.changes import Change
from triage_cli.domain.chunks import NAMED, chunked
from triage_cli.domain.decisions import Classification
from triage_cli.domain.evaluation.calibration import Calibration
from triage_cli.domain.evaluation.error_bounds import GradedAnswer, StoredBound
from triage_cli.domain.learning import Labelled, ModelVersion
from triage_cli.domain.runs import Lease
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import text_of
from triage_cli.stores.database import Db, Tables
from triage_cli.stores.event_tables import LOCK_CHAIN

_VERSION = ", ".join(ModelVersion._fields)
_CALIBRATION = ", ".join(Calibration._fields)
# All fields of an answer except its reason, which may quote a customer's text.
_TRIAL = (
    "classification_id", "step", "category", "confidence", "confidence_source", "classifier", "actor", "fingerprint",
    "answer_key", "at", "input_tokens", "output_tokens", "cache_read", "cache_write", "cost",
)  # fmt: skip
# A question is asked again if its answer is of no use any more, as one under a category that is gone.
KEEP_TRIAL = f"""insert into trials ({", ".join(_TRIAL)}) values ({", ".join("?" * len(_TRIAL))})
    on conflict (answer_key) do update set {", ".join(f"{field} = excluded.{field}" for field in _TRIAL)}"""
TRIALS = f"select {', '.join(_TRIAL)} from trials where answer_key in (select value from json_each(?))"
ADD_VERSION = """insert into versions (version, categories, weights, metrics, active, actor, at, based_on)
    select coalesce(max(version), 0) + 1, ?, ?, ?, 1, ?, ?, ? from versions returning version"""
ACTIVE = "select version, based_on from versions where active = 1 order by version desc limit 1"
KEEP_CALIBRATION = f"""insert into calibrations ({_CALIBRATION}) values ({", ".join("?" * len(Calibration._fields))})
    on conflict (fingerprint) do update set {", ".join(f"{f} = excluded.{f}" for f in Calibration._fields[1:])}"""
VERDICTS = """select ticket_id, subject, description, extra, category from tickets
    where verdict = 1 and category is not null and (subject is not null or description is not null)
    and ticket_id > ? order by ticket_id limit ?"""
# In the order of a hash of their content: like a random order, but always the same.
UNLABELLED = """select ticket_id from tickets where verdict = 0 and (subject is not null or description is not null)
    order by content_hash, ticket_id limit ?"""
TEXTS = "select ticket_id, subject, description, extra from tickets where ticket_id in (select value from json_each(?))"
LONGEST = 10_000  # characters of a text without a verdict; a model reads no more
# The answers of classifiers about tickets that a person has decided, oldest first.
OPINIONS = """select c.ticket_id, c.classifier, c.category, c.confidence from classifications c
    join tickets t on t.ticket_id = c.ticket_id where t.verdict = 1 and c.confidence_source <> 'human'
    and c.category is not null and c.error is null order by c.classification_id"""
KEEP_GRADED = """insert into graded_answers (fingerprint, answer_key, category, confidence, label, at)
    values (?, ?, ?, ?, ?, ?) on conflict (fingerprint, answer_key) do update set label = excluded.label,
    category = excluded.category, confidence = excluded.confidence, at = excluded.at"""
GRADED = "select answer_key, category, confidence, label from graded_answers where fingerprint = ?"
# The answers to one question about tickets that a person has decided, oldest first.
JUDGED = """select c.answer_key, c.category, coalesce(c.raw, c.confidence), t.category,
    c.confidence_source, t.subject, t.description, t.extra
    from tickets t join classifications c on c.ticket_id = t.ticket_id
    where t.verdict = 1 and t.category is not null and (t.subject is not null or t.description is not null)
    and c.fingerprint = ? and c.category is not null and c.confidence is not null and c.error is null
    order by c.classification_id"""
_BOUND = ", ".join(StoredBound._fields)
KEEP_BOUND = f"""insert into error_bounds ({_BOUND}) values ({", ".join("?" * len(StoredBound._fields))})
    on conflict (classifier, category, max_error)
    do update set {", ".join(f"{f} = excluded.{f}" for f in StoredBound._fields)}"""
PAGE = 1000


class SqlModelRegistry:
    """Implements `ports.ModelRegistry` on the connections of a store."""

    def __init__(self, store: Tables) -> None:
        self._store = store
        self._database = store.database

    # -- versions of the embedded model

    def active(self) -> ModelVersion | None:
        """Return the version in use; None if it is the built-in model."""
        return next(iter(self._versions("where active = 1")), None)

    def versions(self) -> list[ModelVersion]:
        """Return all versions, newest first, without their weights."""
        return self._versions("order by version desc", weights=False)

    def add_version(self, version: ModelVersion, event: Event) -> ModelVersion | None:
        """Store a version under the next number, and make it the active one.

        Returns None if `based_on` is no longer the active version, since the new one was not compared with that.
        """

        def add(db: Db) -> ModelVersion | None:
            db.execute(LOCK_CHAIN)  # before versions are read, so that they cannot change until they are written
            active = db.execute(ACTIVE).fetchone()
            if (active[0] if active else 0) != version.based_on:
                return None
            db.execute("update versions set active = 0 where active = 1")
            values = (*version[1:4], version.actor, version.at, version.based_on)
            added = version._replace(version=db.execute(ADD_VERSION, values).fetchone()[0], active=1)
            self._store.log(db, [Change(event.with_data(version=added.version))])
            return added

        return self._database.write(add)

    def step_back(self, event: Event) -> ModelVersion | None:
        """Make the version active that the active one is based on; return it, or None for the built-in model.

        Raises `LookupError` if the built-in model is in use already.
        """

        def step_back(db: Db) -> None:
            db.execute(LOCK_CHAIN)
            active = db.execute(ACTIVE).fetchone()
            if active is None:
                raise LookupError
            version, previous = active
            if previous is None:
                previous = db.execute("select max(version) from versions where version < ?", (version,)).fetchone()[0]
            previous = previous or None
            db.execute("update versions set active = 0 where active = 1")
            db.execute("update versions set active = 1 where version = ?", (previous,))
            self._store.log(db, [Change(event.with_data(version=previous, instead_of=version))])

        self._database.write(step_back)
        return self.active()

    def _versions(self, condition: str, *, weights: bool = True) -> list[ModelVersion]:
        columns = _VERSION if weights else _VERSION.replace("weights", "'' as weights")
        rows = self._database.read(f"select {columns} from versions {condition}")
        return [ModelVersion(*row)._replace(weights=bytes(row[2] or b"")) for row in rows]

    # -- verdicts

    def labelled(self) -> Iterator[Labelled]:
        """Yield the texts of tickets with a verdict, oldest first."""
        after = ""
        while rows := self._database.read(VERDICTS, (after, PAGE)):
            for ticket_id, subject, description, extra, category in rows:
                yield Labelled(text_of(subject, description, extra), category, ticket_id)
            after = rows[-1][0]

    def unlabelled(self, limit: int) -> list[str]:
        """Return the beginnings of texts without a verdict: always the same ones, spread over all tickets."""
        texts: dict[str, str] = {}
        ticket_ids = [row[0] for row in self._database.read(UNLABELLED, (limit,))]
        for few in chunked(ticket_ids, NAMED):
            for ticket_id, subject, description, extra in self._database.read(TEXTS, (compact(few),)):
                texts[ticket_id] = text_of(subject, description, extra)[:LONGEST]
        return [texts[ticket_id] for ticket_id in ticket_ids if texts.get(ticket_id)]

    def opinions(self) -> Mapping[str, Mapping[str, tuple[str, float | None]]]:
        """Return the last answer of each classifier about tickets with a verdict, by ticket id and classifier.

        An answer is (category, confidence).
        """
        opinions_by_ticket: dict[str, dict[str, tuple[str, float | None]]] = {}
        for ticket_id, classifier, category, confidence in self._database.read(OPINIONS):
            opinions_by_ticket.setdefault(ticket_id, {})[classifier] = (category, confidence)
        return opinions_by_ticket

    # -- calibrations

    def calibration(self, fingerprint: str) -> Calibration | None:
        """Return the calibration for the question with this fingerprint, or None."""
        calibration_rows = self._database.read(
            f"select {_CALIBRATION} from calibrations where fingerprint = ?", (fingerprint,)
        )
        return Calibration(*calibration_rows[0]) if calibration_rows else None

    def calibrations(self) -> list[Calibration]:
        """Return all calibrations, newest first."""
        query = f"select {_CALIBRATION} from calibrations order by at desc, fingerprint"
        return [Calibration(*row) for row in self._database.read(query)]

    def keep_calibration(self, calibration: Calibration, event: Event) -> None:
        """Store a calibration, replacing an earlier one with the same fingerprint."""

        def keep(db: Db) -> None:
            db.execute(KEEP_CALIBRATION, tuple(calibration))
            self._store.log(db, [Change(event)])

        self._database.write(keep)

    # -- labels, and the error bounds that follow from them

    def graded(self, fingerprint: str) -> list[GradedAnswer]:
        """Return the answers to a question about labelled texts, each text once; a verdict overrules a file's label."""
        rows = self._database.read(GRADED, (fingerprint,))
        graded_answers = {key: GradedAnswer(*answer) for key, *answer in rows}
        for key, category, confidence, label, source, *ticket in self._database.read(JUDGED, (fingerprint,)):
            text = text_of(*ticket) if source == "model" else ""
            graded_answers[key] = GradedAnswer(category, confidence, label, text)
        return list(graded_answers.values())

    def keep_graded(self, answers: Sequence[tuple[Classification, str]]) -> None:
        """Store answers with the labels of their texts."""

        def keep(db: Db) -> None:
            for answer, label in answers:
                key = (answer.fingerprint, answer.answer_key)
                db.execute(KEEP_GRADED, (*key, answer.category, answer.raw_confidence, label, answer.at))

        self._database.write(keep)

    def error_bounds(self) -> list[StoredBound]:
        """Return the bounds that were found last, by classifier and category."""
        query = f"select {_BOUND} from error_bounds order by classifier, category, max_error"
        return [StoredBound(*row) for row in self._database.read(query)]

    def keep_error_bounds(self, bounds: Sequence[StoredBound], event: Event) -> None:
        """Store bounds, replacing those of the same classifier, category and error."""

        def keep(db: Db) -> None:
            for bound in bounds:
                db.execute(KEEP_BOUND, tuple(bound))
            self._store.log(db, [Change(event)])

        self._database.write(keep)

    # -- answers paid for by `eval`

    def trials(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return answers that earlier evaluations paid for, by answer key."""
        rows = self._database.read(TRIALS, (compact(list(answer_keys)),))
        return {answer.answer_key: answer for answer in map(_classification, rows)}

    def keep_trials(self, answers: Sequence[Classification], lease: Lease) -> None:
        """Store paid answers, replacing those to the same questions, and what the run has spent so far."""

        def keep(db: Db) -> None:
            self._store.renew_lease(db, lease)
            for answer in answers:
                db.execute(KEEP_TRIAL, tuple(getattr(answer, field) for field in _TRIAL))

        self._database.write(keep)


def _classification(row: Sequence[Any]) -> Classification:
    fields = dict(zip(_TRIAL, row, strict=True))
    empty = dict.fromkeys(Classification._fields)
    return Classification(**{**empty, **Classification._field_defaults, "ticket_id": "", **fields})
