"""`triage drift`: compares decisions with those of the time before."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from triage_cli import wiring
from triage_cli.cli import messages, options
from triage_cli.cli.command import command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.domain import Drift, ExitCode, compare, timestamp


@command
def drift(
    context: CommandContext,
    window: Annotated[
        str, typer.Option(metavar="DURATION", help="The period, compared with the same time before it.")
    ] = "7d",
    check: Annotated[
        bool, typer.Option("--check", help="Exit with code 8 if a share changed by more than chance.")
    ] = False,
    *,
    printing: PrintOptions,
) -> int:
    """Compare decisions with those of the time before.

    It compares the shares of categories, of sure answers, and of answers that verdicts and second opinions confirm.

    \b
    triage drift
    triage drift --window 30d -o csv
    triage drift --check -q
    """
    printer = printing.printer()
    printer.check_columns(Drift._fields)
    window_length = options.period("--window", window, "a second", "ten years", "7d")
    drift_until = datetime.now(UTC)
    window_end, window_start, previous_start = (timestamp(drift_until - window_length * n) for n in (0, 1, 2))
    context.require_database()
    inflow = wiring.stores.open_inflow(context.config, context.store)
    compared_shares = compare(inflow.counts(window_start, window_end), inflow.counts(previous_start, window_start))
    drift_records = [share._asdict() for share in compared_shares]
    printer.all_of(drift_records, Drift._fields, drawn_by("insight_tables.drift"), "name")
    moved_shares = sum(share.moved for share in compared_shares)
    shares = messages.plural(len(compared_shares), "shares")
    context.say(f"{moved_shares:,} of {shares} moved beyond chance in the last {window}")
    return ExitCode.CHECK_FAILED if check and moved_shares else ExitCode.OK
