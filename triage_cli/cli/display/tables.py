"""Tables: of any records, `--columns`, `doctor`, `stats`, topics, lists of tickets, and one with its history."""

from collections.abc import Iterator, Mapping, Sequence

from rich.bar import Bar
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from triage_cli import domain as dm
from triage_cli.cli import terminal
from triage_cli.cli.display import event_lines
from triage_cli.cli.display.cells import STATUS_COLOURS, Record, bar, cell, is_time, text, ticket_name, to_the_second
from triage_cli.cli.display.table_layout import (
    AutoWidthTable,
    StackingTable,
    UnfoldingTable,
    borderless,
    fill,
    grid,
    unfolding,
)
from triage_cli.cli.messages import plural
from triage_cli.cli.safe_text import safe, safe_lines
from triage_cli.cli.terminal import AMBER
from triage_cli.cli.typed_commands import as_typed

CHECK_MARKS = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("?", AMBER)}
MOST_EXAMPLE = 80  # characters of the example of a topic
UNBROKEN_COLUMNS = ("id", "status", "confidence", "seq", "timestamp", "key")


def plain(
    records: Sequence[Record], columns: Sequence[str], spare: Sequence[str] = (), room: Mapping[str, int] | None = None
) -> RenderableType:
    """Return records as a plain table; if it is too wide, the columns in `spare` are left out, in this order.

    That is so if the long cells of a column get less than its `room`; without `spare` they make do with less.
    """
    column_choices = [[name for name in columns if name not in spare[:left_out]] for left_out in range(len(spare) + 1)]
    rows = [[cell(record.get(name)) for name in columns] for record in records]
    tables = [_plain_table(records, table_columns, room) for table_columns in column_choices]
    table = UnfoldingTable([*tables, _plain_table(records, column_choices[-1])], rows)
    has_times = any(is_time(record.get(column)) for record in records for column in columns)
    return Group(table, text(f"({terminal.time_zone()})", "dim")) if has_times else table


def _plain_table(records: Sequence[Record], columns: Sequence[str], room: Mapping[str, int] | None = None) -> Table:
    """Return a plain table whose columns have room for their headers and ordinary words."""
    table = titled_table("", *columns)
    for column_name, table_column in zip(columns, table.columns, strict=True):
        column_values = [record.get(column_name) for record in records]
        if all(isinstance(value, int | float) for value in column_values):
            table_column.justify = "right"
        table_column.no_wrap = table_column.no_wrap or any(map(is_time, column_values))
    fill(table, [[cell(record.get(column_name)) for column_name in columns] for record in records], room)
    return table


def chosen(records: Sequence[Record], columns: Sequence[str]) -> RenderableType:
    """Return the columns that `--columns` chooses as a table, a line a record; without room, a line a value."""
    table = AutoWidthTable(columns, whole=True)
    for record in records:
        table.add_row(*(text(record[column]) for column in columns))
    return table


def checks(records: Sequence[Record]) -> RenderableType:
    """Return the table of `doctor`'s checks: a mark, the name, the result, and below a failed check the hint."""
    check_rows = []
    for check in records:
        check_rows.append((CHECK_MARKS[check["works"]], text(check["what"]), text(as_typed(check["said"]))))
        if check["next"]:
            check_rows.append((Text(), Text(), text(f"next: {as_typed(check['next'])}", "dim")))
    return grid(check_rows)


def titled_table(title: str, *columns: str) -> Table:
    """Return an empty table with a title, whose columns are never cut: their cells continue on the next line."""
    table = borderless(title)
    for column_name in columns:
        table.add_column(column_name, no_wrap=column_name in UNBROKEN_COLUMNS, overflow="fold")
    return table


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
    labelled = titled_table("labelled texts", "source", "texts")
    labelled.columns[1].justify = "right"
    for source, number in ticket_stats["labelled_texts"].items():
        labelled.add_row(text(source), text(f"{number:,}"))
    deliveries = titled_table("deliveries", "destination", "accepted", "pending", "dead")
    for column in deliveries.columns[1:]:
        column.justify = "right"
    for destination, states in ticket_stats["deliveries"].items():
        state_counts = ((s, states.get(s, 0)) for s in ("accepted", "pending", "dead"))
        count_cells = (text(f"{count:,}", STATUS_COLOURS[s] if count else "dim") for s, count in state_counts)
        deliveries.add_row(text(destination), *count_cells)
    return Group(*stats_parts, *(table for table in (waiting, audited, labelled, deliveries) if table.row_count))


