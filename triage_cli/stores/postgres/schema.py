"""The tables of a new PostgreSQL database: `schema.sql`. Imported only to build, to copy, or to prove the log."""

from pathlib import Path

from triage_cli.stores.sqlite import schema

HEAD = "last_head"  # a table that only this dialect has
# What the functions of the triggers do that keep the log append-only, by trigger.
GUARD = "begin raise exception 'the audit log is append-only' using errcode = 'restrict_violation'; end"
TRIGGERS = ("events_never_change", "events_never_go", "events_never_go_at_once")


def statements() -> list[str]:
    """Return the statements that build the newest version."""
    return list(schema.statements(Path(__file__).with_name("schema.sql")))


def tables() -> list[str]:
    """Name the tables that both dialects have, in the order in which they are made."""
    return schema.tables(schema.statements())
