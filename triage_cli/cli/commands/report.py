"""`triage report`: a page about a period, to mail or to put on a share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from triage_cli.cli import input_tables, options
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Printer
from triage_cli.cli.progress import elapsed_line
from triage_cli.domain import UsageError, report_record, to_json
from triage_cli.runtime import open_text


@remote_command
def report(
    context: CommandContext,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="From then until now: an age, a date or time (UTC), or yesterday.")
    ] = "7d",
    written_as: Annotated[
        Literal["html", "json"],
        typer.Option("-o", "--output", metavar="FORMAT", help="html: one page without scripts; json: its numbers."),
    ] = "html",
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to this file; else to stdout.")] = None,
) -> None:
    """Write a page about the last week: volume, who decided what, how right the machine was, what waits.

    It has no ticket's text, but for the three words that tell a spike.

    \b
    triage report --to week.html
    triage report --since 30d -o json
    """
    if to is not None and not to.parent.is_dir():
        raise UsageError(f"no folder {to.parent} for the report", hint="name another file with --to")
    input_tables.check_written(context, to, "--to")
    began = datetime.fromisoformat(options.typed_moment(since) or "").astimezone(UTC)
    context.require_database()
    with elapsed_line("counting", shown=context.guides):
        found = context.analysis.report(began)
    if written_as == "json":
        text = to_json(report_record(found)) + "\n"
    else:
        from triage_cli.cli.display.period_page import report_page

        text = report_page(found)
    if to is None:
        printer = Printer("json" if written_as == "json" else "table")
        printer.write(text)
        printer.flush()
        return
    try:
        with open_text(to, "w") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {to}: {error.strerror}", hint="name another with --to") from error
    context.say(f"wrote {to}")
