"""Reading a store's audit log in order to verify it: the log unchanged, and the head that is kept apart from it.

The head of a SQLite file stands in a file beside it (`stores.sqlite.head_file`).
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from triage_cli import domain as dm
from triage_cli.runtime import NEWER
from triage_cli.stores.sqlite.connection import (
    IMMUTABLE,
    NOT_OPENED,
    VERSION,
    check_sqlite,
    is_frozen,
    sqlite_code_of,
    translate,
)
from triage_cli.stores.sqlite.head_file import kept_head, mend_command
from triage_cli.stores.sqlite.second_half import EVENT_ROWS, SecondHalf, saves_time

ALL_EVENTS = EVENT_ROWS.format("")
ALTERED_TEXT = partial(str, encoding="utf-8", errors="surrogateescape")  # it may be no UTF-8
# Every row of the tables must go back to an event of the log. Each query finds rows that do not.
UNLOGGED_ROWS = {
    "ticket {} has no event in the log": """
        select ticket_id from tickets t where not exists
        (select 1 from events e where e.ticket_id = t.ticket_id and e.action = 'created') limit 1""",
    "ticket {} is gone from the table of tickets": """
        select ticket_id from events e where action = 'created' and not exists
        (select 1 from tickets t where t.ticket_id = e.ticket_id) limit 1""",
    "the answer {} is gone from the table of classifications": """
        select json_extract(detail, '$.decision') from events e where action in ('classified', 'suggested')
        and json_extract(detail, '$.decision') is not null and not exists
        (select 1 from classifications c where c.classification_id = json_extract(detail, '$.decision')) limit 1""",
    "the answer {} to a further question is gone from the table of classifications": """
        select json_extract(value, '$.decision') from events e, json_each(detail, '$.answers') given
        where action = 'classified' and detail like '%"answers":%' and json_extract(value, '$.decision') is not null
        and not exists (select 1 from classifications c
            where c.classification_id = json_extract(value, '$.decision')) limit 1""",
    # The event of an import names the category, but not the classification.
    "the verdict {} has no event in the log": """
        select classification_id from classifications c where confidence_source = 'human' and not exists
        (select 1 from events e where e.ticket_id = c.ticket_id and case
            when c.step = 'import' then action in ('created', 'updated')
                and coalesce(json_extract(detail, '$.verdict'), json_extract(detail, '$.said')) is not null
            else action = 'verdict'
                and coalesce(json_extract(detail, '$.category'), json_extract(detail, '$.value')) is not null
                and json_extract(detail, '$.decision') = c.classification_id end) limit 1""",
    "the suggestion {} has no event in the log": """
        select classification_id from classifications c where classifier = 'agent' and fingerprint = ''
        and not exists (select 1 from events e where e.ticket_id = c.ticket_id and action = 'suggested'
            and json_extract(detail, '$.decision') = c.classification_id) limit 1""",
}


class SqliteTrail:
    """Implements `ports.AuditLogReader` on one SQLite file: the log is read in one snapshot, the tables in another.

    `connect` opens the file once more, for the tables; by `file_uri` a process does for the second half of the log.
    """

    place = "beside the database"

    def __init__(
        self, path: str, db: sqlite3.Connection, connect: Callable[[], sqlite3.Connection], file_uri: str = ""
    ) -> None:
        self.mend = mend_command(path)
        self._path = path
        self._db = db
        self._connect = connect
        self._file_uri = file_uri

    def recorded_head(self) -> tuple[dm.Head, str | None]:
        last_seq, head, key_mark = self._db.execute("select seq, hash, key from chain").fetchone() or (0, "", None)
        return dm.Head(head, last_seq), key_mark

    def kept_head(self) -> dm.Head | None:
        return kept_head(self._path)

    def events(self) -> Iterator[dm.EventRow]:
        """Yield all events; `prev` is empty."""
        passed = 0
        self._db.text_factory = str  # takes half the time of one that reads altered text, too
        try:
            for passed, event_row in enumerate(self._db.execute(ALL_EVENTS), 1):  # noqa: B007
                yield event_row
        except sqlite3.OperationalError:
            self._db.text_factory = ALTERED_TEXT
            yield from islice(self._db.execute(ALL_EVENTS), passed, None)
        self._db.text_factory = ALTERED_TEXT

    def second_half(
        self, head: dm.Head, key: bytes | None, heads: Mapping[str, str]
    ) -> AbstractContextManager[dm.RestOfLog | None]:
        with suppress(sqlite3.Error, OSError):  # the first half will tell what is wrong with the file
            (last_seq,) = self._db.execute("select max(seq) from events").fetchone()
            if self._file_uri and last_seq == head.events and isinstance(last_seq, int) and saves_time(last_seq):
                return SecondHalf(self._file_uri, head, key, heads)
        return nullcontext()

    def strays(self) -> Iterator[str]:
        from triage_cli.stores.sqlite.schema import statements_of

        with closing(self._connect()) as db:
            db.execute("begin")
            triggers = db.execute("select sql from sqlite_master where type = 'trigger'")
            present_triggers = {on_one_line(row[0]).casefold() for row in triggers}
            guards = (on_one_line(each) for each in statements_of() if each.startswith("create trigger"))
            if not present_triggers.issuperset(guards):
                yield "the triggers that keep the log append-only are gone"
            for sentence, query in UNLOGGED_ROWS.items():
                for (row_id,) in db.execute(query):
                    yield sentence.format(row_id)


def on_one_line(body: str) -> str:
    """Return a statement without its line breaks."""
    return " ".join(body.split())


@contextmanager
def trail(path: str) -> Iterator[SqliteTrail]:
    """Open the audit log of a file for verification, without building or migrating anything. Raises `CheckError`."""
    if not Path(path).is_file():
        raise dm.CheckError(f"there is no database at {path}", hint="name it with --db, or restore it")
    check_sqlite()
    try:
        file_uri = f"file:{quote(path)}?{IMMUTABLE if is_frozen(path) else 'mode=rw'}"
        connect = partial(_connected, file_uri)
        with closing(connect()) as db:
            user_version = db.execute("pragma user_version").fetchone()[0]
            if user_version > VERSION:
                raise dm.CheckError(f"{path} was written by a newer triage", hint=NEWER)
            if user_version < 1:  # an older schema has the same log
                raise dm.CheckError(
                    f"{path} is no database of this triage", hint="name another with --db, or restore it"
                )
            db.execute("begin")
            yield SqliteTrail(path, db, connect, file_uri)
    except sqlite3.Error as error:
        try:
            translated = translate(error, path)
        except sqlite3.Error:
            translated = None
        if isinstance(translated, dm.UnavailableError):
            raise translated from error
        if translated is not None and sqlite_code_of(error) in NOT_OPENED:
            raise dm.CheckError(translated.message, hint=translated.hint) from error
        raise dm.CheckError(f"the log in {path} cannot be read: {error}", hint="restore a backup") from error


def _connected(file_uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(file_uri, uri=True, isolation_level=None)
    db.text_factory = ALTERED_TEXT
    return db
