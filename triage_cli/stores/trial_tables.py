"""The table of trials: answers that `eval` has paid for, and that later evaluations use again."""

from collections.abc import Mapping, Sequence
from typing import Any

from triage_cli.domain.classifications import Classification
from triage_cli.domain.json_values import compact
from triage_cli.domain.runs import Lease
from triage_cli.stores.database import Database, Db, Tables

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
