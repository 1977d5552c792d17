"""Tables of `triage stats`: counts of tickets with bars, batches that are waited for, audits, deliveries."""

from collections.abc import Sequence

from rich.bar import Bar
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.style import Style

from triage_cli.cli.display.cells import STATUS_COLOURS, Record, cell, text
from triage_cli.cli.display.tables import titled_table
from triage_cli.cli.messages import plural
from triage_cli.cli.safe_text import safe

FULL_BAR = 24  # the width of the bar of all tickets
COUNT_TITLES = {
    "by_status": "by status",
    "by_category": "by category",
    "by_classifier": "by classifier",
    "by_day": "by day of storing (UTC)",
}


def stats(records: Sequence[Record]) -> RenderableType:
    """Return the counts of `triage stats` with their shares of all tickets, and bars on one scale."""
    ticket_stats = records[0]
    tickets, events = plural(ticket_stats["tickets"], "tickets"), plural(ticket_stats["events"], "events")
    stats_parts: list[RenderableType] = [text(f"{tickets}, {events}, ${ticket_stats['cost_usd']:.2f}")]
    titled_counts = {title: ticket_stats[key] for key, title in COUNT_TITLES.items()}
    name_width = max((cell_len(safe(name)) for counts in titled_counts.values() for name in counts), default=0)
    for title, counts in titled_counts.items():
        count_table = titled_table(title, "", "", "", "")
        count_table.show_header, count_table.columns[0].min_width = False, name_width
        count_table.columns[1].justify = count_table.columns[2].justify = "right"
        count_table.columns[1].min_width = len(f"{ticket_stats['tickets']:,}")
        count_table.columns[2].min_width = len("100%")
        for name, count in counts.items():
            share = count / (ticket_stats["tickets"] or 1)
            count_bar = Bar(1, 0, max(share, 1 / FULL_BAR), width=FULL_BAR)  # narrower where there is less room
            count_bar.style = Style.parse(STATUS_COLOURS.get(name, "cyan"))
            count_table.add_row(text(name), text(f"{count:,}"), text(f"{share:.0%}"), count_bar)
        stats_parts.append(count_table)
    waiting = titled_table("waiting", "classifier", "tickets", "batches", "since")
    for classifier, batch_counts in ticket_stats["waiting"].items():
        waiting.add_row(text(classifier), *(cell(batch_counts[key]) for key in ("tickets", "batches", "since")))
    audit_title = "audited (sure answers that the next step was asked to confirm)"
    audited = titled_table(audit_title, "classifier", "asked", "agreed")
    for classifier, audit_counts in ticket_stats["audited"].items():
        audited.add_row(text(classifier), text(audit_counts["asked"]), text(audit_counts["agreed"]))
    deliveries = titled_table("deliveries", "destination", "accepted", "pending", "dead")
    for column in deliveries.columns[1:]:
        column.justify = "right"
    for destination, states in ticket_stats["deliveries"].items():
        state_counts = ((s, states.get(s, 0)) for s in ("accepted", "pending", "dead"))
        count_cells = (text(f"{count:,}", STATUS_COLOURS[s] if count else "dim") for s, count in state_counts)
        deliveries.add_row(text(destination), *count_cells)
    return Group(*stats_parts, *(table for table in (waiting, audited, deliveries) if table.row_count))