PRIORITY_STYLES = {"urgent": "bold red", "high": AMBER, "low": "dim"}


def tickets(records: Sequence[Record]) -> RenderableType:
    """Return a table of tickets: text, decision and destinations."""
    columns = ("id", "status", "category", "confidence", "priority", "customer", "text", "routed to")
    ticket_table = AutoWidthTable(columns, spare=("customer", "routed to", "priority", "confidence"))
    for ticket in records:
        ticket_table.add_row(
            *_decision_cells(ticket),
            text(ticket.get("priority"), PRIORITY_STYLES.get(ticket.get("priority") or "", "")),
            text(ticket.get("customer_id")),
            text(ticket.get("subject") or ticket.get("description") or ticket.get("error")),
            text(ticket.get("routed_to") if ticket.get("status") == "routed" else ""),
        )
    return ticket_table


def requests(records: Sequence[Record]) -> RenderableType:
    """Return a table of the requests that `route` would make: the ticket, and where it would go, or why nowhere."""
    table = AutoWidthTable(("id", "category", "confidence", "destination", "text"), spare=("confidence",))
    for ticket in records:
        name, _, *decision = _decision_cells(ticket)
        destination = text(ticket["destination"]) if ticket["destination"] else text(ticket["no_request"], "dim italic")
        table.add_row(name, *decision, destination, text(ticket["subject"] or ticket["description"]))
    return table


def similar(records: Sequence[Record]) -> RenderableType:
    """Return a table of similar tickets, the most similar first."""
    table = AutoWidthTable(("similar", "id", "status", "category", "confidence", "text"), spare=("confidence",))
    for ticket in records:
        ticket_text = text(ticket.get("subject") or ticket.get("description"))
        table.add_row(bar(ticket.get("similarity")), *_decision_cells(ticket), ticket_text)
    return table


def texts(records: Sequence[Record]) -> RenderableType:
    """Return a table of texts that are no tickets, with how each would be decided."""
    table = AutoWidthTable(("status", "category", "confidence", "text", "reason"), spare=("reason", "status"))
    for answer in records:
        table.add_row(*_answer_cells(answer), text(answer["text"]), text(answer["reason"]))
    return table


def _decision_cells(ticket: Record) -> tuple[Text, Text, Text, Text]:
    """Return the cells with a ticket's name, status, category and confidence."""
    return (ticket_name(ticket), *_answer_cells(ticket))


def _answer_cells(ticket: Record) -> tuple[Text, Text, Text]:
    status, category, suggestion = (ticket.get(name) for name in ("status", "category", "suggestion"))
    return (
        text(status, STATUS_COLOURS.get(status or "", "")),
        text(category) if category else text(f"{suggestion}?" if suggestion else "", "dim italic"),
        text("a person", "cyan") if ticket.get("verdict") else bar(ticket.get("confidence")),
    )


def histories(records: Sequence[Record], *, verbose: bool = False) -> RenderableType:
    """Return tickets with their whole histories; `verbose` shows ticket ids too."""
    return Group(*(_ticket_history(ticket, verbose=verbose) for ticket in records))


def _ticket_history(ticket: Record, *, verbose: bool) -> RenderableType:
    ticket_fields = grid(
        (text(name, "dim"), value if isinstance(value, Text) else text(value))
        for name, value in _ticket_fields(ticket, verbose=verbose)
        if value not in (None, "")
    )
    ticket_text = [Text(safe_lines(part), style) for part, style in _ticket_text(ticket) if part]
    classifications = StackingTable("at", "classifier", "category", "confidence", "reason", title="classifications")
    for c in ticket.get("classifications", ()):
        classifications.add_row(
            text(to_the_second(c["at"])),
            text(dm.answerer(c)),
            text(c["category"]),
            text("a person", "cyan") if c["confidence_source"] == "human" else bar(c["confidence"]),
            text(c["reason"] or c["error"]),
        )
    return Group(
        ticket_fields,
        *ticket_text,
        *([classifications] if classifications.row_count else []),
        *_delivery_tables(ticket, verbose=verbose),
        *([Text("\nevents", "bold"), event_lines.events(ticket["events"])] if ticket.get("events") else []),
    )


