"""Tables of tickets, events and counts for a terminal, with colours and bars."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.bar import Bar
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from triage_cli.cli import local_time
from triage_cli.cli.display import event_lines, layout
from triage_cli.cli.display.layout import FLOORS, AutoWidthTable, StackingTable, UnfoldingTable, facts, fill, unfolding
from triage_cli.cli.messages import plural
from triage_cli.cli.terminal import AMBER, safe, safe_lines
from triage_cli.domain.agent_suggestions import answerer
from triage_cli.domain.ids import short
from triage_cli.domain.serialization import compact

Record = Mapping[str, Any]

COLOURS = {
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
MARKS = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("?", AMBER)}
PRIORITIES = {"urgent": "bold red", "high": AMBER, "low": "dim"}
BAR = 8
WIDEST = 24  # a bar of all tickets
BLOCKS_OF_STATS = {
    "by_status": "by status",
    "by_category": "by category",
    "by_classifier": "by classifier",
    "by_day": "by day of storing (UTC)",
}
BLOCKS = " ▏▎▍▌▋▊▉█"


def text(value: object, style: str = "") -> Text:
    """Return a value as text in which markup and escape codes have no effect; other values look as in JSON."""
    content = value if isinstance(value, str) else "" if value is None else compact(value)
    return Text(safe(content), style=style)


def bar(share: float | None, colour: str = "") -> Text:
    """Return a share as a bar with its number; the colour of a confidence depends on its value."""
    if share is None:
        return Text("")
    eighths = round(max(0.0, min(1.0, share)) * BAR * 8)
    whole, part = divmod(eighths, 8)
    drawn = "█" * whole + (BLOCKS[part] if part else "")
    colour = colour or ("green" if share >= 0.8 else AMBER if share >= 0.6 else "red")
    return Text.assemble((f"{drawn:<{BAR}}", colour), f" {share:.2f}")


def tickets(records: Sequence[Record]) -> RenderableType:
    """Return a table of tickets: text, decision and destinations."""
    columns = ("id", "status", "category", "confidence", "priority", "customer", "text", "routed to")
    table = AutoWidthTable(columns, spare=("customer", "routed to", "priority", "confidence"))
    for record in records:
        table.add_row(
            *decided(record),
            text(record.get("priority"), PRIORITIES.get(record.get("priority") or "", "")),
            text(record.get("customer_id")),
            text(record.get("subject") or record.get("description") or record.get("error")),
            text(record.get("routed_to") if record.get("status") == "routed" else ""),
        )
    return table


def decided(record: Record) -> tuple[Text, Text, Text, Text]:
    """Return the cells with a ticket's name, status, category and confidence."""
    status, guess, unsure = (record.get(name) for name in ("status", "category", "suggestion"))
    return (
        name_of(record),
        text(status, COLOURS.get(status or "", "")),
        text(guess) if guess else text(f"{unsure}?" if unsure else "", "dim italic"),
        text("a person", "cyan") if record.get("verdict") else bar(record.get("confidence")),
    )


def name_of(record: Record) -> Text:
    """Return a ticket's external id; the end of its ticket id if it has none, or one that would not be shown whole.

    What is not stored has no ticket id, so the end of a long external id is returned.
    """
    external_id = text(record.get("external_id"))
    if 0 < external_id.cell_len <= FLOORS["id"]:
        return external_id
    if record["ticket_id"] or not record.get("external_id"):
        return text(short(str(record["ticket_id"] or "")), "dim")
    return text(f"…{short(record['external_id'])}", "dim")


def histories(records: Sequence[Record], *, verbose: bool = False) -> RenderableType:
    """Return tickets with their whole histories; `verbose` shows ticket ids too."""
    return Group(*(_history(record, verbose=verbose) for record in records))


