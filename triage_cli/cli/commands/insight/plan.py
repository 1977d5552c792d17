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
from triage_cli.domain.errors import CheckError, UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.insight.plans import Move, Plan
from triage_cli.domain.tickets import Selection
from triage_cli.runtime.stop import StopControl
from triage_cli.service.classification.flip_rules import Bound
from triage_cli.wiring.plan import AskingCaller
from triage_cli.wiring.plan import plan as compare

KEYS = ("tickets", "older", "moved", "share", "unasked", "cost_usd", "destinations", "matrix", "accuracy")
PlanFormat = Annotated[
    Literal["table", "csv", "tsv", "json", "jsonl", "id", "html"] | None,
    typer.Option(
        "-o", "--output", metavar="FORMAT",
        help="table, html: the whole; json: the whole with all moves; csv, tsv, jsonl, id: the moves.",
    ),
]  # fmt: skip


@command
def plan(
    session: CommandContext,
    new: Annotated[Path, typer.Argument(metavar="NEW.yaml", help="The new configuration.")],
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
    triage plan new.yaml -o html > plan.html
    """
    chosen: Format | None = "table" if output == "html" else output
    printer, most = Printer(chosen, columns), Bound.read(max_moved, "--max-moved")
    printer.check_columns(KEYS if printer.format in ("table", "json") else Move._fields)
    config = _read(session, new)
    asking_caller = _asking_caller(session, config, max_cost, ask=ask)
    stop = StopControl()
    session.stopper.watch(stop.stop)
    session.require_database()
    selection = Selection(written_since=options.moment(since))
    with elapsed_line("comparing", shown=session.guides):
        compared = compare(session.config, config, selection, stop, session.say, asking_caller)
    if stop.stopping:
        return ExitCode.INTERRUPTED
    table = drawn_by("insight_tables.plan", compared=compared)
    if output == "html":
        from triage_cli.cli.display.html_reports import plan_page

        printer.write(plan_page(compared, new.name, since))
    elif printer.format in ("table", "json"):
        record: dict[str, Any] = compared._asdict() | {
            "share": round(compared.share, 4),
            "accuracy": compared.accuracy._asdict(),
            "destinations": [volume._asdict() for volume in compared.destinations],
            "moves": [move._asdict() for move in compared.moves],
        }
        keys = (*KEYS, "moves") if printer.format == "json" and not printer.chosen else KEYS
        printer.one({key: record[key] for key in keys}, table, KEYS)
    else:
        printer.many(compared.moves, Move._asdict, Move._fields, table)
    session.say(_summary(compared, since))
    if most is not None and not most.allows(compared.moved, compared.tickets):
        problem = f"{compared.moved:,} of {compared.tickets:,} tickets would move, more than --max-moved {most}"
        hint = "triage plan NEW.yaml -o csv lists them; nothing was changed"
        return session.report(CheckError(problem, hint=hint))
    return ExitCode.OK


def _read(session: CommandContext, new: Path) -> Config:
    """Return the new configuration, for the present database and network."""
    present = session.config
    offline = present.offline or None
    config = load_config(config=str(new), db=present.database, offline=offline, env=os.environ, cwd=Path.cwd())
    return config._replace(remote=None)


def _asking_caller(
    session: CommandContext, config: Config, max_cost: float | None, *, ask: bool
) -> AskingCaller | None:
    if not ask and max_cost is not None:
        raise UsageError("--max-cost is for --ask, without which nothing is paid", hint="add --ask")
    if not ask:
        return None
    if max_cost is None and config.per_day is None:
        raise UsageError("--ask pays for answers and no limit is given", hint="add --max-cost USD, or budget.per_day")
    return AskingCaller(*session.signature, max_cost, session.runs.append)


def _summary(compared: Plan, since: str) -> str:
    window = f"of the last {since}" if options.AGE.fullmatch(since.strip()) else f"since {since}"
    tickets = messages.plural(compared.tickets, "tickets")
    summary = f"{compared.moved:,} of {tickets} {window} would move ({compared.share:.1%})"
    pages = sum(move.pages for move in compared.moves)
    summary += f", {pages:,} of them to a destination that pages somebody" if pages else ""
    if compared.unasked:
        cost = "an unknown sum" if compared.cost_usd is None else f"about {compared.cost_usd:,.2f} USD"
        summary += f"; {compared.unasked:,} have no stored answer and are counted as they are: --ask costs {cost}"
    if compared.older:
        older = messages.plural(compared.older, "older ones were", "older one was")
        summary += f"; {older} passed over (--since)"
    return summary
