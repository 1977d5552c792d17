"""Cells of tables: texts without markup, bars of shares, times, and names of tickets."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from triage_cli import domain as dm
from triage_cli.cli import terminal
from triage_cli.cli.display.table_layout import LEAST_WIDTHS
from triage_cli.cli.safe_text import safe
from triage_cli.cli.terminal import AMBER

Record = Mapping[str, Any]

# The colours of cells that hold the status of a ticket or the state of a delivery.
STATUS_COLOURS = {
    "new": "cyan",
    "waiting": "magenta",
    **dict.fromkeys(("classified", "routing"), "blue"),
    **dict.fromkeys(("needs_review", "pending"), AMBER),
    **dict.fromkeys(("routed", "accepted"), "green"),
    **dict.fromkeys(("failed", "unroutable", "undeliverable", "rejected", "dead"), "red"),
    **dict.fromkeys(("superseded", "forgotten", "withdrawn"), "dim"),
}
BAR_WIDTH = 8
BAR_EIGHTHS = " ▏▎▍▌▋▊▉█"  # the end of a bar: blocks of 0 to 8 eighths of a column


def text(cell_value: object, cell_style: str = "") -> Text:
    """Return a cell in which markup and escape codes have no effect; values that are no text look as in JSON."""
    cell_text = cell_value if isinstance(cell_value, str) else "" if cell_value is None else dm.compact(cell_value)
    return Text(safe(cell_text), style=cell_style)


def cell(cell_value: object) -> Text:
    """Return a cell for a value of any type: times to the second, numbers to three digits, lists with commas."""
    return text(_cell_text(cell_value))


def _cell_text(cell_value: object) -> str:
    if isinstance(cell_value, str) and is_time(cell_value):
        return to_the_second(cell_value)
    if isinstance(cell_value, float):
        return f"{cell_value:.3g}"
    if isinstance(cell_value, list | tuple):
        return ", ".join(map(_cell_text, cell_value))
    return cell_value if isinstance(cell_value, str) else "" if cell_value is None else dm.compact(cell_value)


def bar(share: float | None, colour: str = "") -> Text:
    """Return a cell with a share as a bar and a number; the colour of a confidence depends on its value."""
    if share is None:
        return Text("")
    bar_eighths = round(max(0.0, min(1.0, share)) * BAR_WIDTH * 8)
    full_blocks, last_eighths = divmod(bar_eighths, 8)
    bar_blocks = "█" * full_blocks + (BAR_EIGHTHS[last_eighths] if last_eighths else "")
    colour = colour or ("green" if share >= 0.8 else AMBER if share >= 0.6 else "red")
    return Text.assemble((f"{bar_blocks:<{BAR_WIDTH}}", colour), f" {share:.2f}")


def ticket_name(ticket: Record) -> Text:
    """Return a cell with a ticket's external id, or with the end of its ticket id if the external id is too long.

    A ticket that is not stored has no ticket id: its cell has the end of a long external id.
    """
    external_id = text(ticket.get("external_id"))
    if 0 < external_id.cell_len <= LEAST_WIDTHS["id"]:
        return external_id
    if ticket["ticket_id"] or not ticket.get("external_id"):
        return text(dm.short(str(ticket["ticket_id"] or "")), "dim")
    return text(f"…{dm.short(ticket['external_id'])}", "dim")


def to_the_second(moment: str | None) -> str:
    """Return the text of a cell with a time, to the second: local time on a terminal, else UTC."""
    return terminal.local_times(moment or "")[:19].replace("T", " ")


def is_time(cell_value: object) -> bool:
    """Return whether the value of a cell is a time."""
    return isinstance(cell_value, str) and terminal.UTC_TIME.fullmatch(cell_value) is not None
