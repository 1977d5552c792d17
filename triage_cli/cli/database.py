"""`triage db`: where the database is, and a copy of it while it is in use."""

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
    group.callback(invoke_without_command=True)(printing.help_if_bare)
    app.add_typer(group, name="db")


@about_here
def path(session: Session) -> None:
    """Print where the database is."""
    Printer("table").write(without_password(session.config.database) + "\n")


@about_here
def backup(session: Session, file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")]) -> None:
    """Copy the database while it is in use; the copy is whole and can be opened with --db."""
    wiring.open_store(session.config).backup(file)
    session.say(f"wrote {file}")
