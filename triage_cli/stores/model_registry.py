"""The registry of trained models: versions, the texts that they learn from, calibrations, graded answers and trials."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, starmap
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.stores.database import Db, pages, upsert, write_all
from triage_cli.stores.events import LOCK_CHAIN
from triage_cli.stores.sql_store import SqlStore

_VERSION_COLUMNS = ", ".join(dm.ModelVersion._fields)
ADD_VERSION = """insert into versions
    (version, categories, weights, metrics, active, actor, at, based_on, question, run_id)
    select coalesce(max(version), 0) + 1, ?, ?, ?, 1, ?, ?, ?, ?, ? from versions returning version"""
ADD_TEACHER = "insert into learned_from (version, ticket_id, labelled) values (?, ?, ?)"
ANY_ERASED = """select 1 from tickets where status in ('forgotten', 'withdrawn')
    and ticket_id in (select value from json_each(:ids)) union all
    select 1 from labelled_texts where status <> 'held' and text_id in (select value from json_each(:ids)) limit 1"""
# Of these versions, and of the tickets and labelled texts that `where` names.
TAUGHT = """select l.version, v.question, count(*), count(nullif(l.labelled, 0)) from learned_from l
    join versions v on v.version = l.version left join tickets t on t.ticket_id = l.ticket_id
    left join labelled_texts x on x.text_id = l.ticket_id
    where l.version in ({versions}) and {where}
    group by l.version, v.question order by l.version desc"""
BY_THESE, BY_WITHDRAWN = (
    "l.ticket_id in (select value from json_each(:ids))",
    "coalesce(t.status, x.status) = 'withdrawn'",
)
BY_ERASED = "coalesce(t.status, x.status) in ('forgotten', 'withdrawn')"
VERSION_LINKS = "select version, active, based_on, question, run_id from versions order by version desc"
# `value`, `suggestion` and `verdict` are those of a question.
LABELLED_TICKETS = """select ticket_id, subject, description, extra, {value} from tickets
    where {verdict} and {value} is not null and (subject is not null or description is not null)
    and ticket_id > ? order by ticket_id limit ?"""
# In the order of a hash of their content: like a random order, but always the same.
UNLABELLED_IDS = """select ticket_id from tickets where verdict = 0 and (subject is not null or description is not null)
    order by content_hash, ticket_id limit ?"""
TICKET_TEXTS = (
    "select ticket_id, subject, description, extra from tickets where ticket_id in (select value from json_each(?))"
)
TICKETS_WITH_COLUMNS = """select ticket_id, subject, description, extra from tickets
    where extra is not null and (subject is not null or description is not null)
    and ticket_id > ? order by ticket_id limit ?"""
LONGEST_TEXT = 10_000  # characters of a text without a verdict; a model reads no more
# The answers of classifiers about tickets that a person has decided, oldest first.
CLASSIFIER_OPINIONS = """select c.ticket_id, c.classifier, c.category, c.confidence from classifications c
    join tickets on tickets.ticket_id = c.ticket_id where {verdict} and c.question = ?
    and c.confidence_source not in ('human', 'precedent') and c.category is not null and c.error is null
    order by c.classification_id"""
VERDICTS_PER_PAGE = 1000

_CALIBRATION_COLUMNS = ", ".join(dm.Calibration._fields)
KEEP_CALIBRATION = upsert("calibrations", dm.Calibration._fields, "fingerprint")
_GRADED_COLUMNS = ("fingerprint", "answer_key", "category", "confidence", "label", "at", "probabilities", "question")
KEEP_GRADED = upsert("graded_answers", _GRADED_COLUMNS, "fingerprint", "answer_key")
# A key of a graded answer is that of the answer, and after a blank that of the text's copies; earlier releases stored
# the former alone.
DROP_GRADED = "delete from graded_answers where fingerprint = ? and answer_key >= ? and answer_key < ?"
GRADED_ANSWERS = """select answer_key, category, confidence, label, probabilities from graded_answers
    where fingerprint = ? order by at, answer_key"""
# The answers to one question about tickets that a person has decided, oldest first.
JUDGED_ANSWERS = """select c.answer_key, c.category, coalesce(c.raw, c.confidence), {value},
    c.probabilities, c.confidence_source, subject, description, extra
    from tickets join classifications c on c.ticket_id = tickets.ticket_id
    where {verdict} and {value} is not null and (subject is not null or description is not null)
    and c.fingerprint = ? and c.category is not null and c.confidence is not null and c.error is null
    order by c.classification_id"""
KEEP_EVALUATION = upsert("evaluations", ("fingerprint", "n", "sure", "wrong", "at"), "fingerprint")
_BOUND_COLUMNS = ", ".join(dm.StoredBound._fields)
KEEP_BOUND = upsert("error_bounds", dm.StoredBound._fields, "classifier", "question", "category", "max_error")

# All fields of an answer except its reason, which may quote a customer's text.
_TRIAL_COLUMNS = (
    "classification_id", "step", "category", "confidence", "confidence_source", "classifier", "actor", "fingerprint",
    "answer_key", "at", "input_tokens", "output_tokens", "cache_read", "cache_write", "cost", "probabilities",
    "question",
)  # fmt: skip
# A question is asked again if its answer is of no use any more, as one under a category that is gone.
KEEP_TRIAL = upsert("trials", _TRIAL_COLUMNS, "answer_key")
PAID_TRIALS = f"select {', '.join(_TRIAL_COLUMNS)} from trials where answer_key in (select value from json_each(?))"


class SqlModelRegistry:
    """Implements `ports.ModelRegistry` on the connections of a store."""

    def __init__(self, store: SqlStore) -> None:
        self._database = store.database
        self._log = store.log
        self._runs = store.runs
        self._columns_of = store.columns_of

    # -- versions of the embedded model

    def active(self, question: str = dm.CATEGORY) -> dm.ModelVersion | None:
        links = versions_in_use(self._database.read(VERSION_LINKS))
        number = next((link.version for link in links if link.question == question), 0)
        return self._version(f"version = {number:d}") if number else None

    def newest(self) -> int:
        return next((link.version for link in versions_in_use(self._database.read(VERSION_LINKS))), 0)

    def has_learned(self) -> bool:
        return bool(self._database.read("select 1 from versions limit 1"))

    def add_version(
        self, version: dm.ModelVersion, event: dm.Event, teachers: Mapping[str, bool] = dm.NO_TEACHERS
    ) -> dm.ModelVersion | None:
        def add_version(db: Db) -> dm.ModelVersion | None:
            # Before versions are read, so that they cannot change until they are written. Who erases tickets waits too.
            db.execute(LOCK_CHAIN)
            active = next(iter(versions_in_use(db.execute(VERSION_LINKS).fetchall())), None)
            if (active.version if active else 0) != version.based_on:
                return None
            if db.execute(ANY_ERASED, {"ids": dm.compact(list(teachers))}).fetchone():
                return None
            db.execute("update versions set active = 0 where active = 1")
            version_values = (*version[1:4], *version[5:])
            added_version = version._replace(version=db.execute(ADD_VERSION, version_values).fetchone()[0], active=1)
            rows = [(added_version.version, ticket_id, int(labelled)) for ticket_id, labelled in teachers.items()]
            write_all(db, ADD_TEACHER, rows)
            self._log.append(db, [dm.Change(event.with_data(version=added_version.version))])
            return added_version

        return self._database.write(add_version)

    def step_back(self, event: dm.Event) -> dm.ModelVersion | None:
        def step_back(db: Db) -> None:
            db.execute(LOCK_CHAIN)
            links = versions_in_use(db.execute(VERSION_LINKS).fetchall())
            if not links:
                raise LookupError
            active, *earlier = links
            previous = next((e.version for e in earlier if e.run_id is None or e.run_id != active.run_id), None)
            db.execute("update versions set active = 0 where active = 1")
            db.execute("update versions set active = 1 where version = ?", (previous,))
            self._log.append(db, [dm.Change(event.with_data(version=previous, instead_of=active.version))])

        self._database.write(step_back)
        return self._version("active = 1")

    def taught_by(self, ticket_ids: Sequence[str]) -> list[dm.Taught]:
        in_use = [link.version for link in versions_in_use(self._database.read(VERSION_LINKS))]
        if not in_use:
            return []
        rows = self._database.read(_taught(in_use, BY_THESE), {"ids": dm.compact(list(ticket_ids))})
        return [dm.Taught(*row) for row in rows]

    def taught_by_erased(self, version: int) -> dm.Taught | None:
        rows = self._database.read(_taught([version], BY_ERASED))
        return dm.Taught(*rows[0]) if rows else None

    def end_withdrawn(self, event: dm.Event) -> list[dm.Taught]:
        def end_withdrawn(db: Db) -> list[dm.Taught]:
            db.execute(LOCK_CHAIN)
            in_use = [link.version for link in versions_in_use(db.execute(VERSION_LINKS).fetchall())]
            rows = db.execute(_taught(in_use, BY_WITHDRAWN)).fetchall() if in_use else []
            ended = [taught for taught in (dm.Taught(*row) for row in rows) if taught.labels]
            if not ended:
                return []
            ended_versions = {taught.version for taught in ended}
            left = [version for version in in_use if version not in ended_versions]
            for version in ended_versions:
                db.execute("update versions set weights = ?, active = 0 where version = ?", (b"", version))
                db.execute("delete from learned_from where version = ?", (version,))
            for version, based_on in zip(left, [*left, 0][1:], strict=True):
                values = (based_on, int(version == left[0]), version)
                db.execute("update versions set based_on = ?, active = ? where version = ?", values)
            data = {"version": left[0] if left else None, "ended": sorted(ended_versions)}
            self._log.append(db, [dm.Change(event.with_data(**data))])
            return ended

        return self._database.write(end_withdrawn)

    def _version(self, condition: str) -> dm.ModelVersion | None:
        rows = self._database.read(f"select {_VERSION_COLUMNS} from versions where {condition}")
        return next((dm.ModelVersion(*row)._replace(weights=bytes(row[2] or b"")) for row in rows), None)

    # -- verdicts

    def labelled(self, question: str = dm.CATEGORY) -> Iterator[dm.Labelled]:
        query = LABELLED_TICKETS.format(**self._columns_of(question)._asdict())
        for ticket_id, *texts, value in chain.from_iterable(pages(self._database, query, size=VERDICTS_PER_PAGE)):
            yield dm.Labelled(dm.text_of(*texts), value, ticket_id)

    def column_cells(self, column: str) -> Iterator[dm.Labelled]:
        tickets = pages(self._database, TICKETS_WITH_COLUMNS, size=VERDICTS_PER_PAGE)
        for ticket_id, *texts in chain.from_iterable(tickets):
            if (cell := dm.from_json(texts[-1]).get(column)) is not None:
                yield dm.Labelled(dm.text_of(*texts), str(cell), ticket_id)

    def unlabelled(self, limit: int) -> dict[str, str]:
        unlabelled_texts: dict[str, str] = {}
        ticket_ids = [row[0] for row in self._database.read(UNLABELLED_IDS, (limit,))]
        for id_chunk in dm.chunked(ticket_ids, dm.NAMED):
            for ticket_id, *texts in self._database.read(TICKET_TEXTS, (dm.compact(id_chunk),)):
                unlabelled_texts[ticket_id] = dm.text_of(*texts)[:LONGEST_TEXT]
        return {ticket_id: text for ticket_id in ticket_ids if (text := unlabelled_texts.get(ticket_id))}

    def opinions(self, question: str = dm.CATEGORY) -> Mapping[str, Mapping[str, tuple[str, float | None]]]:
        opinions_by_ticket: dict[str, dict[str, tuple[str, float | None]]] = {}
        query = CLASSIFIER_OPINIONS.format(verdict=self._columns_of(question).verdict)
        for ticket_id, classifier, category, confidence in self._database.read(query, (question,)):
            opinions_by_ticket.setdefault(ticket_id, {})[classifier] = (category, confidence)
        return opinions_by_ticket

    # -- calibrations

    def calibration(self, fingerprint: str) -> dm.Calibration | None:
        query = f"select {_CALIBRATION_COLUMNS} from calibrations where fingerprint = ?"
        rows = self._database.read(query, (fingerprint,))
        return dm.Calibration(*rows[0]) if rows else None

    def calibrations(self) -> list[dm.Calibration]:
        calibrations_query = f"select {_CALIBRATION_COLUMNS} from calibrations order by at desc, fingerprint"
        return [dm.Calibration(*row) for row in self._database.read(calibrations_query)]

    def keep_calibration(self, calibration: dm.Calibration, event: dm.Event) -> None:
        def keep_calibration(db: Db) -> None:
            db.execute(KEEP_CALIBRATION, tuple(calibration))
            self._log.append(db, [dm.Change(event)])

        self._database.write(keep_calibration)

    # -- labels, and the error bounds that follow from them

    def graded(self, fingerprint: str, question: str = dm.CATEGORY) -> list[dm.GradedAnswer]:
        """Return the answers to a question about labelled texts; a verdict overrules a file's label.

        A text and its copies in other spellings count once a category: the first that was decided, else the first of
        the files.
        """
        judged_answers: dict[str, tuple[str, dm.GradedAnswer]] = {}  # the key of the text's copies, and the answer
        judged = JUDGED_ANSWERS.format(**self._columns_of(question)._asdict())
        for row in self._database.read(judged, (fingerprint,)):
            key, category, confidence, label, probabilities, source, *texts = row
            graded_text = dm.text_of(*texts)
            own_text = graded_text if source == "model" else ""
            answer = dm.GradedAnswer(category, confidence, label, own_text, probabilities)
            judged_answers[key] = (_copies_of(graded_text), answer)
        graded_answers: dict[tuple[str, str], dm.GradedAnswer] = {}
        for copies, answer in judged_answers.values():
            graded_answers.setdefault((copies, answer.category), answer)
        judged_copies = {copies for copies, _ in judged_answers.values()}
        for graded_key, category, confidence, label, probabilities in self._database.read(
            GRADED_ANSWERS, (fingerprint,)
        ):
            key, _, copies = graded_key.partition(" ")
            if key not in judged_answers and copies not in judged_copies:
                answer = dm.GradedAnswer(category, confidence, label, probabilities=probabilities)
                graded_answers.setdefault((copies or key, answer.category), answer)
        return list(graded_answers.values())

    def keep_graded(self, answers: Iterable[dm.LabelledAnswer], learned: Iterable[dm.Classification] = ()) -> None:
        def keep_graded(db: Db) -> None:
            for answer in learned:
                _drop_graded(db, answer)
            for answer, label, text in answers:
                _drop_graded(db, answer)
                key = (answer.fingerprint, f"{answer.answer_key} {_copies_of(text)}")
                graded = (answer.category, answer.raw_confidence, label, answer.at, answer.probabilities)
                db.execute(KEEP_GRADED, (*key, *graded, answer.question))

        self._database.write(keep_graded)

    def evaluated(self, fingerprint: str) -> dm.JudgedAnswers:
        rows = self._database.read("select n, sure, wrong from evaluations where fingerprint = ?", (fingerprint,))
        return dm.JudgedAnswers(*rows[0]) if rows else dm.JudgedAnswers()

    def keep_evaluated(self, judged: Mapping[str, dm.JudgedAnswers], at: str) -> None:
        def keep_evaluated(db: Db) -> None:
            for fingerprint, answers in judged.items():
                db.execute(KEEP_EVALUATION, (fingerprint, *answers, at))

        self._database.write(keep_evaluated)

    def error_bounds(self) -> list[dm.StoredBound]:
        bounds_query = f"select {_BOUND_COLUMNS} from error_bounds order by classifier, category, max_error"
        return [dm.StoredBound(*row) for row in self._database.read(bounds_query)]

    def keep_error_bounds(self, bounds: Sequence[dm.StoredBound], event: dm.Event) -> None:
        def keep_bounds(db: Db) -> None:
            for bound in bounds:
                db.execute(KEEP_BOUND, tuple(bound))
            self._log.append(db, [dm.Change(event)])

        self._database.write(keep_bounds)

    # -- trials: answers that evaluations have paid for

    def trials(self, answer_keys: Sequence[str]) -> Mapping[str, dm.Classification]:
        trial_rows = self._database.read(PAID_TRIALS, (dm.compact(list(answer_keys)),))
        trials = (dm.Classification.made("", **dict(zip(_TRIAL_COLUMNS, row, strict=True))) for row in trial_rows)
        return {trial.answer_key: trial for trial in trials}

    def keep_trials(self, answers: Sequence[dm.Classification], lease: dm.Lease) -> None:
        def keep_trials(db: Db) -> None:
            self._runs.renew_lease(db, lease)
            for answer in answers:
                db.execute(KEEP_TRIAL, tuple(getattr(answer, field) for field in _TRIAL_COLUMNS))

        self._database.write(keep_trials)


class VersionLink(NamedTuple):
    """A version without what was learned: which one it is based on, which question it answers, which run made it."""

    version: int
    active: int
    based_on: int | None
    question: str
    run_id: str | None


def versions_in_use(rows: Iterable[Sequence[Any]]) -> list[VersionLink]:
    """Return the active version, the one that it is based on, and so on; `rows` are all versions, newest first."""
    in_use: list[VersionLink] = []
    for link in starmap(VersionLink, rows):
        # One of an older program is based on that before it.
        if in_use[-1].based_on in (None, link.version) if in_use else link.active:
            in_use.append(link)
    return in_use


def _taught(versions: Sequence[int], where: str) -> str:
    """Return the query of what these versions have learned from tickets."""
    return TAUGHT.format(versions=", ".join(map(str, versions)), where=where)


def _copies_of(text: str) -> str:
    return f"{dm.copy_key(text):016x}"


def _drop_graded(db: Db, answer: dm.Classification) -> None:
    """Drop what is stored of an answer, under whatever key of its text's copies."""
    db.execute(DROP_GRADED, (answer.fingerprint, answer.answer_key, f"{answer.answer_key}!"))
