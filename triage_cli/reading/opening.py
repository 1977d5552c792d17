"""An input -> a table: looks at its beginning, decides how to read it, says so, and streams the rest."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

from triage_cli.codec import ADDED_KEYS, TICKET_KEYS
from triage_cli.errors import InputError
from triage_cli.models import Rejected, TicketDraft
from triage_cli.reading.decoding import Decoder, after_ascii, texts
from triage_cli.reading.drafts import Plan, Records, drafts
from triage_cli.reading.guessing import by_content, looks_like_data
from triage_cli.reading.headers import Columns, has_text, known, matched
from triage_cli.reading.jsons import JsonRecords, text_of
from triage_cli.reading.layouts import Layout, layout_of
from triage_cli.reading.sniff import HEAD, Sample, decoder_for, delimiter_of, format_of, refuse_non_tables, sampled
from triage_cli.reading.tables import CsvRecords, Record, named_once
from triage_cli.reading.values import day_comes_first

_NO_HEADER = (
    "no header row was found, so the first row was read as a ticket; say --no-header if that is right, "
    "or name the columns with --map"
)
_WIDEST = 4096  # columns; each row is looked at under each of them, however short it is
_PREAMBLE = 10  # rows looked at for a header that is not the first


class ReadOptions(NamedTuple):
    """What the caller says of an input instead of leaving it to be found out.

    `mapping` is our field -> their header, `header` False means that the first row is a ticket; columns are then named
    1, 2, … .
    """

    mapping: Mapping[str, str] = {}
    source: str | None = None
    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    limit: int | None = None


class Table(NamedTuple):
    """An opened input: its columns as they stand, what was taken from where, its rows; JSON has no delimiter.

    `headed`: its columns have names, which stand above the rows.
    """

    columns: tuple[str, ...]
    taken: str
    source: str
    rows: Iterator[TicketDraft | Rejected]
    delimiter: str = ","
    notes: tuple[str, ...] = ()
    name: str = ""
    headed: bool = True


class _Header(NamedTuple):
    columns: tuple[str, ...]
    found: Columns
    before: int  # records up to and with the header
    note: str = ""


def open_table(stream: BinaryIO, name: str, options: ReadOptions = ReadOptions()) -> Table:  # noqa: B008 (immutable)
    """Return the tickets in a stream, which need not be seekable: its beginning is looked at, the rest is streamed.

    Raises InputError, one sentence with the way out, for what is no table of tickets, and UsageError for options that
    do not fit the input.
    """
    head = _head(stream)
    delimiter = delimiter_of(options.delimiter)
    decoder = decoder_for(head, options.encoding)
    refuse_non_tables(head, name)
    text = _head_text(head, decoder)
    kind = format_of(text, name, options.format)
    blocks = texts(stream, head, decoder)
    whole = len(head) < HEAD
    if kind in ("json", "jsonl"):
        layout = layout_of(text, name, _is_ticket, whole=whole, by_line=kind == "jsonl")
        return _json_table(blocks, layout, name, options)
    sample = sampled(text, delimiter or ("\t" if kind == "tsv" and options.format else None), whole=whole)
    return _csv_table(blocks, sample, name, options, _encoding_said(decoder))


def _csv_table(blocks: Iterator[str], sample: Sample, name: str, options: ReadOptions, encoding: str) -> Table:
    header = _header(sample.rows, name, options)
    columns, found = header.columns, header.found
    rows = sample.rows[header.before :]
    records = CsvRecords(blocks, sample.delimiter, len(columns))
    plan = Plan(
        found.fields,
        tuple(named_once(columns)),
        options.source or found.helpdesk or "import",
        found.numbers,
        _day_first(found, rows),
        columns if header.before else None,
        _ours(columns),
    )
    said = "TAB" if sample.delimiter == "\t" else f"'{sample.delimiter}'"
    return Table(
        columns,
        _taken(found, columns, encoding, said),
        plan.source,
        islice(drafts(_After(records, sample.skip + header.before), plan), options.limit),
        sample.delimiter,
        (header.note,) if header.note else (),
        name,
        header.before > 0,
    )


def _json_table(blocks: Iterator[str], layout: Layout, name: str, options: ReadOptions) -> Table:
    columns = tuple(dict.fromkeys(key for item in layout.sample for key in item))
    _check_width(len(columns), name)
    # What is nested is no text of ours, unless the user says so: "comments" with a list under it is no description.
    nested = _mostly_nested(layout.sample)
    found = matched(columns, options.mapping, nested) if columns else Columns({})
    if columns and not has_text(found.fields):
        raise _no_text(name, columns)
    records = JsonRecords(blocks, columns, by_line=layout.by_line, start=layout.start)
    rows = [[text_of(item.get(key)) for key in columns] for item in layout.sample]
    source = options.source or found.helpdesk or "import"
    at_id = None if options.mapping.get("external_id") else found.fields.get("external_id")
    plan = Plan(
        found.fields,
        columns,
        source,
        found.numbers,
        _day_first(found, rows),
        ours=_ours(columns),
        plain="" if at_id is None else columns[at_id],
    )
    return Table(
        columns,
        _taken(found, columns, "JSON Lines" if layout.by_line else "JSON"),
        plan.source,
        islice(drafts(records, plan), options.limit),
        "",
        name=name,
    )


def _header(rows: Sequence[Sequence[str]], name: str, options: ReadOptions) -> _Header:
    """Return the columns and where the rows begin: a header, one under a title, or none at all."""
    if not rows:
        raise InputError(f"{name} has no rows", hint="a table of tickets has a header with a subject or a description")
    _check_width(len(rows[0]), name)
    if not options.header:
        return _headless(rows, name, options, "")
    first = tuple(rows[0])
    found = matched(first, options.mapping) if known(first) else None
    if found and has_text(found.fields):
        return _Header(first, found, 1)
    titled = not found and sum(map(bool, first)) <= 2
    for place, row in enumerate(rows[1:_PREAMBLE] if titled else (), start=1):
        if len(row) <= _WIDEST and known(row) > 1 and has_text((later := matched(row, options.mapping)).fields):
            return _Header(tuple(row), later, place + 1, f"{place} row(s) above the header were passed over")
    if found is None and looks_like_data(first) and not set(options.mapping.values()) & set(first):
        return _headless(rows, name, options, _NO_HEADER)
    found = matched(first, options.mapping)
    if not has_text(found.fields):
        raise _no_text(name, first)
    return _Header(first, found, 1)


def _headless(rows: Sequence[Sequence[str]], name: str, options: ReadOptions, note: str) -> _Header:
    width = max(len(row) for row in rows)
    _check_width(width, name)
    columns = tuple(str(place) for place in range(1, width + 1))
    mapped = matched(columns, options.mapping).fields
    fields = mapped if has_text(mapped) else {**by_content(rows, width), **mapped}
    if not has_text(fields):
        raise InputError(
            f"{name} has no header row, and no column that holds a text",
            hint="say which one does, by its number: --no-header --map description=2",
        )
    return _Header(columns, Columns(fields), 0, note)


class _After:
    """The records that follow the header."""

    def __init__(self, records: Records, passed: int) -> None:
        self._records = records
        self._passed = passed

    def raw(self) -> str:
        return self._records.raw()

    def __iter__(self) -> Iterator[Record]:
        records = iter(self._records)
        left = self._passed
        while left and (record := next(records, None)):
            left -= record.cells is None or any(map(str.strip, record.cells))
        return records


def _head(stream: BinaryIO) -> bytes:
    """Return the beginning of a stream; a pipe may give it in pieces."""
    head = b""
    while len(head) < HEAD and (piece := stream.read(HEAD - len(head))):
        head += piece
    return head


def _head_text(head: bytes, decoder: Decoder) -> str:
    whole = head if len(head) < HEAD else head[: after_ascii(head)]
    # All at once, so that a guess at the encoding rests on all there is.
    return "".join(texts(BytesIO(), whole, decoder)) if decoder.wide else decoder.decode(whole)


def _is_ticket(item: Mapping[str, Any]) -> bool:
    return has_text(matched(tuple(item), {}, _mostly_nested([item])).fields)


def _mostly_nested(items: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the keys under which lists and objects are the rule; one among texts is one row's own matter."""
    said: Counter[str] = Counter()
    for item in items:
        for key, value in item.items():
            if value not in (None, ""):
                said[key] += 1 if isinstance(value, dict | list) else -1
    return {key for key, more in said.items() if more > 0}


