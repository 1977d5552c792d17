"""Opens an input as a table: detects its format from the beginning, and streams the rows."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from io import BytesIO
from itertools import chain, islice
from typing import Any, BinaryIO, NamedTuple

from triage_cli import domain as dm
from triage_cli.readers import mail_html
from triage_cli.readers.cell_values import unread_priority_reason
from triage_cli.readers.column_mapping import (
    MatchedColumns,
    compact,
    has_text,
    html_remarks,
    listing,
    mapping_summary,
    match_columns,
    no_id_note,
    unused_columns,
)
from triage_cli.readers.csv_reader import (
    LINE_DELIMITER,
    LINE_ESCAPES,
    MYSQL_ESCAPES,
    NO_ESCAPES,
    CsvRecords,
    EscapedRecords,
)
from triage_cli.readers.csv_sample import (
    SAMPLE_ROWS,
    SEARCHED_ROWS,
    SEP_LINE,
    AfterHeader,
    CsvSample,
    check_column_count,
    delimiter_of,
    empty_columns,
    find_header,
    no_text_column,
    take_csv_sample,
)
from triage_cli.readers.dates import date_orders, is_ambiguous_date, unread_date_reason
from triage_cli.readers.decoding import (
    LONGEST,
    Decoder,
    after_ascii,
    decoded_blocks,
    decoder_for,
    lines_of,
    wide_encoding,
    wrong_encoding,
)
from triage_cli.readers.json_reader import JsonLayout, JsonRecords, json_cell, layout_of, nested_keys
from triage_cli.readers.mail_files import MAIL_FORMATS, MailFolder, RawMail, mail_format
from triage_cli.readers.records import Records
from triage_cli.readers.row_mapping import RowMapping, UnreadCells, UnreadFields, row_drafts, without_totals
from triage_cli.readers.table import ReadOptions, Table, triage_columns, unique_column_names

HeaderRows = Callable[[ReadOptions], Iterable[Sequence[str]]]


def with_kept_mapping(options: ReadOptions, header_rows: HeaderRows, name: str) -> ReadOptions:
    """Return the options for reading a file, with what its kept mapping says; what was typed overrules that.

    `header_rows` returns the rows that may be the header, if the file is read with some options. Raises `UsageError` if
    two mappings fit equally well, or the one that fits names a column that the file lacks.
    """
    plain = options._replace(kept=())
    if not options.header:
        return plain
    rows_by_format: dict[tuple[str | None, ...], list[Sequence[str]]] = {}
    fitting: list[tuple[int, dm.KeptMapping, ReadOptions, Sequence[str]]] = []
    for kept in options.kept:
        kept_options = _merged(plain, kept)
        needed = {*map(_key, kept.columns)}
        how_split = kept_options.format, kept_options.delimiter, kept_options.encoding
        if how_split not in rows_by_format:
            rows_by_format[how_split] = [*header_rows(kept_options)]
        header = next((row for row in rows_by_format[how_split] if needed <= {*map(_key, row)}), None)
        if header is not None:
            fitting.append((len(needed), kept, kept_options, header))
    most = max((number for number, *_ in fitting), default=0)
    best = [one for one in fitting if one[0] == most]
    if len(best) > 1:
        names = " and ".join(f"imports.{kept.name}" for _, kept, *_ in best)
        raise dm.UsageError(
            f"{names} fit {name} equally well, each by {most} of its columns",
            hint="add a column to one of them that only its files have",
        )
    for _, kept, kept_options, header in best:
        _check_columns(kept, options, header, name)
        return kept_options
    return plain


def _merged(options: ReadOptions, kept: dm.KeptMapping) -> ReadOptions:
    typed = {option: value for option in dm.FILE_OPTIONS if (value := getattr(options, option)) not in (None, "")}
    kept_options = {option: getattr(kept, option) for option in dm.FILE_OPTIONS}
    return options._replace(kept_as=kept.name, mapping={**kept.mapping, **options.mapping}, **kept_options | typed)


def _key(column: str) -> str:
    """Return a form of a column's name that is equal for names which `--map` takes for the same."""
    return compact(column) or column.strip()


def _check_columns(kept: dm.KeptMapping, options: ReadOptions, header: Sequence[str], name: str) -> None:
    columns = {*map(_key, header)}
    for field, column in kept.mapping.items():
        if column and field not in options.mapping and _key(column) not in columns:
            raise dm.UsageError(
                f'imports.{kept.name}.map.{field}: {name} has no column "{column}"',
                hint=f"its columns are {listing(header)}",
            )


