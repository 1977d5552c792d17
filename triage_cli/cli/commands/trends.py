"""What changed lately: `triage drift`, `triage spikes`, and `triage report`, a page about a period."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from triage_cli import domain as dm
from triage_cli.cli import input_tables, messages, options
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import Printer, PrintOptions, drawn_by
from triage_cli.cli.progress import elapsed_line

SPIKE_KEYS = tuple(field for field in dm.Spike._fields if field != "members")


@remote_command
def drift(
    context: CommandContext,
    window: Annotated[str, option("DURATION", "The period, compared with the same time before it.")] = "7d",
    check: Annotated[bool, flag("--check", "Exit with code 8 if a share changed by more than chance.")] = False,
    question: options.QuestionName = dm.CATEGORY,
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
    printer = printing.printer(dm.Drift._fields)
    window_length = options.period("--window", window, "a second", "ten years", "7d")
    context.require_database()
    compared_shares = context.analysis.drift(window_length, question)
    drift_records = [share._asdict() for share in compared_shares]
    printer.all_of(drift_records, dm.Drift._fields, drawn_by("insight_tables.drift"), "name")
    moved_shares = sum(share.moved for share in compared_shares)
    context.say(_moved_line(compared_shares, moved_shares, window))
    return dm.ExitCode.CHECK_FAILED if check and moved_shares else dm.ExitCode.OK


def _moved_line(compared_shares: Sequence[dm.Drift], moved_shares: int, window: str) -> str:
    """Return how many shares moved, or which period has no ticket to compare."""
    periods = {
        f"the last {window}": any(share.n for share in compared_shares),
        f"the {window} before": any(share.n_before for share in compared_shares),
    }
    if empty := [period for period, has_tickets in periods.items() if not has_tickets]:
        return f"nothing to compare: no ticket was written in {' or in '.join(empty)}"
    shares = messages.plural(len(compared_shares), "shares")
    return f"{moved_shares:,} of {shares} moved beyond chance in the last {window}"


@remote_command
def spikes(
    context: CommandContext,
    window: Annotated[str, option("DURATION", "The period of the latest tickets.")] = "2h",
    baseline: Annotated[str, option("DURATION", "The earlier weeks to compare with.")] = "28d",
    check: Annotated[bool, flag("--check", "Exit with code 8 if there is a spike.")] = False,
    *,
    printing: PrintOptions,
) -> int:
    """Find categories and groups of similar tickets about which far more customers write than in earlier weeks.

    With `spikes: {to: DESTINATION}` in the configuration, each spike is sent there once.

    \b
    triage spikes
    triage spikes --window 6h -o json
    triage spikes --check -q
    """
    printer = printing.printer(SPIKE_KEYS)
    latest_window = options.period("--window", window, "a second", "a week", "2h")
    baseline_period = options.period("--baseline", baseline, "a week", "ten years", "28d")
    context.require_database()
    context.look()  # from here on a signal waits until what was sent is stored
    with elapsed_line("comparing", shown=context.guides):
        spike_search = context.analysis.find_spikes(latest_window, baseline_period)
    new_spikes = spike_search.spikes
    printer.all_of(
        [{key: spike[key] for key in SPIKE_KEYS} for spike in map(dm.as_record, new_spikes)],
        SPIKE_KEYS,
        drawn_by("insight_tables.spikes"),
        "spike_id",
    )
    context.say(
        f"{messages.plural(len(new_spikes), 'spikes')} in the last {window}, {_compared_with(spike_search, baseline)}"
    )
    if new_spikes:
        context.say(_sending_line(context.analysis.send_spikes(latest_window, baseline_period)))
    return dm.ExitCode.CHECK_FAILED if check and new_spikes else dm.ExitCode.OK


def _sending_line(sending: dm.SpikeSending | None) -> str:
    if sending is not None and sending.sent is None:
        unsent = "what was found is sent by the next triage spikes"
        return f"note: {sending.destination} needs the network, which is off; {unsent}"
    return (
        f"{messages.plural(sending.sent, 'spikes')} sent to {sending.destination}" if sending and sending.sent else ""
    )


def _compared_with(spike_search: dm.SpikeSearch, baseline: str) -> str:
    """Say how much a search had to compare with: with few tickets only many customers are a spike."""
    if not spike_search.weeks:
        return f"and nothing to compare with: no ticket was written in an earlier week of the last {baseline}"
    tickets = messages.plural(spike_search.tickets, "tickets")
    weeks = messages.plural(spike_search.weeks, "earlier weeks", "earlier week")
    return f"compared with {tickets} in the same hours of {weeks}"


@remote_command
def report(
    context: CommandContext,
    since: Annotated[str, option("TIME", "From then until now: an age, a date or time (UTC), or yesterday.")] = "7d",
    written_as: Annotated[
        Literal["html", "json"],
        option("-o", "--output", "FORMAT", "html: one page without scripts; json: its numbers."),
    ] = "html",
    to: Annotated[Path | None, option("FILE", "Write it to this file; else to stdout.")] = None,
) -> None:
    """Write a page about the last week: volume, who decided what, how right the machine was, what waits.

    It has no ticket's text, but for the three words that tell a spike.

    \b
    triage report --to week.html
    triage report --since 30d -o json
    """
    input_tables.check_written(context, to, "--to")
    began = datetime.fromisoformat(options.typed_moment(since) or "").astimezone(UTC)
    context.require_database()
    with elapsed_line("counting", shown=context.guides):
        found = context.analysis.report(began)
    if written_as == "json":
        text = dm.to_json(dm.report_record(found)) + "\n"
    else:
        from triage_cli.cli.display.period_page import report_page

        text = report_page(found)
    if to is None:
        printer = Printer("json" if written_as == "json" else "table")
        printer.write(text)
        printer.flush()
        return
    with input_tables.written_file(to, "--to") as file:
        file.write(text)
    context.say(f"wrote {to}")
