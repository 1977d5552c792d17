"""Spikes, drift and plans on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from triage_cli.cli import local_time
from triage_cli.cli.display.cells import text
from triage_cli.cli.display.eval_tables import percent
from triage_cli.cli.display.table_layout import AutoWidthTable, borderless
from triage_cli.cli.terminal import AMBER
from triage_cli.domain.ids import short
from triage_cli.domain.insight.plans import Move, Plan

Record = Mapping[str, Any]
MOVES = 20  # that are shown


def spikes(records: Sequence[Record]) -> RenderableType:
    """Return spikes, each with its examples."""
    parts: list[RenderableType] = []
    for record in records:
        since = local_time.local_times(record["since"])
        head = f"{record['tickets']:,} tickets of {record['customers']:,} customers since {since}"
        share = f"{record['share']:.1%} of the customers, {record['share_before']:.1%} in the same hours before"
        of = f"{record['kind']} {record['category'] or ''}".strip()
        parts += [text(f"{record['name']} ({of})", "bold red"), text(f"  {head}; {share}")]
        parts += [text(f"  {short(e['ticket_id'])}  {e['text']}", "dim") for e in record["examples"]]
    return Group(*parts, text(f"({local_time.time_zone()})", "dim")) if records else Group()


def drift(records: Sequence[Record]) -> RenderableType:
    """Return the compared shares, those that moved first."""
    columns = ("what", "name", "before", "now", "of", "p", "")
    table = AutoWidthTable(columns, spare=("of", "p"))
    for record in records:
        style = f"bold {AMBER}" if record["moved"] else ""
        table.add_row(
            text(record["measure"]), text(record["name"], style),
            text(percent(record["share_before"])), text(percent(record["share"])),
            text(f"{record['n_before']:,} / {record['n']:,}"),
            text(f"{record['p_value']:.2g}"), text("moved" if record["moved"] else "", style),
        )  # fmt: skip
    return table


def plan(_records: Sequence[object], compared: Plan) -> RenderableType:
    """Return the tables of a plan, with its first moves."""
    paging = any(v.pages for v in compared.destinations)
    volumes = _table("destination", "before", "after", "change", *(["pages"] if paging else []))
    for v in compared.destinations:
        style = "bold red" if v.pages and v.after > v.before else ""
        change = f"{v.after - v.before:+,}" if v.after != v.before else ""
        pages = ["yes" if v.pages else ""] if paging else []
        volumes.add_row(text(v.destination), f"{v.before:,}", f"{v.after:,}", text(change, style), *pages)
    matrix = _table("category", "would be", "tickets")
    for old, new, n in compared.matrix:
        matrix.add_row(text(_category(old)), text(_category(new)), f"{n:,}")
    accuracy = _table("on verdicts", "right", "of")
    accuracy.add_row("before", f"{compared.accuracy.right_before:,}", f"{compared.accuracy.labelled:,}")
    accuracy.add_row("after", f"{compared.accuracy.right_after:,}", f"{compared.accuracy.labelled:,}")
    shown = [volumes, *([matrix] if compared.matrix else []), *([accuracy] if compared.accuracy.labelled else [])]
    more = len(compared.moves) - MOVES
    rest = [text(f"… and {more:,} more: -o csv lists all", "dim")] if more > 0 else []
    return Group(*shown, *([_moves(compared.moves)] if compared.moves else []), *rest)


def _moves(moves: Sequence[Move]) -> RenderableType:
    table = AutoWidthTable(("id", "external id", "category", "would be", "from", "to"), spare=("external id", "from"))
    for move in moves[:MOVES]:
        table.add_row(
            text(short(move.ticket_id), "dim"), text(move.external_id), text(_category(move.old)),
            text(_category(move.new)), text(", ".join(move.old_to)),
            text(", ".join(move.new_to), "bold red" if move.pages else ""),
        )  # fmt: skip
    return table


def _category(name: str | None) -> str:
    return "(unsure)" if name is None else name


def _table(*columns: str) -> Table:
    table = borderless()
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 or column == "would be" else "right")
    return table
