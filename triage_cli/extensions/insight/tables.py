"""Tables of `spikes`, `drift` and `plan`."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from triage_cli import domain as dm
from triage_cli.cli import AutoWidthTable, Record, borderless, percent, terminal, text

MOST_MOVES = 20  # of a plan that are shown


def spikes(records: Sequence[Record]) -> RenderableType:
    """Return the spikes of topics, each with its shares of customers and its example tickets."""
    spike_lines: list[RenderableType] = []
    for spike in records:
        since = terminal.local_times(spike["since"])
        spike_counts = f"{spike['tickets']:,} tickets of {spike['customers']:,} customers since {since}"
        shares = f"{spike['share']:.1%} of the customers, {spike['share_before']:.1%} in the same hours before"
        before = f"usually {spike['customers_before']:,.1f}"
        topic = f"{spike['kind']} {spike['category'] or ''}".strip()
        spike_lines += [text(f"{spike['name']} ({topic})", "bold red"), text(f"  {spike_counts}, {before}; {shares}")]
        spike_lines += [text(f"  {dm.short(e['ticket_id'])}  {e['text']}", "dim") for e in spike["examples"]]
    return Group(*spike_lines, text(f"({terminal.time_zone()})", "dim")) if records else Group()


def drift(records: Sequence[Record]) -> RenderableType:
    """Return the table of drift: the shares before and now, those that moved first."""
    columns = ("what", "name", "before", "now", "of", "p", "")
    drift_table = AutoWidthTable(columns, spare=("of", "p"))
    for share in records:
        moved_style = f"bold {terminal.AMBER}" if share["moved"] else ""
        shares = text(percent(share["share_before"])), text(percent(share["share"]))
        chance = text(f"{share['n_before']:,} / {share['n']:,}"), text(f"{share['p_value']:.2g}")
        moved = text("moved" if share["moved"] else "", moved_style)
        drift_table.add_row(text(share["measure"]), text(share["name"], moved_style), *shares, *chance, moved)
    return drift_table


def plan(_records: Sequence[object], compared: dm.Plan) -> RenderableType:
    """Return the tables of a plan: volumes of destinations, changed categories, accuracy, and its first moves."""
    has_pages = any(volume.pages for volume in compared.destinations)
    volume_table = _insight_table("destination", "before", "after", "change", *(["pages"] if has_pages else []))
    for volume in compared.destinations:
        change_style = "bold red" if volume.pages and volume.after > volume.before else ""
        change = f"{volume.after - volume.before:+,}" if volume.after != volume.before else ""
        pages = ["yes" if volume.pages else ""] if has_pages else []
        before, after = f"{volume.before:,}", f"{volume.after:,}"
        volume_table.add_row(text(volume.destination), before, after, text(change, change_style), *pages)
    category_matrix = _insight_table("category", "would be", "tickets")
    for old_category, new_category, n in compared.matrix:
        category_matrix.add_row(text(_category(old_category)), text(_category(new_category)), f"{n:,}")
    accuracy_table = _insight_table("on verdicts", "right", "of")
    accuracy_table.add_row("before", f"{compared.accuracy.right_before:,}", f"{compared.accuracy.labelled:,}")
    accuracy_table.add_row("after", f"{compared.accuracy.right_after:,}", f"{compared.accuracy.labelled:,}")
    plan_tables = [
        volume_table,
        *([category_matrix] if compared.matrix else []),
        *([accuracy_table] if compared.accuracy.labelled else []),
    ]
    more_moves = len(compared.moves) - MOST_MOVES
    rest = [text(f"… and {more_moves:,} more: -o csv lists all", "dim")] if more_moves > 0 else []
    return Group(*plan_tables, *([_move_table(compared.moves)] if compared.moves else []), *rest)


def _move_table(moves: Sequence[dm.Move]) -> RenderableType:
    columns = ("id", "external id", "category", "would be", "from", "to")
    move_table = AutoWidthTable(columns, spare=("external id", "from"))
    for move in moves[:MOST_MOVES]:
        ticket = text(dm.short(move.ticket_id), "dim"), text(move.external_id)
        categories = text(_category(move.old)), text(_category(move.new))
        new_places = text(", ".join(move.new_to), "bold red" if move.pages else "")
        move_table.add_row(*ticket, *categories, text(", ".join(move.old_to)), new_places)
    return move_table


def _category(name: str | None) -> str:
    return "(unsure)" if name is None else name


def _insight_table(*columns: str) -> Table:
    insight_table = borderless()
    for number, column_name in enumerate(columns):
        insight_table.add_column(column_name, justify="left" if number == 0 or column_name == "would be" else "right")
    return insight_table
