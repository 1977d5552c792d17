"""The head of a SQLite file's audit log, kept in `<database>.head` in the words of `triage audit head`.

It is first written when the database is built, so that one that is missing was taken away, and then when a run begins
and ends, after the commit, in place and in one write of always the same length: so it is never ahead of the log, a kill
leaves the older one, and of two commands at once either may be the last, since an older head of a log that has grown is
in it too. A head that is not in the log is never written over.
"""

import json
import shlex
import sqlite3
from contextlib import suppress
from pathlib import Path

from triage_cli.domain.audit import Head
from triage_cli.domain.audit_chain import GENESIS
from triage_cli.domain.errors import CheckError
from triage_cli.runtime.private_files import private

WIDTH = 20  # characters for the number of events
# The head of a database that a backup took the place of, as the restore logged it.
REPLACED = "select 1 from events where action = 'restored' and json_extract(detail, '$.replaced') = ?"


def kept_head(path: str) -> Head | None:
    """Return the head that is kept beside a database; None where none was ever written. Raises `CheckError`."""
    file = Path(f"{path}.head")
    try:
        text = file.read_text("utf-8")
        fields = json.loads(text) if text else None
        return None if fields is None else Head(str(fields["head"]), int(fields["events"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = f"look who changed it; where that was meant: {mend(path)}"
        raise CheckError(f"{file} holds no head of a log", hint=hint) from error


def mend(path: str) -> str:
    """Return the command that writes the head anew."""
    return f"triage audit head > {shlex.quote(f'{path}.head')}"


def keep_head(db: sqlite3.Connection, path: str) -> None:
    """Keep the head of the log beside its database; that it cannot be kept ends no work."""
    with suppress(CheckError, OSError, sqlite3.Error):
        before = kept_head(path)
        seq, now = db.execute("select seq, hash from chain").fetchone()
        if before is None and seq:
            return  # it was taken away: that is for a person to mend
        if before is not None and before.events:
            then = db.execute("select hash from events where seq = ?", (before.events,)).fetchone()
            if then == (before.head,) and before.events == seq:
                return
            if then != (before.head,) and not db.execute(REPLACED, (before.head,)).fetchone():
                return
        write_head(path, Head(now, seq))


def keep_first_head(path: str) -> None:
    """Keep the head of the empty log of a database that is being built: from here on one that is missing is missed.

    Whatever lies there already is left for `audit verify` to tell of; one in memory alone has none.
    """
    with suppress(CheckError, OSError):
        if Path(path).is_file() and kept_head(path) is None:
            write_head(path, Head(GENESIS, 0))


def write_head(path: str, head: Head) -> None:
    """Write the file that keeps a head."""
    line = f'{{"head": "{head.head}", "events": {head.events:<{WIDTH}}}}\n'
    file = Path(f"{path}.head")
    with open(file, "r+b" if file.exists() else "wb", buffering=0, opener=private) as out:
        out.write(line.encode())