def _history(record: Record, *, verbose: bool) -> RenderableType:
    known = facts(
        (text(key, "dim"), value if isinstance(value, Text) else text(value))
        for key, value in _facts(record, verbose=verbose)
        if value not in (None, "")
    )
    body = [Text(safe_lines(part), style) for part, style in _body(record) if part]
    answers = StackingTable("at", "classifier", "category", "confidence", "reason", title="classifications")
    for a in record.get("classifications", ()):
        answers.add_row(
            text(_moment(a["at"])),
            text(answerer(a)),
            text(a["category"]),
            text("a person", "cyan") if a["confidence_source"] == "human" else bar(a["confidence"]),
            text(a["reason"] or a["error"]),
        )
    history = [Text("\nevents", "bold"), events(record["events"])] if record.get("events") else []
    decisions = [answers] if answers.row_count else []
    return Group(known, *body, *decisions, *_sent(record, verbose=verbose), *history)


def _facts(record: Record, *, verbose: bool) -> Iterator[tuple[str, object]]:
    """Yield a ticket's other values, the most important first."""
    external_id = record["external_id"]
    yield "ticket", f"{external_id} ({record['source']})" if external_id else record["ticket_id"]
    yield "ticket_id", record["ticket_id"] if verbose and external_id else None
    _, status, category, confidence = decided(record)
    yield "status", status
    yield "category", category
    yield "confidence", confidence
    yield from ((key, record[key]) for key in ("reason", "priority", "customer_id"))
    yield "created_at", _moment(record["created_at"])
    yield "routed to", record["routed_to"] if record["status"] == "routed" else None
    yield "cost", f"${record['cost_usd']:.4f}" if record["cost_usd"] else None
    yield "error", record["error"]
    yield from (record["extra"] or {}).items()


def _body(record: Record) -> Iterator[tuple[str, str]]:
    """Yield a ticket's subject and its description, its paragraphs kept, each with its style."""
    yield (f"\n{record['subject']}" if record["subject"] else ""), "bold"
    yield (f"\n{record['description'].strip()}" if record["description"] else ""), ""


