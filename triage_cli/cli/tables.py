"""Tables worth looking at: colour by status, confidence as a bar, as wide as the terminal."""

import io
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from triage_cli.cli import event_lines, messages
from triage_cli.cli.messages import on_terminal, plural, safe
from triage_cli.cli.table_layout import AutoWidthTable
from triage_cli.cli.terminal import has_colour
from triage_cli.domain.serialization import compact

Record = Mapping[str, Any]

COLOURS = {
    "new": "cyan",
    "classified": "blue",
    "needs_review": "yellow",
    "failed": "red",
    "waiting": "magenta",
    "routing": "blue",
    "routed": "green",
    "unroutable": "red",
    "undeliverable": "red",
    "rejected": "red",
    "accepted": "green",
    "pending": "yellow",
    "dead": "red",
    "superseded": "dim",
    "forgotten": "dim",
}
PRIORITIES = {"urgent": "bold red", "high": "yellow", "low": "dim"}
BAR = 8
BLOCKS = " ▏▎▍▌▋▊▉█"


def rendered(what: object) -> Iterator[str]:
    """Return a renderable as lines of text, coloured on a terminal only."""
    watched, coloured = on_terminal(sys.stdout), has_colour(sys.stdout)
    width = shutil.get_terminal_size((120, 24)).columns if watched else 160
    console = Console(
        file=io.StringIO(), force_terminal=watched or coloured, width=width, no_color=None if coloured else True
    )
    with console.capture() as capture:
        console.print(what)
    yield "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def text(value: object, style: str = "") -> Text:
    """Return a value as text that no markup and no escape code in it can change; what is no text looks as in JSON."""
    content = value if isinstance(value, str) else "" if value is None else compact(value)
    return Text(safe(content), style=style)


def bar(share: float | None) -> Text:
    """Return a confidence as a bar with its number."""
    if share is None:
        return Text("")
    eighths = round(max(0.0, min(1.0, share)) * BAR * 8)
    whole, part = divmod(eighths, 8)
    drawn = "█" * whole + (BLOCKS[part] if part else "")
    colour = "green" if share >= 0.8 else "yellow" if share >= 0.6 else "red"
    return Text.assemble((f"{drawn:<{BAR}}", colour), f" {share:.2f}")


def tickets(records: Sequence[Record]) -> RenderableType:
    """Return tickets as a table: what each is about, what was decided and where it went."""
    columns = ("id", "status", "category", "confidence", "priority", "customer", "subject", "routed to")
    table = AutoWidthTable(columns, spare=("customer", "routed to", "priority", "confidence"))
    for record in records:
        table.add_row(
            *decided(record),
            text(record.get("priority"), PRIORITIES.get(record.get("priority") or "", "")),
            text(record.get("customer_id")),
            text(record.get("subject") or record.get("description")),
            text(record.get("routed_to") if record.get("status") != "classified" else ""),
        )
    return table


def decided(record: Record, prefix: str = "") -> tuple[Text, Text, Text, Text]:
    """Return the cells that tell a ticket's external id or the end of its own, its status, category and confidence."""
    ticket_id, status, guess, unsure, confidence = (
        record.get(f"{prefix}{name}") for name in ("ticket_id", "status", "category", "suggestion", "confidence")
    )
    return (
        text(record["external_id"]) if record.get("external_id") else text(str(ticket_id or "")[-8:], "dim"),
        text(status, COLOURS.get(status or "", "")),
        text(guess) if guess else text(f"{unsure}?" if unsure else "", "dim italic"),
        bar(confidence),
    )


def ticket(records: Sequence[Record]) -> RenderableType:
    """Return one ticket with its whole history."""
    record = records[0]
    facts = Table.grid(padding=(0, 2))
    for key, value in record.items():
        if key not in ("classifications", "deliveries", "events") and value not in (None, {}, ""):
            style = COLOURS.get(str(value), "") if key == "status" else ""
            facts.add_row(text(key, "dim"), bar(value) if key == "confidence" else text(value, style))
    answers = _titled("classifications", "at", "classifier", "category", "confidence", "reason")
    for a in record.get("classifications", ()):
        answers.add_row(
            text(_moment(a["at"])),
            text(a["classifier"]),
            text(a["category"]),
            bar(a["confidence"]),
            text(a["reason"] or a["error"]),
        )
    sent = _titled("deliveries", "destination", "state", "attempts", "last", "delivery id")
    tries = _titled("failed attempts", "at", "destination", "attempt", "answer", "error", "seconds")
    for d in record.get("deliveries", ()):
        state = text(d["state"], COLOURS.get(d["state"], ""))
        sent.add_row(
            text(d["destination"]),
            state,
            text(d["attempts"]),
            text(d["last_error"] or _moment(d["done_at"])),
            text(d["delivery_id"]),
        )
        for a in d["tries"]:
            if a["error"]:
                seconds = f"{a['seconds']:.2f}"
                tries.add_row(
                    *map(text, (_moment(a["at"]), d["destination"], a["number"], a["status"], a["error"], seconds))
                )
    history = (Text("\nevents", "bold"), events(record["events"])) if record.get("events") else ()
    return Group(facts, *(t for t in (answers, sent, tries) if t.row_count), *history)


