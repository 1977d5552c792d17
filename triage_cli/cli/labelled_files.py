"""Reads labelled files: the column of the label, and rows as texts with a category."""

from io import BytesIO
from typing import Annotated

import typer

from triage_cli.cli import input_tables, messages
from triage_cli.cli.context import CommandContext
from triage_cli.domain.errors import UsageError
from triage_cli.domain.learning import Labelled
from triage_cli.domain.tickets import Rejected
from triage_cli.readers import MailFolder, ReadOptions, Table, UnknownColumnError, open_table
from triage_cli.service.learning.training_data import Material

COLUMNS = ("label", "category")
File = Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="Labelled tickets; verdicts count too.")]
Label = Annotated[
    str | None, typer.Option("--label", metavar="COLUMN", help="The column of the label; label or category without it.")
]


def check(file: str | None, label: str | None) -> None:
    """Raise `UsageError` for an empty name of a file or column, and for a column of no file: they would be ignored."""
    if file == "":
        raise UsageError('"" is no file', hint="name a labelled file, or - for stdin")
    if label is not None and not label.strip():
        raise UsageError("--label names no column", hint="write --label COLUMN, or leave it out")
    if file is None and label is not None:
        raise UsageError("--label is for a labelled file, and none is named", hint="name it, or - for stdin")


def read(session: CommandContext, name: str, label: str | None, *, needed: bool = False) -> list[Labelled]:
    """Return the rows with a label; note how many have none. Raises `UsageError` if rows are needed and it has none."""
    with input_tables.streams([name]) as [(label_name, stream)]:
        if isinstance(stream, MailFolder):
            raise UsageError(f"{label_name} is a folder of mails, which have no label", hint="name a table with labels")
        table_bytes = stream.read()
    table = _opened(table_bytes, label_name, label)
    session.say(table.taken.replace("verdict ←", "label ←"))
    rejected = unlabelled = 0
    labelled_rows = []
    for row in table.rows:
        if isinstance(row, Rejected):
            rejected += 1
            messages.say(f"left out: {row.error.sentence()}")
        elif row.verdict is None:
            unlabelled += 1
        else:
            labelled_rows.append(Labelled(row.text, row.verdict))
    for remark in messages.remarks([table]):
        session.say(remark)
    if not (labelled_rows or rejected or unlabelled):
        if needed:
            raise UsageError(f"{label_name} has a header and no rows", hint="name a file of labelled tickets")
        session.say(f"note: {label_name} has a header and no rows")
    if unlabelled:
        ignored = messages.plural(unlabelled, "rows have no label and are left out", "row has no label and is left out")
        session.say(f"note: {ignored}")
    return labelled_rows


def note_skipped(session: CommandContext, material: Material) -> None:
    """Note how many labels are no category, and the most frequent of them."""
    if material.skipped:
        names = ", ".join(f"{name} ({n})" for name, n in material.skipped.most_common(5))
        left = messages.plural(
            material.skipped.total(), "labels are no category and are left out", "label is no category and is left out"
        )
        session.say(f"note: {left}: {names}")


def _opened(data: bytes, name: str, label: str | None) -> Table:
    tried = COLUMNS if label is None else (label,)
    for column in tried:
        try:
            return open_table(BytesIO(data), name, ReadOptions({"verdict": column}))
        except UnknownColumnError as error:
            problem = error
    hint = f"name it with --label COLUMN; {problem.hint}" if problem.hint else "name it with --label COLUMN"
    raise UsageError(f"{name} has no column {' or '.join(tried)} for the label", hint=hint) from problem