HEAD_SIZE = 1 << 18  # bytes that are examined before the first ticket
LINES = "lines"  # the format of a text a line, which is never detected
ALL_FORMATS = (*dm.TABLE_FORMATS, LINES, *MAIL_FORMATS)
_MAGIC_BYTES = (
    (b"PK\x03\x04", "a ZIP or Excel workbook", "save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook or an Outlook message", "save a sheet as CSV, a message as .eml"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it first: gunzip -k FILE"),
    (b"BZh", "compressed by bzip2", "unpack it first"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first"),
    (b"%PDF", "a PDF document", "export the tickets as CSV or JSON"),
    (b"SQLite format 3", "an SQLite database", "export the tickets as CSV: sqlite3 -header -csv FILE 'select …'"),
    (b"PAR1", "a Parquet file", "export the tickets as CSV or JSON"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself", "fetch it: git lfs pull"),
)
_BINARY_CONTROLS = tuple(
    n for n in range(1, 32) if n not in (9, 10, 11, 12, 13, 26, 27)
)  # control characters that no text has
_WEB_PAGE = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml|!--|[a-z]+[ >/])", re.IGNORECASE)
LONGEST_HEAD = 16 * LONGEST  # bytes that are examined if the first object is long, as with an attachment


class _TableInput(NamedTuple):
    """An input whose head was read, which may be the `whole`; `begin` is its start position, None for a pipe."""

    stream: BinaryIO
    name: str
    head: bytes
    decoder: Decoder
    begin: int | None
    options: ReadOptions
    whole: bool

    def blocks(self) -> Iterator[str]:
        """Yield the input of the table as decoded text."""
        return decoded_blocks(self.stream, self.head, self.decoder)

    def day_order(
        self, matched: MatchedColumns, columns: Sequence[str], rows: Sequence[Sequence[str]], records: "_RecordReader"
    ) -> tuple[bool | None, UnreadFields]:
        """Return whether the day comes first in dates, decided by the first rows, or by all if these are ambiguous.

        With it comes what counts the priorities and the dates that stay unread.
        """
        column, priority_column = map(matched.fields.get, ("created_at", "priority"))
        unread_priorities = UnreadCells(
            "" if priority_column is None else columns[priority_column].strip(), unread_priority_reason
        )
        if column is None:
            return None, UnreadFields(unread_priorities, UnreadCells("", str))
        date_cells = [row[column] for row in rows if column < len(row)]
        proven_orders = date_orders(date_cells)
        if not proven_orders and self.begin is not None and not self.whole and any(map(is_ambiguous_date, date_cells)):
            proven_orders = self._search_order(column, records)
        reason = partial(unread_date_reason, contradictory=len(proven_orders) > 1)
        unread = UnreadFields(unread_priorities, UnreadCells(columns[column].strip(), reason))
        return proven_orders.pop() if len(proven_orders) == 1 else None, unread

    def _search_order(self, column: int, records: "_RecordReader") -> set[bool]:
        """Search the whole input for a row that proves the order of day and month."""
        stream_position = self.stream.tell()
        self.stream.seek(self.begin or 0)
        try:
            for record in records(decoded_blocks(self.stream, b"", Decoder(self.decoder.encoding))):
                if record.cells and (proven_orders := date_orders(record.cells[column : column + 1])):
                    return proven_orders
        finally:
            self.stream.seek(stream_position)
        return set()


_RecordReader = Callable[[Iterable[str]], Records]


def open_table(stream: BinaryIO | MailFolder, name: str, options: ReadOptions = ReadOptions()) -> Table:  # noqa: B008 (immutable)
    """Return the tickets in a stream, which need not be seekable: its beginning is examined, the rest is streamed.

    A seekable stream may be searched first, if its beginning does not show the order of day and month in dates. Raises
    `InputError` for an input that is no table of tickets, and `UsageError` for options that do not fit it.
    """
    if isinstance(stream, MailFolder):
        return _mail_table(stream.mails(), name, options)
    stream_start = stream.tell() if stream.seekable() else None
    head = read_head(stream, HEAD_SIZE)
    if mails := mail_format(head, name, options.format):
        return _mail_table(mails(stream, head), name, options)
    if options.kept:
        refuse_non_tables(head, name)
        options = with_kept_mapping(options, partial(_header_rows, head, name), name)
    delimiter = delimiter_of(options.delimiter)
    decoder = decoder_for(head, options.encoding)
    refuse_non_tables(head, name)
    table = _TableInput(stream, name, head, decoder, stream_start, options, len(head) < HEAD_SIZE)
    head_text = _head_text(table)
    table_format = format_of(head_text, name, options.format)
    if table_format in ("json", "jsonl"):
        return _json_table(*_json_input(table, by_line=table_format == "jsonl"))
    if table_format == LINES:
        return _line_table(table, head_text)
    tsv_delimiter = "\t" if table_format == "tsv" and options.format else None
    has_bom = head.startswith(codecs.BOM_UTF8)
    return _csv_table(table, take_csv_sample(head_text, delimiter or tsv_delimiter, whole=table.whole, has_bom=has_bom))


def _header_rows(head: bytes, name: str, options: ReadOptions) -> list[Sequence[str]]:
    """Return the rows at the beginning of an input that may be its header; none if it cannot be read so."""
    try:
        delimiter = delimiter_of(options.delimiter)
        decoder = decoder_for(head, options.encoding)
        table = _TableInput(BytesIO(), name, head, decoder, None, options, len(head) < HEAD_SIZE)
        head_text = _head_text(table)
        table_format = format_of(head_text, name, options.format)
        if table_format in ("json", "jsonl"):
            _, layout = _json_input(table, by_line=table_format == "jsonl")
            return [list(dict.fromkeys(key for item in layout.sample for key in item))]
        delimiter = delimiter or ("\t" if table_format == "tsv" and options.format else None)
        sample = take_csv_sample(head_text, delimiter, whole=table.whole, has_bom=head.startswith(codecs.BOM_UTF8))
        return [*sample.rows[:SEARCHED_ROWS]]
    except (dm.InputError, dm.UsageError):
        return []


def _mail_table(mails: Iterable[RawMail], name: str, options: ReadOptions) -> Table:
    from triage_cli.readers.mail_message import mail_table  # the package for mail is slow to import

    return mail_table(mails, name, options)._replace(added=dm.added_keys(options.prefix, options.questions))


def _csv_table(table: _TableInput, sample: CsvSample) -> Table:
    header = find_header(sample, table.name, table.options.mapping, headed=table.options.header)
    columns, matched = header.columns, header.matched_columns

    # Files that were joined have byte order marks inside, before the header that is repeated.
    inner_bom = re.compile(f'^\ufeff(?="?{re.escape(columns[0])})', re.MULTILINE)

    def csv_records(blocks: Iterable[str]) -> Records:
        blocks = (inner_bom.sub("", block) if "\ufeff" in block else block for block in blocks)
        if sample.escapes != NO_ESCAPES:
            return EscapedRecords(blocks, sample.delimiter, len(columns), sample.escapes)
        return CsvRecords(blocks, sample.delimiter, len(columns))

    rows = sample.rows[header.before :]
    delimiter = "TAB" if sample.delimiter == "\t" else f"'{sample.delimiter}'"
    escapes = ["backslash escapes"] if sample.escapes == MYSQL_ESCAPES else []
    beginning = _Beginning(
        columns,
        matched,
        rows,
        csv_records,
        [table.decoder.described, delimiter, *escapes],
        header.note,
        "" if rows or not table.whole else "the input has a header and no rows",
        headed=header.before > 0,
        delimiter=sample.delimiter,
        above=sample.skip + header.before,
    )
    header_cells = columns if header.before else None
    return _opened(table, beginning, column_names=tuple(unique_column_names(columns)), header=header_cells)


def _line_table(table: _TableInput, head_text: str) -> Table:
    columns = ("description",)
    matched = match_columns(columns, table.options.mapping)
    if not has_text(matched.fields):
        raise no_text_column(table.name, columns, "")
    rows = [[line.rstrip("\r\n")] for line in islice(filter(str.strip, lines_of(head_text)), SAMPLE_ROWS)]

    def line_records(blocks: Iterable[str]) -> EscapedRecords:
        return EscapedRecords(blocks, LINE_DELIMITER, 1, LINE_ESCAPES)

    beginning = _Beginning(columns, matched, rows, line_records, ["a ticket a line"], "", "", headed=False)
    return _opened(table, beginning, column_names=columns)


class _Beginning(NamedTuple):
    """What the beginning of an input shows: its columns and their fields, and how all of it is read.

    `how` says that in words. `empty` is the note that there are no rows, and `above` the number of records above them.
    """

    columns: tuple[str, ...]
    matched: MatchedColumns
    rows: Sequence[Sequence[str]]
    records: "_RecordReader"
    how: Sequence[str]
    note: str
    empty: str
    headed: bool = True
    delimiter: str = ""
    above: int = 0


def _opened(table: _TableInput, beginning: _Beginning, **row_reading: Any) -> Table:
    """Return the table of an input; `row_reading` is what its format adds to the mapping of rows."""
    options, columns, matched = table.options, beginning.columns, beginning.matched
    day_first, unread = table.day_order(matched, columns, beginning.rows, beginning.records)
    our_columns = triage_columns(columns, options.prefix, options.questions)
    html_fields = _html_fields(options.html, matched, beginning.rows, our_columns)
    mapping = RowMapping(
        matched.fields,
        source=options.source or matched.helpdesk or "import",
        priority_numbers=matched.numbers,
        day_first=day_first,
        our_columns=our_columns,
        html=html_fields,
        labels=frozenset(options.labels),
        **row_reading,
    )
    drafts = row_drafts(AfterHeader(beginning.records(table.blocks()), beginning.above), mapping, unread)
    if beginning.delimiter:
        drafts = without_totals(drafts, beginning.delimiter)
    kept = [f"imports.{options.kept_as}"] if options.kept_as else []
    return Table(
        columns,
        mapping_summary(matched, columns, *kept, *beginning.how, *html_remarks(html_fields)),
        mapping.source,
        islice(drafts, options.limit),
        beginning.delimiter,
        tuple(filter(None, (beginning.note, no_id_note(matched, columns, options.mapping), beginning.empty))),
        table.name,
        beginning.headed,
        lambda: [*table.decoder.remarks(), *unread.priorities.remarks(), *unread.dates.remarks()],
        added=dm.added_keys(options.prefix, options.questions),
        unused=unused_columns(matched, columns, our_columns),
        first_rows=beginning.rows[:SAMPLE_ROWS],
        fields={field: columns[index] for field, index in matched.fields.items()} if beginning.headed else {},
        read_as=options._replace(html=True if html_fields else options.html),
    )


def _json_input(table: _TableInput, *, by_line: bool) -> tuple[_TableInput, JsonLayout]:
    """Return the layout of a JSON input; more of the input is examined if its first object is longer than the head."""
    while True:
        is_whole = table.whole
        try:
            return table, layout_of(_head_text(table), table.name, whole=is_whole, by_line=by_line)
        except dm.InputError:
            if is_whole or len(table.head) > HEAD_SIZE:
                raise
        head = read_head(table.stream, LONGEST_HEAD, table.head)
        table = table._replace(head=head, whole=len(head) < LONGEST_HEAD)


def _json_table(table: _TableInput, layout: JsonLayout) -> Table:
    columns = tuple(dict.fromkeys(key for item in layout.sample for key in item))
    check_column_count(len(columns), table.name)
    rows = [[json_cell(item.get(key)) for key in columns] for item in layout.sample]
    # Keys with lists or objects match no field, unless the user maps them: a list of comments is no description.
    nested = nested_keys(layout.sample)
    empty_indexes = empty_columns(rows, len(columns))
    matched = match_columns(columns, table.options.mapping, nested, empty_indexes) if columns else MatchedColumns({})
    if columns and not has_text(matched.fields):
        advice = "a value inside of an object must be taken out first, for example by jq" if nested else ""
        raise no_text_column(table.name, columns, advice)

    def json_records(blocks: Iterable[str]) -> JsonRecords:
        return JsonRecords(blocks, columns, by_line=layout.by_line, start=layout.start)

    how = "JSON Lines" if layout.by_line else "JSON"
    empty = "" if layout.sample else "the input has no items"
    id_index = None if table.options.mapping.get("external_id") else matched.fields.get("external_id")
    id_key = "" if id_index is None else columns[id_index]
    beginning = _Beginning(columns, matched, rows, json_records, [how], "", empty)
    return _opened(table, beginning, column_names=columns, id_key=id_key, numbered=not layout.by_line)


def _head_text(table: _TableInput) -> str:
    """Return the head of a table's input as text. Raises `UsageError` if it is not in the encoding of the options."""
    head, decoder = table.head, table.decoder
    whole_lines = head if table.whole else head[: after_ascii(head)]
    # In one piece, so that the encoding is guessed from all of it.
    head_text = (
        "".join(decoded_blocks(BytesIO(), whole_lines, decoder)) if decoder.wide else decoder.decode(whole_lines)
    )
    decoder.begin()
    if table.options.encoding and not decoder.fits:
        raise wrong_encoding(table.options.encoding)
    return head_text


def _html_fields(
    html: bool | None, matched: MatchedColumns, rows: Sequence[Sequence[str]], our_columns: AbstractSet[str]
) -> frozenset[str]:
    """Return the fields whose HTML is read as text: those that are mostly HTML, and the description if that is asked.

    An export of ours is read as it was stored.
    """
    if html is False or (html is None and our_columns >= dm.EXPORTED_KEYS):
        return frozenset()
    fields = {field for field in ("subject", "description") if _is_mostly_html(matched.fields.get(field), rows)}
    return frozenset(fields | ({"description"} & matched.fields.keys() if html else set()))


def _is_mostly_html(column: int | None, rows: Sequence[Sequence[str]]) -> bool:
    if column is None:
        return False
    texts = [text for row in rows if len(row) > column and (text := row[column].strip())]
    return sum(map(mail_html.is_written_as_html, texts)) * 2 > len(texts)


def read_head(stream: BinaryIO, size: int, head: bytes = b"") -> bytes:
    """Return the beginning of a stream, of which `head` was read; a pipe may deliver it in pieces."""
    while len(head) < size and (piece := stream.read(size - len(head))):
        head += piece
    return head


def refuse_non_tables(head: bytes, name: str) -> None:
    """Raise `InputError` for an input that is no text table: empty, markup, an archive, a pointer, binary."""
    if not head.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"):
        raise dm.InputError(f"{name} is empty", hint="a table of tickets has a header with a subject or a description")
    for magic, non_table, hint in _MAGIC_BYTES:
        if head.startswith(magic):
            raise dm.InputError(f"{name} is {non_table}", hint=hint)
    if _WEB_PAGE.match(head.removeprefix(codecs.BOM_UTF8)):
        raise dm.InputError(
            f"{name} is a web page or XML, not a table of tickets",
            hint="a login page is often saved by mistake: download the export again, as CSV or JSON",
        )
    if not wide_encoding(head):
        head_start = head[:4096]
        most_controls = len(head_start) * 0.05
        controls, zeros = sum(map(head_start.count, _BINARY_CONTROLS)), head_start.count(0)
        if controls > most_controls or zeros > max(most_controls, 40):
            raise dm.InputError(f"{name} is binary, not a table of tickets", hint="export the tickets as CSV or JSON")


def text_lines(stream: BinaryIO) -> Iterator[str]:
    """Yield the lines of a list in any encoding, without what spreadsheets (`sep=;`) and DOS (Ctrl-Z) add."""
    first_line = stream.readline()
    decoder = Decoder("utf-8-sig")
    if encoding := wide_encoding(first_line):
        texts: Iterable[str] = [(first_line + stream.read()).decode(encoding, "replace")]
    else:
        texts = (decoder.decode(encoded_line) for encoded_line in chain([first_line], stream))
    for line_index, line in enumerate(chain.from_iterable(map(lines_of, texts))):
        if line.strip() != "\x1a" and (line_index or not SEP_LINE.match(line.lstrip("\ufeff"))):
            yield line


def format_of(head_text: str, name: str, format_option: str | None) -> str:
    """Return a format of `TABLE_FORMATS` or `LINES`: as given, else by the beginning of the text, else by the name."""
    if format_option is not None:
        if format_option.lower() not in (*dm.TABLE_FORMATS, LINES):
            raise dm.UsageError(f'there is no format "{format_option}"', hint=f"one of {', '.join(ALL_FORMATS)}")
        return format_option.lower()
    suffix = name.rpartition(".")[2].lower()
    if re.match(r'\s*(?:\{\s*["}]|\[\s*[\[{\]"\d])', head_text):
        return "json"
    if suffix in ("json", "jsonl", "ndjson"):
        return "json"
    return "tsv" if suffix in ("tsv", "tab") else "csv"
