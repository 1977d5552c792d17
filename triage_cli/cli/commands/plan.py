"""`triage plan`: what a new configuration would change for stored tickets."""

from pathlib import Path
from typing import Annotated, Literal

from triage_cli import domain as dm
from triage_cli.cli import messages, options
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag, option
from triage_cli.cli.output import Columns, Format, Printer, drawn_by
from triage_cli.cli.progress import elapsed_line
from triage_cli.service import FlipLimit

PLAN_KEYS = ("tickets", "older", "moved", "share", "unasked", "cost_usd", "destinations", "matrix", "accuracy")
FORMAT_HELP = "table, html: the whole; json: the whole with all moves; csv, tsv, jsonl, id: the moves."
PlanFormat = Annotated[
    Literal["table", "csv", "tsv", "json", "jsonl", "id", "html"] | None,
    option("-o", "--output", "FORMAT", FORMAT_HELP),
]


@remote_command
def plan(
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
    plan_table = drawn_by("insight_tables.plan", compared=compared_plan)
    if output == "html":
        from triage_cli.cli.display.html_reports import plan_page

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