def _ticket_fields(ticket: Record, *, verbose: bool) -> Iterator[tuple[str, object]]:
    """Yield the fields of a ticket beside its text, the most important first."""
    external_id = ticket["external_id"]
    yield "ticket", f"{external_id} ({ticket['source']})" if external_id else ticket["ticket_id"]
    yield "ticket_id", ticket["ticket_id"] if verbose and external_id else None
    _, status, category, confidence = _decision_cells(ticket)
    yield "status", status
    yield "category", category
    yield "confidence", confidence
    yield from ((name, _answer_cell(answer)) for name, answer in ticket.get("answers", {}).items())
    yield from ((name, ticket[name]) for name in ("reason", "priority", "customer_id"))
    yield "created_at", to_the_second(ticket["created_at"])
    yield "routed to", ticket["routed_to"] if ticket["status"] == "routed" else None
    yield "cost", f"${ticket['cost_usd']:.4f}" if ticket["cost_usd"] else None
    yield "error", ticket["error"]
    yield from (ticket["extra"] or {}).items()


def _answer_cell(answer: Record) -> Text:
    """Return the cell of an answer to a further question; a guess is in doubt."""
    if answer["value"] is None:
        return text(f"{answer['suggestion']}?" if answer["suggestion"] else answer["state"], "dim italic")
    by = "a person" if answer["verdict"] else f"{answer['confidence']:.2f}"
    return text(f"{answer['value']} ({by})")


def _ticket_text(ticket: Record) -> Iterator[tuple[str, str]]:
    """Yield a ticket's subject and its description, its paragraphs kept, each with its style."""
    yield (f"\n{ticket['subject']}" if ticket["subject"] else ""), "bold"
    yield (f"\n{ticket['description'].strip()}" if ticket["description"] else ""), ""


def _delivery_tables(ticket: Record, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield a table of a ticket's deliveries, and one of the attempts that failed, where there are any."""
    delivery_rows, attempt_rows = [], []
    for d in ticket.get("deliveries", ()):
        cells = (
            d["attempts"],
            d["last_error"] or to_the_second(d["done_at"]),
            *([d["delivery_id"]] if verbose else ()),
        )
        state = text(d["state"], STATUS_COLOURS.get(d["state"], ""))
        delivery_rows.append([text(d["destination"]), state, *map(text, cells)])
        for a in d["tries"]:
            if a["error"]:
                seconds = f"{a['seconds']:.2f}"
                at = to_the_second(a["at"])
                attempt = (at, d["destination"], a["number"], a["status"], a["error"], seconds)
                attempt_rows.append([*map(text, attempt)])
    if delivery_rows:
        id_column = ("delivery id",) if verbose else ()
        deliveries = titled_table("deliveries", "destination", "state", "attempts", "last", *id_column)
        yield unfolding(deliveries, delivery_rows)
    if attempt_rows:
        attempts = titled_table("failed attempts", "at", "destination", "attempt", "answer", "error", "seconds")
        yield unfolding(attempts, attempt_rows)


def topics(records: Sequence[Record]) -> RenderableType:
    """Return the table of topics, each with its number for `--edit` and one example."""
    columns = ("#", "topic", "tickets", "customers", "words", "nearest", "example")
    topic_table = AutoWidthTable(columns, spare=("customers", "nearest", "example"))
    for number, topic in enumerate(records, 1):
        counts = text(f"{topic['tickets']:,}"), text(f"{topic['customers']:,}")
        words, nearest = text(", ".join(topic["words"])), text(topic["nearest"] or "")
        example = text(topic["examples"][0][:MOST_EXAMPLE] if topic["examples"] else "", "dim")
        topic_table.add_row(text(number), text(topic["category"], "bold"), *counts, words, nearest, example)
    return topic_table
