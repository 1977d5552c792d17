"""Cells of tables: texts without markup, bars of shares, times, and names of tickets."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from triage_cli.cli import local_time
from triage_cli.cli.display.table_layout import LEAST_WIDTHS
from triage_cli.cli.terminal import AMBER, safe
from triage_cli.domain.ids import short
from triage_cli.domain.json_values import compact

Record = Mapping[str, Any]

# The colours of cells that hold the status of a ticket or the state of a delivery.
STATUS_COLOURS = {
    "new": "cyan",
    "classified": "blue",
    "needs_review": AMBER,
    "failed": "red",
    "waiting": "magenta",
    "routing": "blue",
    "routed": "green",
    "unroutable": "red",
    "undeliverable": "red",
    "rejected": "red",
    "accepted": "green",
    "pending": AMBER,
    "dead": "red",
    "superseded": "dim",
    "forgotten": "dim",
}
BAR_WIDTH = 8
BAR_EIGHTHS = " ▏▎▍▌▋▊▉█"  # the end of a bar: blocks of 0 to 8 eighths of a column


def text(value: object, style: str = "") -> Text:
    """Return a cell in which markup and escape codes have no effect; values that are no text look as in JSON."""
    cell_text = value if isinstance(value, str) else "" if value is None else compact(value)
    return Text(safe(cell_text), style=style)


def cell(value: object) -> Text:
    """Return a cell for a value of any type: times to the second, numbers to three digits, lists with commas."""
    return text(_cell_text(value))


def _cell_text(value: object) -> str:
    if isinstance(value, str) and is_time(value):
        return to_the_second(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell_text, value))
    return value if isinstance(value, str) else "" if value is None else compact(value)


def bar(share: float | None, colour: str = "") -> Text:
    """Return a cell with a share as a bar and a number; the colour of a confidence depends on its value."""
    if share is None:
        return Text("")
    bar_eighths = round(max(0.0, min(1.0, share)) * BAR_WIDTH * 8)
    full_blocks, last_eighths = divmod(bar_eighths, 8)
    bar_blocks = "█" * full_blocks + (BAR_EIGHTHS[last_eighths] if last_eighths else "")
    colour = colour or ("green" if share >= 0.8 else AMBER if share >= 0.6 else "red")
    return Text.assemble((f"{bar_blocks:<{BAR_WIDTH}}", colour), f" {share:.2f}")


def ticket_name(record: Record) -> Text:
    """Return a cell with a ticket's external id, or with the end of its ticket id if the external id is too long.

    What is not stored has no ticket id, so the end of a long external id is returned.
    """
    external_id = text(record.get("external_id"))
    if 0 < external_id.cell_len <= LEAST_WIDTHS["id"]:
        return external_id
    if record["ticket_id"] or not record.get("external_id"):
        return text(short(str(record["ticket_id"] or "")), "dim")
    return text(f"…{short(record['external_id'])}", "dim")


def to_the_second(moment: str | None) -> str:
    """Return the text of a cell with a time, to the second: local time on a terminal, else UTC."""
    return local_time.local_times(moment or "")[:19].replace("T", " ")


def is_time(value: object) -> bool:
    """Return whether the value of a cell is a time."""
    return isinstance(value, str) and local_time.UTC_TIME.fullmatch(value) is not None