def _sent(record: Record, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield a table of a ticket's deliveries, and one of the attempts that failed, where there are any."""
    ids = ("delivery id",) if verbose else ()
    sent, tries = [], []
    for d in record.get("deliveries", ()):
        cells = (d["attempts"], d["last_error"] or _moment(d["done_at"]), *([d["delivery_id"]] if verbose else ()))
        sent.append([text(d["destination"]), text(d["state"], COLOURS.get(d["state"], "")), *map(text, cells)])
        for a in d["tries"]:
            if a["error"]:
                seconds = f"{a['seconds']:.2f}"
                at = (_moment(a["at"]), d["destination"], a["number"], a["status"], a["error"], seconds)
                tries.append([*map(text, at)])
    if sent:
        yield unfolding(_table("deliveries", "destination", "state", "attempts", "last", *ids), sent)
    if tries:
        failed = _table("failed attempts", "at", "destination", "attempt", "answer", "error", "seconds")
        yield unfolding(failed, tries)


def events(
    records: Sequence[Record], names: Mapping[str, str] | None = None, *, explained: bool = True
) -> RenderableType:
    """Return events as lines: time, ticket, what happened; `explained` says which times these are, and of `-o jsonl`.

    `names` maps ticket ids to external ids; None leaves out the ticket.
    """
    table = StackingTable(*[""] * (3 if names is None else 4))
    for e in records:
        ticket_id = e["ticket_id"] or ""
        named = () if names is None else (name_of({"external_id": names.get(ticket_id), "ticket_id": ticket_id}),)
        line = event_lines.summary(e["action"], e["detail"], e["actor"])
        table.add_row(text(_moment(e["timestamp"]), "dim"), *named, text(e["action"], "bold"), text(line))
    if not records or not explained:
        return table
    return Group(table, text(f"({local_time.time_zone()}; -o jsonl has ids and hashes)", "dim"))


def stats(records: Sequence[Record]) -> RenderableType:
    """Return counts with their shares of all tickets, and bars on one scale."""
    record = records[0]
    parts: list[RenderableType] = [
        text(f"{plural(record['tickets'], 'tickets')}, {plural(record['events'], 'events')}, ${record['cost_usd']:.2f}")
    ]
    blocks = {title: record[key] for key, title in BLOCKS_OF_STATS.items()}
    width = max((cell_len(safe(key)) for counts in blocks.values() for key in counts), default=0)
    for title, counts in blocks.items():
        table = _table(title, "", "", "", "")
        table.show_header, table.columns[0].min_width = False, width
        table.columns[1].justify = table.columns[2].justify = "right"
        table.columns[1].min_width, table.columns[2].min_width = len(f"{record['tickets']:,}"), len("100%")
        for key, number in counts.items():
            share = number / (record["tickets"] or 1)
            drawn = Bar(1, 0, max(share, 1 / WIDEST), width=WIDEST)  # narrower where there is less room
            drawn.style = Style.parse(COLOURS.get(key, "cyan"))
            table.add_row(text(key), text(f"{number:,}"), text(f"{share:.0%}"), drawn)
        parts.append(table)
    waiting = _table("waiting", "classifier", "tickets", "batches", "since")
    for name, waits in record["waiting"].items():
        waiting.add_row(text(name), *(cell(waits[key]) for key in ("tickets", "batches", "since")))
    audited = _table("audited (sure answers that the next step was asked to confirm)", "classifier", "asked", "agreed")
    for name, numbers in record["audited"].items():
        audited.add_row(text(name), text(numbers["asked"]), text(numbers["agreed"]))
    sent = _table("deliveries", "destination", "accepted", "pending", "dead")
    for column in sent.columns[1:]:
        column.justify = "right"
    for name, states in record["deliveries"].items():
        numbers = ((s, states.get(s, 0)) for s in ("accepted", "pending", "dead"))
        sent.add_row(text(name), *(text(f"{n:,}", COLOURS[s] if n else "dim") for s, n in numbers))
    return Group(*parts, *(table for table in (waiting, audited, sent) if table.row_count))


def plain(records: Sequence[Record], columns: Sequence[str], spare: Sequence[str] = ()) -> RenderableType:
    """Return records as a plain table; if it is too wide, the columns in `spare` are left out, in this order."""
    shown = [[name for name in columns if name not in spare[:left_out]] for left_out in range(len(spare) + 1)]
    rows = [[cell(record.get(name)) for name in columns] for record in records]
    fitted = UnfoldingTable([_plain(records, names) for names in shown], rows)
    timed = any(_is_time(record.get(column)) for record in records for column in columns)
    return Group(fitted, text(f"({local_time.time_zone()})", "dim")) if timed else fitted


def _plain(records: Sequence[Record], columns: Sequence[str]) -> Table:
    """Return a table whose columns have room for their headers and ordinary words."""
    table = _table("", *columns)
    for name, column in zip(columns, table.columns, strict=True):
        values = [record.get(name) for record in records]
        if all(isinstance(value, int | float) for value in values):
            column.justify = "right"
        column.no_wrap = column.no_wrap or any(map(_is_time, values))
    fill(table, [[cell(record.get(name)) for name in columns] for record in records])
    return table


def checks(records: Sequence[Record]) -> RenderableType:
    """Return test results: a mark, the name, the result, and below a failure the hint."""
    rows = []
    for record in records:
        rows.append((MARKS[record["works"]], text(record["what"]), text(record["said"])))
        if record["next"]:
            rows.append((Text(), Text(), text(f"next: {record['next']}", "dim")))
    return facts(rows)


def chosen(records: Sequence[Record], columns: Sequence[str]) -> RenderableType:
    """Return the chosen columns as a table, a line a record; where there is no room, a line a value."""
    table = AutoWidthTable(columns, whole=True)
    for record in records:
        table.add_row(*(text(record[column]) for column in columns))
    return table


def _table(title: str, *columns: str) -> Table:
    table = layout.borderless(title)
    for column in columns:
        # These columns are never cut: they continue on the next line.
        table.add_column(
            column, no_wrap=column in ("id", "status", "confidence", "seq", "timestamp", "key"), overflow="fold"
        )
    return table


def cell(value: object) -> Text:
    """Return a short text of a value of any type."""
    return text(_short(value))


def _moment(at: str | None) -> str:
    """Return a time to the second: local time on a terminal, else UTC."""
    return local_time.local_times(at or "")[:19].replace("T", " ")


def _is_time(value: object) -> bool:
    return isinstance(value, str) and local_time.MOMENT.fullmatch(value) is not None


def _short(value: object) -> str:
    if isinstance(value, str) and _is_time(value):
        return _moment(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value))
    return value if isinstance(value, str) else "" if value is None else compact(value)
