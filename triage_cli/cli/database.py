"""`triage db`: where the database is, a copy of it while it is in use, and its move to PostgreSQL."""

from pathlib import Path
from typing import Annotated

import typer

from triage_cli import wiring
from triage_cli.cli import printing
from triage_cli.cli.printing import Printer
from triage_cli.cli.session import Session, about_here
from triage_cli.config import without_password


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(help="Look after the database.", rich_markup_mode=None)
    group.command("path")(path)
    group.command("backup")(backup)
    group.command("copy")(copy)
    group.callback(invoke_without_command=True)(printing.help_if_bare)
    app.add_typer(group, name="db")


@about_here
def path(session: Session) -> None:
    """Print where the database is."""
    Printer("table").write(wiring.path_of(session.config) + "\n")


@about_here
def backup(session: Session, file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")]) -> None:
    """Copy the database while it is in use; the copy is whole and can be opened with --db."""
    wiring.open_store(session.config).backup(file)
    session.say(f"wrote {file}")


@about_here
def copy(
    session: Session, url: Annotated[str, typer.Argument(metavar="URL", help="postgresql://user@host/name")]
) -> None:
    """Move the database to an empty one on PostgreSQL, audit log included, and verify it there; all or nothing."""
    copied = wiring.copy_to(session.config, url)
    rows = ", ".join(f"{number:,} {table}" for table, number in copied.rows.items() if number)
    session.say(f"copied {rows or 'nothing, since there is nothing'}; the audit log holds there")
    if copied.changed:
        session.say(f"note: a NUL character in {copied.changed} rows became U+FFFD, which PostgreSQL can keep")
    if session.guides:
        session.say(f"next: put database: {without_password(url)} into the config, or give it as --db")
