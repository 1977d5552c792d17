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

from triage_cli.domain import GENESIS, CheckError, Head
from triage_cli.runtime import private

EVENTS_WIDTH = 20  # characters for the number of events
# Finds the event of a restore that replaced a database with this head.
REPLACED_BY_RESTORE = "select 1 from events where action = 'restored' and json_extract(detail, '$.replaced') = ?"


def kept_head(path: str) -> Head | None:
    """Return the head in the head file; None if there is no file. Raises `CheckError`."""
    head_file = Path(f"{path}.head")
    try:
        head_text = (
            "a pipe" if head_file.is_fifo() else head_file.read_text("utf-8")
        )  # reading a pipe would wait for a writer
        head_fields = json.loads(head_text) if head_text else None
        return None if head_fields is None else Head(str(head_fields["head"]), int(head_fields["events"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = f"look who changed it; where that was meant: {mend_command(path)}"
        raise CheckError(f"{head_file} holds no head of a log", hint=hint) from error


def mend_command(path: str) -> str:
    """Return the command line that writes the head file again."""
    return f"triage audit head > {shlex.quote(f'{path}.head')}"


def keep_head(db: sqlite3.Connection, path: str) -> None:
    """Write the head file, unless it was removed or holds a head that is not in the log. Failures are ignored."""
    with suppress(CheckError, OSError, sqlite3.Error):
        kept = kept_head(path)
        seq, head = db.execute("select seq, hash from chain").fetchone()
        if kept is None and seq:
            return  # somebody removed it, and must restore it
        if kept is not None and kept.events:
            logged_hash = db.execute("select hash from events where seq = ?", (kept.events,)).fetchone()
            if logged_hash == (kept.head,) and kept.events == seq:
                return
            if logged_hash != (kept.head,) and not db.execute(REPLACED_BY_RESTORE, (kept.head,)).fetchone():
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
    head_line = f'{{"head": "{head.head}", "events": {head.events:<{EVENTS_WIDTH}}}}\n'
    head_file = Path(f"{path}.head")
    with open(head_file, "r+b" if head_file.exists() else "wb", buffering=0, opener=private) as head_stream:
        head_stream.write(head_line.encode())