def _ours(columns: Sequence[str]) -> frozenset[str]:
    """Return the columns of our own export, or of what `run` printed, where this is one."""
    if {*TICKET_KEYS} <= {*columns}:
        return frozenset((*TICKET_KEYS, "asked"))
    return frozenset(ADDED_KEYS) if {*ADDED_KEYS} <= {*columns} else frozenset()


def _day_first(found: Columns, rows: Sequence[Sequence[str]]) -> bool | None:
    place = found.fields.get("created_at")
    return None if place is None else day_comes_first(row[place] for row in rows if place < len(row))


def _encoding_said(decoder: Decoder) -> str:
    if decoder.fallback:
        return decoder.fallback
    return "utf-8" if decoder.encoding == "utf-8-sig" else decoder.encoding


def _taken(found: Columns, columns: Sequence[str], *how: str) -> str:
    pairs = ", ".join(f"{field} ← {columns[place].strip()}" for field, place in found.fields.items())
    desk = (f"{found.helpdesk} export",) if found.helpdesk else ()
    return "; ".join(part for part in (pairs, ", ".join(desk + how)) if part)


def _check_width(width: int, name: str) -> None:
    if width > _WIDEST:
        raise InputError(f"{name} has {width:,} columns, more than any table of tickets", hint="is it the right file?")


def _no_text(name: str, columns: Sequence[str]) -> InputError:
    shown = ", ".join(column.strip() or "(no name)" for column in columns[:30]) + (", …" if len(columns) > 30 else "")
    return InputError(
        f"{name} has no column for a subject or a description; its columns are {shown}",
        hint='name one with --map description="COLUMN"',
    )
