"""The statements of `schema.sql`, which build a new PostgreSQL database."""

from pathlib import Path

from triage_cli.stores.sqlite import schema

# The body of the function that keeps the log append-only, and the triggers that call it.
GUARD = "begin raise exception 'the audit log is append-only' using errcode = 'restrict_violation'; end"
TRIGGERS = ("events_never_change", "events_never_go", "events_never_go_at_once")


def statements() -> list[str]:
    """Return the statements that build the newest version."""
    return list(schema.statements_of(Path(__file__).with_name("schema.sql")))


def tables() -> list[str]:
    """Return the names of the tables that both dialects have, in the order of their creation."""
    return schema.created_tables(schema.statements_of())
