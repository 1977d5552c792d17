"""The tables of classifiers' answers, of the questions that they answer, and of answers that `eval` has paid for."""

from collections.abc import Mapping, Sequence
from typing import Any

from triage_cli.domain import Classification, Lease, QuestionSpec, compact
from triage_cli.stores.bulk_insert import placeholders
from triage_cli.stores.category_tables import Renames
from triage_cli.stores.database import Database, Db, Tables

INSERT_ANSWER = f"insert into classifications values ({placeholders(Classification._fields)})"
ANSWERS_BY_ID = "select * from classifications where classification_id in (select value from json_each(?))"
ANSWERS_TO_QUESTIONS = """select * from classifications where ticket_id in (select value from json_each(?))
    and fingerprint in (select value from json_each(?)) order by classification_id"""
# Sure answers of each step of a cascade that a later one was asked to confirm, and how many it confirmed. They have one
# run, since only `audit_rate` asks twice in one. `{among}` may join the tickets that are meant.
AUDITED_ANSWERS = """select sure.classifier, count(*), sum(case when sure.category = control.category then 1 else 0 end)
    from classifications control join classifications sure on sure.ticket_id = control.ticket_id
        and sure.run_id = control.run_id and sure.classification_id < control.classification_id {among}
    where control.confidence_source in ('decision', 'logprob', 'said') and control.error is null
        and sure.category is not null and sure.confidence >= sure.threshold and sure.classifier <> control.classifier
    group by 1 order by 1"""
ANSWERS_OF_TICKET = "select * from classifications where ticket_id = ? order by classification_id"
QUESTIONS_OF_TICKET = """select * from askings where fingerprint in
    (select fingerprint from classifications where ticket_id = ?)"""
BOUNDS_OF_TICKET = """select * from error_bounds where fingerprint in
    (select fingerprint from classifications where ticket_id = ?)"""
PAID_ANSWERS = """select * from classifications where answer_key in (select value from json_each(?)) and reused is null
    and error is null and confidence_source not in ('model', 'human') order by classification_id"""


class AnswerTables(Renames):
    """Reads answers, and records questions."""

    def record_question(self, question: QuestionSpec) -> None:
        """Record a question, once per fingerprint."""
        if not self.database.read("select 1 from askings where fingerprint = ?", (question.fingerprint,)):
            self._write("insert into askings values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing", question)

    def recall(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return earlier answers of paid classifiers, by answer key."""
        answers = self._answers(self.database.read(PAID_ANSWERS, (compact(list(answer_keys)),)))
        return {answer.answer_key: answer for answer in answers}

    def decisions(self, classification_ids: Sequence[str]) -> Mapping[str, Classification]:
        """Return these answers, by classification id."""
        answer_rows = self.database.read(ANSWERS_BY_ID, (compact(list(classification_ids)),))
        return {answer.classification_id: answer for answer in self._answers(answer_rows)}

    def answers(self, ticket_ids: Sequence[str], fingerprints: Sequence[str]) -> list[Classification]:
        """Return all answers about these tickets to these questions, oldest first."""
        answer_values = (compact(list(ticket_ids)), compact(list(fingerprints)))
        return self._answers(self.database.read(ANSWERS_TO_QUESTIONS, answer_values))


# All fields of an answer except its reason, which may quote a customer's text.
_TRIAL_COLUMNS = (
    "classification_id", "step", "category", "confidence", "confidence_source", "classifier", "actor", "fingerprint",
    "answer_key", "at", "input_tokens", "output_tokens", "cache_read", "cache_write", "cost",
)  # fmt: skip
# A question is asked again if its answer is of no use any more, as one under a category that is gone.
KEEP_TRIAL = f"""insert into trials ({", ".join(_TRIAL_COLUMNS)}) values ({", ".join("?" * len(_TRIAL_COLUMNS))})
    on conflict (answer_key) do update set {", ".join(f"{field} = excluded.{field}" for field in _TRIAL_COLUMNS)}"""
PAID_TRIALS = f"select {', '.join(_TRIAL_COLUMNS)} from trials where answer_key in (select value from json_each(?))"


class TrialTables:
    """Stores trials, and finds them by the keys of their answers."""

    _store: Tables
    _database: Database

    def trials(self, answer_keys: Sequence[str]) -> Mapping[str, Classification]:
        """Return answers that earlier evaluations paid for, by answer key."""
        trial_rows = self._database.read(PAID_TRIALS, (compact(list(answer_keys)),))
        return {answer.answer_key: answer for answer in map(_trial_answer, trial_rows)}

    def keep_trials(self, answers: Sequence[Classification], lease: Lease) -> None:
        """Store paid answers, replacing those to the same questions, and what the run has spent so far."""

        def keep_trials(db: Db) -> None:
            self._store.renew_lease(db, lease)
            for answer in answers:
                db.execute(KEEP_TRIAL, tuple(getattr(answer, field) for field in _TRIAL_COLUMNS))

        self._database.write(keep_trials)


def _trial_answer(trial_row: Sequence[Any]) -> Classification:
    trial_fields = dict(zip(_TRIAL_COLUMNS, trial_row, strict=True))
    empty_fields = dict.fromkeys(Classification._fields)
    return Classification(**{**empty_fields, **Classification._field_defaults, "ticket_id": "", **trial_fields})
