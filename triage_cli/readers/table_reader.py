"""Opens an input as a table: detects its format from the beginning, and streams the rows."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from typing import BinaryIO, NamedTuple

from triage_cli.domain.errors import InputError
from triage_cli.readers import mail_html
from triage_cli.readers.column_mapping import Columns, has_text, mapping_summary, matched, no_id_note
from triage_cli.readers.csv_escapes import MYSQL, NONE, EscapedRecords
from triage_cli.readers.csv_reader import CsvRecords
from triage_cli.readers.dates import UnreadDates, is_ambiguous, orders
from triage_cli.readers.decoding import LONGEST, Decoder, after_ascii, texts
from triage_cli.readers.header_row import AfterHeader, check_width, empty_columns, header_of, no_text
from triage_cli.readers.json_layout import Layout, layout_of, nested_keys
from triage_cli.readers.json_reader import JsonRecords, text_of
from triage_cli.readers.mail_files import MailFolder, mail_format
from triage_cli.readers.mail_message import mail_table
from triage_cli.readers.non_ticket_rows import without_totals
from triage_cli.readers.records import Records
from triage_cli.readers.row_mapping import Plan, drafts
from triage_cli.readers.sniff import (
    HEAD,
    Sample,
    decoder_for,
    delimiter_of,
    format_of,
    not_in,
    read_head,
    refuse_non_tables,
    sampled,
)  # fmt: skip
from triage_cli.readers.table import ReadOptions, Table, named_once, triage_columns

LONGEST_HEAD = 16 * LONGEST  # bytes that are examined if the first object is long, as with an attachment


class _Input(NamedTuple):
    """An input whose head was read, which may be the `whole`; `begin` is its start position, None for a pipe."""

    stream: BinaryIO
    name: str
    head: bytes
    decoder: Decoder
    begin: int | None
    options: ReadOptions
    whole: bool

    def blocks(self) -> Iterator[str]:
        """Yield the input as text."""
        return texts(self.stream, self.head, self.decoder)

    def dates(
        self, column_mapping: Columns, columns: Sequence[str], rows: Sequence[Sequence[str]], records: "_Reader"
    ) -> tuple[bool | None, UnreadDates]:
        """Return whether the day comes first in dates, decided by the first rows, or by all if these are ambiguous.

        With it comes what takes the dates that stay unread.
        """
        column = column_mapping.fields.get("created_at")
        if column is None:
            return None, UnreadDates("")
        sample = [row[column] for row in rows if column < len(row)]
        proven = orders(sample)
        if not proven and self.begin is not None and not self.whole and any(map(is_ambiguous, sample)):
            proven = self._proven(column, records)
        unread = UnreadDates(columns[column].strip(), contradictory=len(proven) > 1)
        return proven.pop() if len(proven) == 1 else None, unread

    def _proven(self, column: int, records: "_Reader") -> set[bool]:
        """Search the whole input for a row that proves the order of day and month."""
        position = self.stream.tell()
        self.stream.seek(self.begin or 0)
        try:
            for record in records(texts(self.stream, b"", Decoder(self.decoder.encoding))):
                if record.cells and (proven := orders(record.cells[column : column + 1])):
                    return proven
        finally:
            self.stream.seek(position)
        return set()


_Reader = Callable[[Iterable[str]], Records]


def open_table(stream: BinaryIO | MailFolder, name: str, options: ReadOptions = ReadOptions()) -> Table:  # noqa: B008 (immutable)
    """Return the tickets in a stream, which need not be seekable: its beginning is examined, the rest is streamed.

    A seekable stream may be searched first, if its beginning does not show the order of day and month in dates. Raises
    `InputError` for an input that is no table of tickets, and `UsageError` for options that do not fit it.
    """
    if isinstance(stream, MailFolder):
        return mail_table(stream.mails(), name, options)
    begin = stream.tell() if stream.seekable() else None
    head = read_head(stream, HEAD)
    if mails := mail_format(head, name, options.format):
        return mail_table(mails(stream, head), name, options)
    delimiter = delimiter_of(options.delimiter)
    decoder = decoder_for(head, options.encoding)
    refuse_non_tables(head, name)
    table_input = _Input(stream, name, head, decoder, begin, options, len(head) < HEAD)
    text = _head_text(table_input)
    kind = format_of(text, name, options.format)
    if kind in ("json", "jsonl"):
        return _json_table(*_laid_out(table_input, by_line=kind == "jsonl"))
    tabbed = "\t" if kind == "tsv" and options.format else None
    marked = head.startswith(codecs.BOM_UTF8)
    return _csv_table(table_input, sampled(text, delimiter or tabbed, whole=table_input.whole, marked=marked))


def _csv_table(table_input: _Input, sample: Sample) -> Table:
    options, decoder = table_input.options, table_input.decoder
    header = header_of(sample, table_input.name, options.mapping, headed=options.header)
    columns, column_mapping = header.columns, header.matched_columns

    # Files that were joined have byte order marks inside, before the header that is repeated.
    joint = re.compile(f'^\ufeff(?="?{re.escape(columns[0])})', re.MULTILINE)

    def records(blocks: Iterable[str]) -> Records:
        blocks = (joint.sub("", block) if "\ufeff" in block else block for block in blocks)
        if sample.escapes != NONE:
            return EscapedRecords(blocks, sample.delimiter, len(columns), sample.escapes)
        return CsvRecords(blocks, sample.delimiter, len(columns))

    day_first, unread = table_input.dates(column_mapping, columns, sample.rows[header.before :], records)
    plan = Plan(
        column_mapping.fields,
        tuple(named_once(columns)),
        options.source or column_mapping.helpdesk or "import",
        column_mapping.numbers,
        day_first,
        columns if header.before else None,
        triage_columns(columns),
        html=options.html,
    )
    html = _html_note(plan, sample.rows[header.before :])
    how = [decoder.described, "TAB" if sample.delimiter == "\t" else f"'{sample.delimiter}'"]
    rows = AfterHeader(records(table_input.blocks()), sample.skip + header.before)
    empty = "" if sample.rows[header.before :] or not table_input.whole else "the input has a header and no rows"
    return Table(
        columns,
        mapping_summary(column_mapping, columns, *how, *(["backslash escapes"] if sample.escapes == MYSQL else [])),
        plan.source,
        islice(without_totals(drafts(rows, plan, unread), sample.delimiter), options.limit),
        sample.delimiter,
        tuple(filter(None, (header.note, no_id_note(column_mapping, columns, options.mapping), html, empty))),
        table_input.name,
        header.before > 0,
        _remarks(decoder, unread),
    )


def _laid_out(table_input: _Input, *, by_line: bool) -> tuple[_Input, Layout]:
    """Return the layout of a JSON input; more of the input is examined if its first object is longer than the head."""
    while True:
        whole = table_input.whole
        try:
            return table_input, layout_of(_head_text(table_input), table_input.name, whole=whole, by_line=by_line)
        except InputError:
            if whole or len(table_input.head) > HEAD:
                raise
        head = read_head(table_input.stream, LONGEST_HEAD, table_input.head)
        table_input = table_input._replace(head=head, whole=len(head) < LONGEST_HEAD)


def _json_table(table_input: _Input, layout: Layout) -> Table:
    options = table_input.options
    columns = tuple(dict.fromkeys(key for item in layout.sample for key in item))
    check_width(len(columns), table_input.name)
    sample_rows = [[text_of(item.get(key)) for key in columns] for item in layout.sample]
    # Keys with lists or objects match no field, unless the user maps them: a list of comments is no description.
    nested = nested_keys(layout.sample)
    empty = empty_columns(sample_rows, len(columns))
    column_mapping = matched(columns, options.mapping, nested, empty) if columns else Columns({})
    if columns and not has_text(column_mapping.fields):
        advice = "a value inside of an object must be taken out first, for example by jq" if nested else ""
        raise no_text(table_input.name, columns, advice)

    def records(blocks: Iterable[str]) -> JsonRecords:
        return JsonRecords(blocks, columns, by_line=layout.by_line, start=layout.start)

    day_first, unread = table_input.dates(column_mapping, columns, sample_rows, records)
    empty_list = "" if layout.sample else "the input has no items"
    at_id = None if options.mapping.get("external_id") else column_mapping.fields.get("external_id")
    plan = Plan(
        column_mapping.fields,
        columns,
        options.source or column_mapping.helpdesk or "import",
        column_mapping.numbers,
        day_first,
        ours=triage_columns(columns),
        html=options.html,
        plain="" if at_id is None else columns[at_id],
        numbered=not layout.by_line,
    )
    html = _html_note(plan, sample_rows)
    return Table(
        columns,
        mapping_summary(column_mapping, columns, "JSON Lines" if layout.by_line else "JSON"),
        plan.source,
        islice(drafts(records(table_input.blocks()), plan, unread), options.limit),
        "",
        tuple(filter(None, (no_id_note(column_mapping, columns, options.mapping), html, empty_list))),
        table_input.name,
        remarks=_remarks(table_input.decoder, unread),
    )


def _remarks(decoder: Decoder, unread: UnreadDates) -> Callable[[], list[str]]:
    return lambda: [*decoder.remarks(), *unread.remarks()]


def _head_text(table_input: _Input) -> str:
    head, decoder = table_input.head, table_input.decoder
    whole = head if table_input.whole else head[: after_ascii(head)]
    # In one piece, so that the encoding is guessed from all of it.
    text = "".join(texts(BytesIO(), whole, decoder)) if decoder.wide else decoder.decode(whole)
    decoder.begin()
    if table_input.options.encoding and not decoder.fits:
        raise not_in(table_input.options.encoding)
    return text


def _html_note(plan: Plan, sample_rows: Sequence[Sequence[str]]) -> str:
    """Return a note if most descriptions hold HTML that is stored as it is; an export of ours is read as it was."""
    at = plan.fields.get("description")
    if at is None or plan.html or plan.ours:
        return ""
    cells = [row[at] for row in sample_rows if len(row) > at and row[at].strip()]
    if sum(map(mail_html.is_html, cells)) * 2 <= len(cells):
        return ""
    return "most descriptions hold HTML; --html stores what a reader sees of it"
