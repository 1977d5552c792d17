"""Tables of tickets: a list of tickets, and one ticket with its classifications, deliveries and events."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from triage_cli.cli.display import event_lines
from triage_cli.cli.display.cells import STATUS_COLOURS, Record, bar, text, ticket_name, to_the_second
from triage_cli.cli.display.table_layout import AutoWidthTable, StackingTable, grid, unfolding
from triage_cli.cli.display.tables import titled_table
from triage_cli.cli.safe_text import safe_lines
from triage_cli.cli.terminal import AMBER
from triage_cli.domain import answerer

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


def similar(records: Sequence[Record]) -> RenderableType:
    """Return a table of similar tickets, the most similar first."""
    table = AutoWidthTable(("similar", "id", "status", "category", "confidence", "text"), spare=("confidence",))
    for ticket in records:
        ticket_text = text(ticket.get("subject") or ticket.get("description"))
        table.add_row(bar(ticket.get("similarity")), *_decision_cells(ticket), ticket_text)
    return table


def _decision_cells(ticket: Record) -> tuple[Text, Text, Text, Text]:
    """Return the cells with a ticket's name, status, category and confidence."""
    status, category, suggestion = (ticket.get(name) for name in ("status", "category", "suggestion"))
    return (
        ticket_name(ticket),
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
            text(answerer(c)),
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