def events(records: Sequence[Record], names: Mapping[str, str] | None = None) -> RenderableType:
    """Return events as lines: when, which ticket by `names` (its external id by its own; None: no word), what."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3 if names is None else 4):
        table.add_column(no_wrap=True)
    table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"
    for e in records:
        ticket_id = e["ticket_id"] or ""
        named = () if names is None else (text(names.get(ticket_id) or ticket_id[-8:]),)
        line = event_lines.summary(e["action"], e["detail"], e["actor"])
        table.add_row(text(_moment(e["timestamp"]), "dim"), *named, text(e["action"], "bold"), text(line))
    return Group(table, text(f"({messages.time_zone()}; -o jsonl has ids and hashes)", "dim")) if records else table


def stats(records: Sequence[Record]) -> RenderableType:
    """Return counts with a bar each."""
    record = records[0]
    parts: list[RenderableType] = [
        text(f"{plural(record['tickets'], 'tickets')}, {plural(record['events'], 'events')}, ${record['cost_usd']:.2f}")
    ]
    for name in ("by_status", "by_category", "by_classifier", "by_day"):
        counts: Mapping[str, int] = record[name]
        most = max(counts.values(), default=0)
        table = _titled(name.replace("_", " "), "", "", "")
        table.show_header = False
        for key, number in counts.items():
            drawn = Text("█" * max(1, round(24 * number / most)), style=COLOURS.get(key, "cyan"))
            table.add_row(text(key), text(f"{number:,}"), drawn)
        if counts:
            parts.append(table)
    waiting = _titled("waiting", "classifier", "tickets", "batches", "since")
    for name, waits in record["waiting"].items():
        waiting.add_row(text(name), *(text(waits[key]) for key in ("tickets", "batches", "since")))
    if waiting.row_count:
        parts.append(waiting)
    audited = _titled("audited (sure answers that the next step was asked to confirm)", "classifier", "asked", "agreed")
    for name, numbers in record["audited"].items():
        audited.add_row(text(name), text(numbers["asked"]), text(numbers["agreed"]))
    if audited.row_count:
        parts.append(audited)
    table = _titled("deliveries", "destination", "accepted", "pending", "dead")
    for name, states in record["deliveries"].items():
        table.add_row(
            text(name),
            *(text(states.get(s, 0), COLOURS[s] if states.get(s) else "dim") for s in ("accepted", "pending", "dead")),
        )
    return Group(*parts, *([table] if table.row_count else []))


def of(columns: Sequence[str]) -> Callable[[Sequence[Record]], RenderableType]:
    """Return a function that shows records as a plain table of these columns."""

    def show(records: Sequence[Record]) -> RenderableType:
        table = _table(*columns)
        for record in records:
            table.add_row(*(cell(record.get(column)) for column in columns))
        return table

    return show


def of_chosen(columns: Sequence[str], records: Sequence[Record]) -> RenderableType:
    """Return the columns that a user chose as a table, a line a record."""
    table = AutoWidthTable(columns)
    for record in records:
        table.add_row(*(text(record[column]) for column in columns))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        # What stands here is to be read whole: it goes on in the next line.
        table.add_column(column, no_wrap=column in ("id", "status", "confidence", "seq", "timestamp"), overflow="fold")
    return table


def _titled(title: str, *columns: str) -> Table:
    table = _table(*columns)
    if title:
        table.title, table.title_justify, table.title_style = f"\n{title}", "left", "bold"
    return table


def cell(value: object) -> Text:
    """Return a value of any type, in short."""
    return text(_short(value))


def _moment(at: str | None) -> str:
    """Return a time to the second: the reader's on a terminal, else UTC."""
    return messages.local_times(at or "")[:19].replace("T", " ")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value))
    return "" if value is None else str(value)
