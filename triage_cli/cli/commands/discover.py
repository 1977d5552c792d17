"""`triage discover`: finds topics in tickets, and proposes them as categories."""

import sys
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Literal

import typer

from triage_cli.cli import input_tables, messages, options
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Printer, drawn_by
from triage_cli.cli.progress import elapsed_line
from triage_cli.config import proposed_configuration
from triage_cli.domain import (
    FEWEST_TOPICS,
    MOST_TOPICS,
    TOPIC_CHARACTERS,
    USUAL_TOPICS,
    Discovery,
    Proposal,
    Rejected,
    TicketDraft,
    TopicText,
    UsageError,
    proposal_record,
    proposed_categories,
)
from triage_cli.readers import ReadOptions, open_table

TOPIC_COLUMNS = ("category", "tickets", "customers", "words", "nearest", "examples")
TOPICS_TABLE = drawn_by("insight_tables.topics")


@remote_command
def discover(
    context: CommandContext,
    files: options.Files = None,
    most: Annotated[
        int,
        typer.Option(
            min=FEWEST_TOPICS,
            max=MOST_TOPICS,
            metavar="N",
            help="At most so many topics: two to three times as many as you want categories.",
        ),
    ] = USUAL_TOPICS,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stored tickets written since: a date, or an age.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Stored tickets of this source; may be repeated.")
    ] = None,
    output: Annotated[
        Literal["yaml", "table", "json", "html"],
        typer.Option(
            "-o",
            "--output",
            metavar="FORMAT",
            help="yaml: a configuration, beside a table on stderr; html: a page without scripts; table; json.",
        ),
    ] = "yaml",
) -> None:
    """Find topics in the tickets of files, or in the stored ones, and propose a category for each.

    Nothing is stored, and nobody is asked. What patterns recognise as personal data is masked. Topics that are alike
    stand below one parent.

    \b
    triage discover export.csv > proposal.yaml
    triage discover --since 90d --most 30 -o table
    triage discover export.csv -o html > topics.html
    """
    if files and (since is not None or source):
        raise UsageError("--since and --source are for stored tickets, and files are named", hint="leave them out")
    printer = Printer("json" if output == "json" else "table")
    asked = Discovery(most, options.typed_moment(since), tuple(source or ()))
    proposal = _proposal(context, files, asked)
    if output == "json":
        printer.one(proposal_record(proposal), TOPICS_TABLE, ())
    elif output == "table":
        printer.all_of(proposal_record(proposal)["topics"], TOPIC_COLUMNS, TOPICS_TABLE)
    elif output == "html":
        from triage_cli.cli.display.html_reports import topics_page

        printer.write(topics_page(proposal))
    else:
        _show_table(context, proposal)
        if proposal.topics:
            printer.write(proposed_configuration(proposed_categories(proposal)))
    printer.flush()
    context.say(_coverage(proposal))


def _proposal(context: CommandContext, files: list[str] | None, asked: Discovery) -> Proposal:
    """Return the topics of the files, or of the stored tickets."""
    if not files:
        context.require_database()
        with elapsed_line("comparing", shown=context.guides):
            return context.analysis.discover(None, asked)
    context.load_config()  # its mistakes are told before anything is read
    with input_tables.streams(files) as streams:
        read_options = input_tables.with_kept_mappings(context, ReadOptions())
        tables = [open_table(stream, name, read_options) for name, stream in streams]
        for table in tables:
            context.say(table.taken)
        with elapsed_line("comparing", shown=context.guides):
            rows = context.stopper.interruptible(chain.from_iterable(table.rows for table in tables))
            texts = list(_texts(rows))
            if context.stopper.code:  # of half a file nobody wants to know
                raise KeyboardInterrupt
            proposal = context.analysis.discover(texts, asked)
        for remark in messages.remarks(tables):
            context.say(remark)
    return proposal


def _texts(rows: Iterator[TicketDraft | Rejected]) -> Iterator[TopicText]:
    for row in rows:
        if isinstance(row, Rejected):
            messages.say(f"left out: {row.error.sentence()}")
        else:
            yield TopicText(row.text[:TOPIC_CHARACTERS], row.customer_id or "")


def _show_table(context: CommandContext, proposal: Proposal) -> None:
    """Write the table of topics to stderr, since the configuration goes to stdout."""
    if proposal.topics and not context.quiet:
        from triage_cli.cli.display import table_layout

        for lines in table_layout.rendered(TOPICS_TABLE(proposal_record(proposal)["topics"]), sys.stderr):
            sys.stderr.write(lines)


def _coverage(proposal: Proposal) -> str:
    """Say how many tickets are in a topic, and why the others are in none."""
    tickets = messages.plural(proposal.tickets, "tickets")
    if not proposal.topics:
        return f"{tickets} are too few to find topics in, or they say too little"
    share = proposal.near / proposal.tickets
    far = f"{proposal.far:,} {'is' if proposal.far == 1 else 'are'} near none" if proposal.far else ""
    vague = f"{proposal.vague:,} {'says' if proposal.vague == 1 else 'say'} too little" if proposal.vague else ""
    topics = messages.plural(len(proposal.topics), "topics")
    return messages.joined(f"{topics}; {share:.0%} of {tickets} are near one", far, vague)
