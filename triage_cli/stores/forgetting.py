"""A person's words leave one SQLite file: its rows, and the bytes that deleted and changed rows leave behind."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

from triage_cli.codec import compact
from triage_cli.errors import UnavailableError
from triage_cli.ids import now

# What beside `tickets` may hold words of a ticket, or a hash that stands for them; a table that may belongs in here.
# What was still to be sent is not: without the text there is nothing to send.
ERASE = (
    """update classifications set reason = null, answer_key = ''
        where ticket_id in (select value from json_each(:ids))""",
    """update attempts set error = '(forgotten)' where error is not null and delivery_id in
        (select delivery_id from deliveries where ticket_id in (select value from json_each(:ids)))""",
    """update deliveries set last_error = null, run_id = null,
        done_at = case when state in ('pending', 'dead') then :at else done_at end,
        state = case when state in ('pending', 'dead') then 'superseded' else state end
        where ticket_id in (select value from json_each(:ids))""",
)


class Forgetting(ABC):
    """The part of the store that forgets; the other parts bring connection and transactions."""

    path: str

    @abstractmethod
    def _db(self) -> sqlite3.Connection: ...

    @abstractmethod
    def _writing(self) -> AbstractContextManager[sqlite3.Connection]: ...

    @abstractmethod
    def _translated(self) -> AbstractContextManager[None]: ...

    def erase(self, ticket_ids: Sequence[str]) -> None:
        """Blank what is known of tickets outside of their own row; once or many times is the same."""
        with self._writing() as db:
            for statement in ERASE:
                db.execute(statement, {"ids": compact(list(ticket_ids)), "at": now()})

    def scrub(self) -> None:
        """Rewrite the file, so that no byte of what was erased or overwritten is left in it or in its log of writes.

        Raises `UnavailableError` where another program keeps an older state open all the time.
        """
        with self._translated():
            db = self._db()
            db.execute("vacuum")
            busy = db.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if busy:
            raise UnavailableError(
                f"another program is reading {self.path}, so its write-ahead log still holds what was erased",
                hint="run the same command again when that has ended",
            )

    def forgot(self) -> bool:
        """Tell whether anybody was ever forgotten here."""
        with self._translated():
            return self._db().execute("select 1 from runs where kind = 'forget' limit 1").fetchone() is not None
