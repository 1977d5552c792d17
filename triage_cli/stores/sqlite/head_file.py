"""The head file `<database>.head`: the head of a SQLite database's audit log, as `triage audit head` prints it.

It is written when the database is built, so that a missing file was removed by somebody, and then when a run begins and
ends. The write comes after the commit, so the file is never ahead of the log. It is one write in place of a fixed
length, so a kill leaves the older head. Two commands may write in any order, since the log contains older heads too. A
head that is not in the log is never overwritten.
"""

import json
import shlex
import sqlite3
from contextlib import suppress
from pathlib import Path

from triage_cli.domain.audit.events import Head
from triage_cli.domain.audit.hash_chain import GENESIS
from triage_cli.domain.errors import CheckError
from triage_cli.runtime.file_system import private

WIDTH = 20  # characters for the number of events
# Finds the event of a restore that replaced a database with this head.
REPLACED = "select 1 from events where action = 'restored' and json_extract(detail, '$.replaced') = ?"


def kept_head(path: str) -> Head | None:
    """Return the head in the head file; None if there is no file. Raises `CheckError`."""
    file = Path(f"{path}.head")
    try:
        text = "a pipe" if file.is_fifo() else file.read_text("utf-8")  # reading a pipe would wait for a writer
        fields = json.loads(text) if text else None
        return None if fields is None else Head(str(fields["head"]), int(fields["events"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = f"look who changed it; where that was meant: {mend(path)}"
        raise CheckError(f"{file} holds no head of a log", hint=hint) from error


def mend(path: str) -> str:
    """Return the command line that writes the head file again."""
    return f"triage audit head > {shlex.quote(f'{path}.head')}"


def keep_head(db: sqlite3.Connection, path: str) -> None:
    """Write the head file, unless it was removed or holds a head that is not in the log. Failures are ignored."""
    with suppress(CheckError, OSError, sqlite3.Error):
        stored = kept_head(path)
        seq, head = db.execute("select seq, hash from chain").fetchone()
        if stored is None and seq:
            return  # somebody removed it, and must restore it
        if stored is not None and stored.events:
            logged = db.execute("select hash from events where seq = ?", (stored.events,)).fetchone()
            if logged == (stored.head,) and stored.events == seq:
                return
            if logged != (stored.head,) and not db.execute(REPLACED, (stored.head,)).fetchone():
                return
        write_head(path, Head(head, seq))


def keep_first_head(path: str) -> None:
    """Write the head file of a database that is being built, unless there is one. In-memory databases get none.

    An existing file is left for `audit verify` to report.
    """
    with suppress(CheckError, OSError):
        if Path(path).is_file() and kept_head(path) is None:
            write_head(path, Head(GENESIS, 0))


def write_head(path: str, head: Head) -> None:
    """Write the head file."""
    line = f'{{"head": "{head.head}", "events": {head.events:<{WIDTH}}}}\n'
    file = Path(f"{path}.head")
    with open(file, "r+b" if file.exists() else "wb", buffering=0, opener=private) as out:
        out.write(line.encode())
