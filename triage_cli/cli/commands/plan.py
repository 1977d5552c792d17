"""`triage plan`: what a new configuration would change for stored tickets."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from triage_cli.cli import messages, options
from triage_cli.cli.column_selection import Columns
from triage_cli.cli.command import command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Format, Printer, drawn_by
from triage_cli.cli.progress import elapsed_line
from triage_cli.config import Config, load_config
from triage_cli.domain import CheckError, ExitCode, Move, Plan, Selection, UsageError
from triage_cli.runtime import StopControl
from triage_cli.service import FlipLimit
from triage_cli.wiring import PlanAsker
from triage_cli.wiring import planned_moves as compare

PLAN_KEYS = ("tickets", "older", "moved", "share", "unasked", "cost_usd", "destinations", "matrix", "accuracy")
FORMAT_HELP = "table, html: the whole; json: the whole with all moves; csv, tsv, jsonl, id: the moves."
PlanFormat = Annotated[
    Literal["table", "csv", "tsv", "json", "jsonl", "id", "html"] | None,
    typer.Option("-o", "--output", metavar="FORMAT", help=FORMAT_HELP),
]


@command
def plan(
    context: CommandContext,
    new: Annotated[
        str | None, typer.Argument(metavar="[NEW.yaml]", help="The new configuration; with --routes, else the present.")
    ] = None,
    routes: Annotated[
        str | None, typer.Option(metavar="FILE", help="The new routing map, instead of the new configuration's.")
    ] = None,
    since: Annotated[str, typer.Option(metavar="TIME", help="Tickets written since: a date, or an age.")] = "30d",
    max_moved: Annotated[
        str | None, typer.Option(metavar="N|N%", help="Exit with code 8 if more tickets would move.")
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask for answers that are not stored, at a cost; store them.")
    ] = False,
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
    printer.check_columns(PLAN_KEYS if printer.format in ("table", "json") else Move._fields)
    new_config = _load_new_config(context, new, routes)
    asking_caller = _asking_caller(context, new_config, max_cost, ask=ask)
    stop_control = StopControl()
    context.stopper.watch(stop_control.stop)
    context.require_database()
    selection = Selection(written_since=options.typed_moment(since))
    with elapsed_line("comparing", shown=context.guides):
        compared_plan = compare(context.config, new_config, selection, stop_control, context.say, asking_caller)
    if stop_control.stopping:
        return ExitCode.INTERRUPTED
    plan_table = drawn_by("insight_tables.plan", compared=compared_plan)
    if output == "html":
        from triage_cli.cli.display.html_reports import plan_page

        printer.write(plan_page(compared_plan, Path(new or routes or "").name, since))
    elif printer.format in ("table", "json"):
        plan_record: dict[str, Any] = compared_plan._asdict() | {
            "share": round(compared_plan.share, 4),
            "accuracy": compared_plan.accuracy._asdict(),
            "destinations": [volume._asdict() for volume in compared_plan.destinations],
            "escalations": dict(compared_plan.escalations),
            "moves": [move._asdict() for move in compared_plan.moves],
        }
        plan_keys = (*PLAN_KEYS, "moves") if printer.format == "json" and not printer.chosen else PLAN_KEYS
        if compared_plan.escalations:
            plan_keys = (*plan_keys, "escalations")
        printer.one({key: plan_record[key] for key in plan_keys}, plan_table, PLAN_KEYS)
    else:
        printer.many(compared_plan.moves, Move._asdict, Move._fields, plan_table)
    context.say(_plan_summary(compared_plan, since))
    if most_moves is not None and not most_moves.allows(compared_plan.moved, compared_plan.tickets):
        moves = f"{compared_plan.moved:,} of {compared_plan.tickets:,} tickets would move"
        too_many_moves = f"{moves}, more than --max-moved {most_moves}"
        hint = "triage plan NEW.yaml -o csv lists them; nothing was changed"
        return context.report(CheckError(too_many_moves, hint=hint))
    return ExitCode.OK


def _load_new_config(context: CommandContext, new: str | None, routes: str | None) -> Config:
    """Load the new configuration of a plan, for the present database and network. Raises `UsageError`."""
    present_config = context.config
    if new is None and routes is None:
        raise UsageError("no new configuration is given", hint="triage plan NEW.yaml, or triage plan --routes FILE")
    offline = present_config.offline or None
    new_config = load_config(
        config=new or context.global_options.config,
        db=present_config.database,
        offline=offline,
        routes=routes,
        env=os.environ,
        cwd=Path.cwd(),
    )
    return new_config._replace(remote=None)


def _asking_caller(
    context: CommandContext, new_config: Config, max_cost: float | None, *, ask: bool
) -> PlanAsker | None:
    if not ask and max_cost is not None:
        raise UsageError("--max-cost is for --ask, without which nothing is paid", hint="add --ask")
    if not ask:
        return None
    if max_cost is None and new_config.per_day is None:
        raise UsageError("--ask pays for answers and no limit is given", hint="add --max-cost USD, or budget.per_day")
    return PlanAsker(*context.signature, max_cost, context.runs.append)


def _plan_summary(compared_plan: Plan, since: str) -> str:
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
