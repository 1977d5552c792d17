"""`triage discover`: finds topics in tickets, and proposes them as categories."""

import csv
import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from triage_cli import domain as dm
from triage_cli.cli import input_tables, messages, options, terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import Printer, drawn_by
from triage_cli.cli.progress import elapsed_line
from triage_cli.cli.topic_editor.editing import LineEditor, TopicEditor
from triage_cli.config import load_config, proposed_configuration
from triage_cli.readers import ReadOptions

LEAST_CATEGORIES = 2  # of a configuration
NEW_DATABASE = "triage.db"  # beside the configuration, as `init` has it
TOPIC_COLUMNS = ("category", "tickets", "customers", "words", "nearest", "examples")
TOPICS_TABLE = drawn_by("tables.topics")


@remote_command
def discover(
    context: CommandContext,
    files: options.Files = None,
    most: Annotated[
        int,
        option(
            "N",
            "At most so many topics: two to three times as many as you want categories.",
            min=dm.FEWEST_TOPICS,
            max=dm.MOST_TOPICS,
        ),
    ] = dm.USUAL_TOPICS,
    since: Annotated[str | None, option("TIME", "Stored tickets written since: a date, or an age.")] = None,
    source: Annotated[list[str] | None, option("NAME", "Stored tickets of this source; may be repeated.")] = None,
    name_with: Annotated[
        str | None, option("CLASSIFIER", "Let the language model of this classifier name the topics.")
    ] = None,
    max_cost: options.MaxCost = None,
    edit: Annotated[
        bool,
        flag("--edit", "Name, merge, drop and nest the topics before they are written; FILE may be a proposal.yaml."),
    ] = False,
    labels: Annotated[
        Path | None, option("FILE.csv", "Write the most typical tickets of each topic, to learn from.")
    ] = None,
    output: Annotated[
        Literal["yaml", "table", "json", "html"],
        option(
            "-o",
            "--output",
            "FORMAT",
            "yaml: a configuration, beside a table on stderr; html: a page without scripts; table; json.",
        ),
    ] = "yaml",
    *,
    reading: options.FileOptions,
) -> int:
    """Find topics in the tickets of files, or in the stored ones, and propose a category for each.

    Nothing is stored, and nobody is asked unless --name-with names a language model. What patterns recognise as
    personal data is masked. Topics that are alike stand below one parent.

    \b
    triage discover export.csv > proposal.yaml
    triage discover export.csv --map description="What happened" > proposal.yaml
    triage discover --since 90d --most 30 -o table
    triage discover export.csv -o html > topics.html
    triage discover export.csv --edit --labels labels.csv > config.yaml
    triage learn labels.csv --label label
    triage discover export.csv --name-with gpt --max-cost 0.05 > proposal.yaml
    """
    if files and (since is not None or source):
        raise dm.UsageError("--since and --source are for stored tickets, and files are named", hint="leave them out")
    if name_with is None and max_cost is not None:
        raise dm.UsageError("--max-cost is for --name-with, without which nothing is paid", hint="add --name-with")
    proposed_file = _proposed_file(files) if edit else None
    if proposed_file is not None and name_with is not None:
        raise dm.UsageError("--name-with names topics of tickets", hint="leave it out, or name a file of tickets")
    _check_files(context, files, reading, labels, edit=edit, output=output)
    printer = Printer("json" if output == "json" else "table")
    if proposed_file is not None:
        proposed = load_config(config=str(proposed_file), env=os.environ, cwd=Path.cwd())
        is_elsewhere = proposed.path is None or Path(proposed.database).parent != proposed.path.parent
        database = proposed.database if "database" in proposed.origins and is_elsewhere else NEW_DATABASE
        return _edited(context, printer, TopicEditor.of_categories(proposed.categories), labels, database)
    database = NEW_DATABASE if files else context.config.database
    asked = dm.Discovery(most, options.typed_moment(since), tuple(source or ()), name_with, max_cost)
    proposal = _proposal(context, files, reading.read_options(), asked)
    if edit:
        context.say(coverage(proposal))
        return _edited(context, printer, TopicEditor.of_proposal(proposal), labels, database)
    if output == "json":
        printer.one(dm.as_record(proposal), TOPICS_TABLE, ())
    elif output == "table":
        printer.all_of(dm.as_record(proposal.topics), TOPIC_COLUMNS, TOPICS_TABLE)
    elif output == "html":
        from triage_cli.cli.display.html_reports import topics_page

        printer.write(topics_page(proposal))
    else:
        _show_table(context, proposal)
        if proposal.topics:
            printer.write(_configuration(context, TopicEditor.of_proposal(proposal), database))
    printer.flush()
    context.say(coverage(proposal))
    _write_labels(context, labels, TopicEditor.of_proposal(proposal))
    return dm.ExitCode.OK


def _proposed_file(files: list[str] | None) -> Path | None:
    """Return the configuration to edit, if one is named in place of tickets."""
    return Path(files[0]) if files and len(files) == 1 and Path(files[0]).suffix in (".yaml", ".yml") else None


