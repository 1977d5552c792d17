"""Reads labelled files, for `learn`, `eval` and `suspects`: the column of the label, and rows as texts with a label."""

import shlex
from io import BytesIO
from itertools import islice
from typing import Annotated

from triage_cli import domain as dm
from triage_cli.cli import input_tables, messages
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, option
from triage_cli.readers import LABEL_HEADERS, MailFolder, ReadOptions, Table, UnknownColumnError, open_table
from triage_cli.service import CategoryNames

File = Annotated[str | None, argument("[FILE|-]", "Labelled tickets; verdicts count too.")]
Label = Annotated[str | None, option("--label", "COLUMN", "The column of the label; label or category without it.")]


def check(file: str | None, label: str | None) -> None:
    """Raise `UsageError` for an empty name of a labelled file or its label column, and for a column without a file."""
    if file == "":
        raise dm.UsageError('"" is no file', hint="name a labelled file, or - for stdin")
    if label is not None and not label.strip():
        raise dm.UsageError("--label names no column", hint="write --label COLUMN, or leave it out")
    if file is None and label is not None:
        raise dm.UsageError("--label is for a labelled file, and none is named", hint="name it, or - for stdin")


def read(
    context: CommandContext, name: str, label: str | None, question: str, *, needed: bool = False
) -> list[dm.Labelled]:
    """Return the rows of a file that are labelled with answers to a question; note how many have no label.

    Raises `UsageError` if labelled rows are needed and the file has no rows.
    """
    with input_tables.streams([name]) as [(file_name, stream)]:
        if isinstance(stream, MailFolder):
            raise dm.UsageError(
                f"{file_name} is a folder of mails, which have no label", hint="name a table with labels"
            )
        file_bytes = stream.read()
    asked = next((each for each in (context.config.asked[0], *context.questions) if each.name == question), None)
    labelled_table = _labelled_table(context, file_bytes, file_name, label, question, asked)
    label_column = labelled_table.fields.get("verdict", "")
    context.say(labelled_table.taken.replace("verdict ←", "label ←"))
    rejected = unlabelled = 0
    labelled_rows = []
    for row in labelled_table.rows:
        if isinstance(row, dm.Rejected):
            rejected += 1
            messages.say(f"left out: {row.error.sentence()}")
        elif given := row.extra.get(label_column) if dm.is_typical(row.extra) else row.verdict:
            meant = asked.label_of(given) if asked is not None else None
            labelled_rows.append(dm.labelled_draft(dm.identify(row), meant or given, "file"))
        else:
            unlabelled += 1
    for remark in messages.remarks([labelled_table]):
        context.say(remark)
    if not (labelled_rows or rejected or unlabelled):
        if needed:
            raise dm.UsageError(f"{file_name} has a header and no rows", hint="name a file of labelled tickets")
        context.say(f"note: {file_name} has a header and no rows")
    if typical := sum(row.is_typical for row in labelled_rows):
        context.say(
            f"note: {messages.plural(typical, 'labels are', 'label is')} of topics: they teach, and prove nothing"
        )
    if unlabelled:
        unlabelled_rows = messages.plural(
            unlabelled, "rows have no label and are left out", "row has no label and is left out"
        )
        context.say(f"note: {unlabelled_rows}")
    return labelled_rows


def note_skipped(context: CommandContext, counts: dm.LabelCounts, question: str) -> None:
    """Note how many labels of the file are no value of the question, and the most frequent of them."""
    if counts.skipped:
        labels = ", ".join(f"{label} ({n})" for label, n in islice(counts.skipped.items(), 5))
        skipped_labels = messages.plural(
            sum(counts.skipped.values()),
            f"labels are no {dm.one_of(question)} and are left out",
            f"label is no {dm.one_of(question)} and is left out",
        )
        context.say(f"note: {skipped_labels}: {labels}")


def _labelled_table(
    context: CommandContext,
    file_bytes: bytes,
    file_name: str,
    label: str | None,
    question: str,
    asked: dm.Question | None,
) -> Table:
    """Return the table of a labelled file, whose label column is read as verdicts."""
    read_options = input_tables.with_kept_mappings(context, ReadOptions())
    own_column = (asked.column,) if asked is not None and asked.column else ()
    headers = (
        LABEL_HEADERS
        if question == dm.CATEGORY
        else tuple(dict.fromkeys((question, *dm.whole_names([question]), *own_column, *LABEL_HEADERS)))
    )
    if label is None and read_options.kept and question == dm.CATEGORY:
        kept_table = open_table(BytesIO(file_bytes), file_name, read_options)
        if "verdict" in kept_table.fields:
            return kept_table
    for label_column in headers if label is None else (label,):
        try:
            return open_table(
                BytesIO(file_bytes),
                file_name,
                read_options._replace(mapping={"verdict": label_column}, labels=(label_column,)),
            )
        except UnknownColumnError as error:
            problem = error
    category_of = CategoryNames(asked.values if asked else ()).match
    found = open_table(BytesIO(file_bytes), file_name, read_options).label_column(category_of)
    hint = f"name it with --label COLUMN; {problem.hint}" if problem.hint else "name it with --label COLUMN"
    if found:
        names = "names of categories" if question == dm.CATEGORY else f"values of {question}"
        hint = f"most of {found} are {names}: --label {shlex.quote(found)}"
    raise dm.UsageError(
        f"{file_name} has no column {' or '.join(headers if label is None else (label,))} for the label", hint=hint
    ) from problem
