"""What many tickets show, and what a change would do: `triage plan`, `drift`, `spikes`, and `report`, a page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from triage_cli import domain as dm
from triage_cli.cli import (
    Columns,
    CommandContext,
    Format,
    Printer,
    PrintOptions,
    argument,
    drawn_by,
    elapsed_line,
    flag,
    input_tables,
    messages,
    option,
    options,
    remote_command,
)
from triage_cli.service import FlipLimit

SPIKE_KEYS = tuple(field for field in dm.Spike._fields if field != "members")
PLAN_KEYS = ("tickets", "older", "moved", "share", "unasked", "cost_usd", "destinations", "matrix", "accuracy")
FORMAT_HELP = "table, html: the whole; json: the whole with all moves; csv, tsv, jsonl, id: the moves."
PlanFormat = Annotated[
    Literal["table", "csv", "tsv", "json", "jsonl", "id", "html"] | None,
    option("-o", "--output", "FORMAT", FORMAT_HELP),
]


@remote_command
def plan_command(
    context: CommandContext,
    new: Annotated[
        str | None, argument("[NEW.yaml]", "The new configuration; with --routes, else the present.")
    ] = None,
    routes: Annotated[str | None, option("FILE", "The new routing map, instead of the new configuration's.")] = None,
    since: Annotated[str, option("TIME", "Tickets written since: a date, or an age.")] = "30d",
    max_moved: Annotated[str | None, option("N|N%", "Exit with code 8 if more tickets would move.")] = None,
    ask: Annotated[bool, flag("--ask", "Ask for answers that are not stored, at a cost; store them.")] = False,
    max_cost: options.MaxCost = None,
    output: PlanFormat = None,
    columns: Columns = None,
) -> int:
    """Show what a new configuration would change for stored tickets; nothing is sent or changed.

    It compares categories and destinations, volumes, accuracy on verdicts and cost. Moves to destinations that page
    somebody come first.

    \b
    triage plan new.yaml
    triage plan new.yaml --since 7d --max-moved 5% -q
    triage plan --routes new-routes.yaml
    triage plan new.yaml -o html > plan.html
    """
    plan_format: Format | None = "table" if output == "html" else output
    printer, most_moves = Printer(plan_format, columns), FlipLimit.read(max_moved, "--max-moved")
    printer.check_columns(PLAN_KEYS if printer.format in ("table", "json") else dm.Move._fields)
    if not ask and max_cost is not None:
        raise dm.UsageError("--max-cost is for --ask, without which nothing is paid", hint="add --ask")
    if new is None and routes is None:
        raise dm.UsageError("no new configuration is given", hint="triage plan NEW.yaml, or triage plan --routes FILE")
    if new is not None and not Path(new).expanduser().exists():
        raise dm.UsageError(f"there is no file {new}", hint="name the new configuration: triage plan NEW.yaml")
    new_configuration = dm.NewConfiguration(new, routes)
    written_since = options.typed_moment(since)
    context.require_database()
    with elapsed_line("comparing", shown=context.guides):
        compared_plan = context.analysis.plan(new_configuration, written_since, ask=ask, max_cost=max_cost)
    if context.stopper.code:
        return dm.ExitCode.INTERRUPTED
    plan_table = drawn_by("triage_cli.extensions.insight.tables.plan", compared=compared_plan)
    if output == "html":
        from triage_cli.extensions.insight.pages import plan_page

        printer.write(plan_page(compared_plan, Path(new or routes or "").name, since))
    elif printer.format in ("table", "json"):
        whole_record = dm.plan_record(compared_plan)
        plan_keys = (*PLAN_KEYS, "moves") if printer.format == "json" and not printer.chosen else PLAN_KEYS
        if compared_plan.escalations:
            plan_keys = (*plan_keys, "escalations")
        printer.one({key: whole_record[key] for key in plan_keys}, plan_table, PLAN_KEYS)
    else:
        printer.many(compared_plan.moves, dm.Move._asdict, dm.Move._fields, plan_table)
    context.say(_plan_summary(compared_plan, since))
    if most_moves is not None and not most_moves.allows(compared_plan.moved, compared_plan.tickets):
        moves = f"{compared_plan.moved:,} of {compared_plan.tickets:,} tickets would move"
        too_many_moves = f"{moves}, more than --max-moved {most_moves}"
        hint = "triage plan NEW.yaml -o csv lists them; nothing was changed"
        return context.report(dm.CheckError(too_many_moves, hint=hint))
    return dm.ExitCode.OK


def _plan_summary(compared_plan: dm.Plan, since: str) -> str:
    window = f"of the last {since}" if options.AGE.fullmatch(since.strip()) else f"since {since}"
    tickets = messages.plural(compared_plan.tickets, "tickets")
    plan_summary = f"{compared_plan.moved:,} of {tickets} {window} would move ({compared_plan.share:.1%})"
    paging_moves = sum(move.pages for move in compared_plan.moves)
    plan_summary += f", {paging_moves:,} of them to a destination that pages somebody" if paging_moves else ""
    if compared_plan.unasked:
        cost = "an unknown sum" if compared_plan.cost_usd is None else f"about {compared_plan.cost_usd:,.2f} USD"
        unasked = f"{compared_plan.unasked:,} have no stored answer"
        plan_summary += f"; {unasked} and are counted as they are: --ask costs {cost}"
    for name, number in compared_plan.escalations:
        plan_summary += f"; {name} would be about {messages.plural(number, 'stored tickets')} now, were it not new"
    if compared_plan.older:
        older_tickets = messages.plural(compared_plan.older, "older ones were", "older one was")
        plan_summary += f"; {older_tickets} passed over (--since)"
    return plan_summary


@remote_command
def drift_command(
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
    printer.all_of(drift_records, dm.Drift._fields, drawn_by("triage_cli.extensions.insight.tables.drift"), "name")
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
def spikes_command(
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
        drawn_by("triage_cli.extensions.insight.tables.spikes"),
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
def report_command(
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
        from triage_cli.extensions.insight.pages import report_page

        text = report_page(found)
    if to is None:
        printer = Printer("json" if written_as == "json" else "table")
        printer.write(text)
        printer.flush()
        return
    with input_tables.written_file(to, "--to") as file:
        file.write(text)
    context.say(f"wrote {to}")