def _check_files(
    context: CommandContext,
    files: list[str] | None,
    reading: options.FileOptions,
    labels: Path | None,
    *,
    edit: bool,
    output: str,
) -> None:
    """Raise `UsageError` for options that do not go together, before anything is read."""
    if reading != options.FileOptions() and (not files or (edit and _proposed_file(files))):
        raise dm.UsageError(
            "options for reading files are given, and no tickets' file is", hint="name one, or - for stdin"
        )
    if edit and output != "yaml":
        raise dm.UsageError("--edit ends with a configuration", hint=f"leave out -o {output}")
    if edit and files and "-" in files:
        raise dm.UsageError("--edit reads edits from stdin, and tickets come from there", hint="name a file")
    input_tables.check_written(context, labels, "--labels", [file for file in files or () if file != "-"])


def edit_topics(context: CommandContext, editor: TopicEditor, *, edit: bool = True) -> int:
    """Let a person, or a script's lines, edit topics; return the exit code of who left. Raises `UsageError`."""
    if edit and terminal.has_screen():
        from triage_cli.cli.topic_editor.screen import TopicScreen

        if code := TopicScreen(editor).run_until_stopped(context):
            return context.stopper.code or code
    elif edit:
        told = terminal.is_terminal(sys.stdin)
        LineEditor(editor, context.say, told=told).work(context.stopper.interruptible(sys.stdin))
        if context.stopper.code:
            raise KeyboardInterrupt
    if len(editor.categories()) < LEAST_CATEGORIES:
        raise dm.UsageError(
            "fewer than two categories are left, and nothing is written", hint="discover with more topics"
        )
    return dm.ExitCode.OK


def _edited(context: CommandContext, printer: Printer, editor: TopicEditor, labels: Path | None, database: str) -> int:
    """Have topics edited; then write the configuration, and the labels."""
    if code := edit_topics(context, editor):
        return code
    printer.write(_configuration(context, editor, database))
    printer.flush()
    _write_labels(context, labels, editor)
    return dm.ExitCode.OK


def _configuration(context: CommandContext, editor: TopicEditor, database: str) -> str:
    """Return the configuration of the topics; where none is in use, it names the database of the next command.

    That is the one of whose tickets the topics are, and a new one beside the file for the topics of an input.
    """
    config = context.config
    is_first = config.path is None and config.remote is None and "database" not in config.origins
    has_tickets = is_first and context.has_database and any(context.store.find(dm.Selection(limit=1)))
    if database == NEW_DATABASE and has_tickets:
        context.say(f"note: its database is a new one, {NEW_DATABASE} beside it; {config.database} stays as it is")
    return proposed_configuration(editor.categories(), database=database if is_first else None)


def _write_labels(context: CommandContext, labels: Path | None, editor: TopicEditor) -> None:
    """Write the core of each topic as labelled tickets."""
    if labels is None:
        return
    with input_tables.written_file(labels, "--labels") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("description", "label", dm.LABEL_SOURCE))
        writer.writerows((*label, dm.TOPIC_LABEL) for label in editor.labels())
    context.say(f"wrote {labels}")


def _proposal(
    context: CommandContext, files: list[str] | None, read_options: ReadOptions, asked: dm.Discovery
) -> dm.Proposal:
    """Return the topics of the files, or of the stored tickets."""
    if not files:
        context.require_database()
        with elapsed_line("comparing", shown=context.guides):
            return context.analysis.discover(None, asked)
    context.load_config()  # its mistakes are told before anything is read
    with input_tables.streams(files) as streams:
        tables = input_tables.opened_tables(context, streams, read_options, labels=False)
        with elapsed_line("comparing", shown=context.guides):
            rows = context.stopper.interruptible(chain.from_iterable(table.rows for table in tables))
            texts = list(_texts(rows))
            if context.stopper.code:  # of half a file nobody wants to know
                raise KeyboardInterrupt
            proposal = context.analysis.discover(texts, asked)
        for remark in messages.remarks(tables):
            context.say(remark)
    return proposal


def _texts(rows: Iterator[dm.TicketDraft | dm.Rejected]) -> Iterator[dm.TopicText]:
    for row in rows:
        if isinstance(row, dm.Rejected):
            messages.say(f"left out: {row.error.sentence()}")
        else:
            yield dm.TopicText(row.text[: dm.TOPIC_CHARACTERS], row.customer_id or "")


def _show_table(context: CommandContext, proposal: dm.Proposal) -> None:
    """Write the table of topics to stderr, since the configuration goes to stdout."""
    if proposal.topics and not context.quiet:
        from triage_cli.cli.display import table_layout

        for lines in table_layout.rendered(TOPICS_TABLE(dm.as_record(proposal.topics)), sys.stderr):
            sys.stderr.write(lines)


def coverage(proposal: dm.Proposal) -> str:
    """Say how many tickets are in a topic, and why the others are in none."""
    tickets = messages.plural(proposal.tickets, "tickets")
    if not proposal.topics:
        are, they_say = ("is", "it says") if proposal.tickets == 1 else ("are", "they say")
        return f"{tickets} {are} too few to find topics in, or {they_say} too little"
    share = proposal.near / proposal.tickets
    far = f"{proposal.far:,} {'is' if proposal.far == 1 else 'are'} near none" if proposal.far else ""
    vague = f"{proposal.vague:,} {'says' if proposal.vague == 1 else 'say'} too little" if proposal.vague else ""
    topics = messages.plural(len(proposal.topics), "topics")
    if len(proposal.topics) < LEAST_CATEGORIES:
        topics += f", and a configuration takes {LEAST_CATEGORIES} categories or more"
    return messages.joined(f"{topics}; {share:.0%} of {tickets} are near one", far, vague)
