"""Changes to a stored audit log that its verification must find."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from triage_cli import domain as dm


def drafts(number: int, start: int = 0) -> Iterator[dm.TicketDraft]:
    for n in range(start, start + number):
        yield dm.TicketDraft(n - start, n + 2, f"subject {n}", "a \u202e text", external_id=f"X-{n}", cells=())


def tamper(path: Path, *statements: str) -> None:
    """Do what somebody with the file at hand can do: the triggers keep nobody from it."""
    with closing(sqlite3.connect(path)) as db:
        bodies = [row[0] for row in db.execute("select sql from sqlite_master where type = 'trigger'")]
        for name in ("events_never_change", "events_never_go"):
            db.execute(f"drop trigger {name}")
        db.execute("pragma foreign_keys = off")
        db.execute("pragma legacy_alter_table = on")  # a table may be renamed although a view reads it
        for statement in statements:
            db.execute(statement)
        for body in bodies:
            db.execute(body)
        db.commit()
