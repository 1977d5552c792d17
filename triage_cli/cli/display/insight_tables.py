"""Spikes and drift on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from triage_cli.cli.display.eval_tables import percent
from triage_cli.cli.display.table_layout import AutoWidthTable
from triage_cli.cli.display.tables import text
from triage_cli.domain.ids import short

Record = Mapping[str, Any]


def spikes(records: Sequence[Record]) -> RenderableType:
    """Return spikes, each with its examples."""
    parts: list[RenderableType] = []
    for record in records:
        head = f"{record['tickets']:,} tickets of {record['customers']:,} customers since {record['since']}"
        share = f"{record['share']:.1%} of the customers, {record['share_before']:.1%} in the same hours before"
        of = f"{record['kind']} {record['category'] or ''}".strip()
        parts += [text(f"{record['name']} ({of})", "bold red"), text(f"  {head}; {share}")]
        parts += [text(f"  {short(e['ticket_id'])}  {e['text']}", "dim") for e in record["examples"]]
    return Group(*parts)


def drift(records: Sequence[Record]) -> RenderableType:
    """Return the compared shares, those that moved first."""
    columns = ("what", "name", "before", "now", "of", "p", "")
    table = AutoWidthTable(columns, spare=("of", "p"))
    for record in records:
        style = "bold yellow" if record["moved"] else ""
        table.add_row(
            text(record["measure"]), text(record["name"], style),
            text(percent(record["share_before"])), text(percent(record["share"])),
            text(f"{record['n_before']:,} / {record['n']:,}"),
            text(f"{record['p_value']:.2g}"), text("moved" if record["moved"] else "", style),
        )  # fmt: skip
    return table
