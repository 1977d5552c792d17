"""Detects encoding, format and delimiter of an input from its first bytes, or raises why it is no table."""

import codecs
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import BinaryIO, NamedTuple

from triage_cli.domain.errors import InputError, UsageError
from triage_cli.readers.csv_escapes import MYSQL_ESCAPES, NO_ESCAPES, TSV_ESCAPES, Escapes, has_escapes
from triage_cli.readers.csv_reader import csv_rows, lines_of
from triage_cli.readers.decoding import NO_TEXT_ENCODINGS, Decoder
from triage_cli.readers.mail_files import MAIL_FORMATS
from triage_cli.readers.table import triage_columns

HEAD_SIZE = 1 << 18  # bytes that are examined before the first ticket
TABLE_FORMATS = ("csv", "tsv", "json", "jsonl")
ALL_FORMATS = (*TABLE_FORMATS, *MAIL_FORMATS)
_SAMPLE_ROWS = 200  # rows
_COMMON_DELIMITERS = (",", ";", "\t", "|")
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
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
_SEP_LINE = re.compile(r'^"?sep=(.)"?\s*$', re.IGNORECASE)


class CsvSample(NamedTuple):
    """The first rows of a CSV that are not blank, and the line on which each begins.

    `skip` is the number of lines before the table (`sep=;`).
    """

    delimiter: str
    rows: list[list[str]]
    lines: list[int]
    skip: int = 0
    escapes: Escapes = NO_ESCAPES


def read_head(stream: BinaryIO, size: int, head: bytes = b"") -> bytes:
    """Return the beginning of a stream, of which `head` was read; a pipe may deliver it in pieces."""
    while len(head) < size and (piece := stream.read(size - len(head))):
        head += piece
    return head


def refuse_non_tables(head: bytes, name: str) -> None:
    """Raise `InputError` for an input that is no text table: empty, markup, an archive, a pointer, binary."""
    if not head.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"):
        raise InputError(f"{name} is empty", hint="a table of tickets has a header with a subject or a description")
    for magic, non_table, hint in _MAGIC_BYTES:
        if head.startswith(magic):
            raise InputError(f"{name} is {non_table}", hint=hint)
    if _WEB_PAGE.match(head.removeprefix(codecs.BOM_UTF8)):
        raise InputError(
            f"{name} is a web page or XML, not a table of tickets",
            hint="a login page is often saved by mistake: download the export again, as CSV or JSON",
        )
    if not wide_encoding(head):
        head_start = head[:4096]
        most_controls = len(head_start) * 0.05
        controls, zeros = sum(map(head_start.count, _BINARY_CONTROLS)), head_start.count(0)
        if controls > most_controls or zeros > max(most_controls, 40):
            raise InputError(f"{name} is binary, not a table of tickets", hint="export the tickets as CSV or JSON")


def wide_encoding(head: bytes) -> str:
    """Return the encoding shown by a byte order mark, or by the zero bytes of UTF-16; empty if there are none."""
    for byte_order_mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(byte_order_mark):
            return encoding
    head_start = head[: 4096 - len(head[:4096]) % 2]
    even_zeros, odd_zeros = head_start[::2].count(0), head_start[1::2].count(0)
    half_length = max(len(head_start) // 2, 1)
    if odd_zeros > half_length * 0.4 and even_zeros < half_length * 0.1:
        return "utf-16-le"
    return "utf-16-be" if even_zeros > half_length * 0.4 and odd_zeros < half_length * 0.1 else ""


def decoder_for(head: bytes, encoding: str | None) -> Decoder:
    """Return the decoder of an input. Raises `UsageError` for an encoding that is unknown or does not fit."""
    if encoding is None:
        return Decoder(wide_encoding(head) or "utf-8")
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
        codec_name = codecs.lookup(encoding).name
    except (LookupError, UnicodeError, ValueError) as exc:
        raise _unknown_encoding(encoding) from exc
    if codec_name in NO_TEXT_ENCODINGS:
        raise _unknown_encoding(encoding)
    if codec_name == "utf-8":
        return Decoder("utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8")
    if codec_name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be") and wide_encoding(head) == codec_name[:6]:
        encoding = codec_name[:6]  # a byte order mark must not become part of the first column's name
    try:
        codecs.getincrementaldecoder(encoding)("replace").decode(head)
    except UnicodeError as exc:  # such as UTF-16 without a byte order mark
        raise wrong_encoding(encoding) from exc
    return Decoder(encoding)


def wrong_encoding(encoding: str) -> UsageError:
    """Return the error for an input that is in another encoding than the named one."""
    return UsageError(f"the input is not in {encoding}", hint="leave out --encoding: it is detected")


def _unknown_encoding(encoding_option: str) -> UsageError:
    return UsageError(f'there is no encoding "{encoding_option}"', hint="try utf-8, utf-16, cp1252 or mac-roman")


def text_lines(stream: BinaryIO) -> Iterator[str]:
    """Yield the lines of a list in any encoding, without what spreadsheets (`sep=;`) and DOS (Ctrl-Z) add."""
    first_line = stream.readline()
    decoder = Decoder("utf-8-sig")
    if encoding := wide_encoding(first_line):
        texts: Iterable[str] = [(first_line + stream.read()).decode(encoding, "replace")]
    else:
        texts = (decoder.decode(encoded_line) for encoded_line in chain([first_line], stream))
    for line_index, line in enumerate(chain.from_iterable(map(lines_of, texts))):
        if line.strip() != "\x1a" and (line_index or not _SEP_LINE.match(line.lstrip("\ufeff"))):
            yield line


def format_of(head_text: str, name: str, format_option: str | None) -> str:
    """Return `csv`, `tsv`, `json` or `jsonl`: as given, else by the beginning of the text, else by the file name."""
    if format_option is not None:
        if format_option.lower() not in TABLE_FORMATS:
            raise UsageError(f'there is no format "{format_option}"', hint=f"one of {', '.join(ALL_FORMATS)}")
        return format_option.lower()
    suffix = name.rpartition(".")[2].lower()
    if re.match(r'\s*(?:\{\s*["}]|\[\s*[\[{\]"\d])', head_text):
        return "json"
    if suffix in ("json", "jsonl", "ndjson"):
        return "json"
    return "tsv" if suffix in ("tsv", "tab") else "csv"


def delimiter_of(delimiter_option: str | None) -> str | None:
    """Return the given delimiter, None if there is none. Raises `UsageError` for an invalid one."""
    if delimiter_option is None:
        return None
    delimiter = _NAMED_DELIMITERS.get(delimiter_option.lower(), delimiter_option)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise UsageError(f'"{delimiter_option}" cannot delimit cells', hint="give one character, such as ';', or tab")
    return delimiter


def take_csv_sample(head_text: str, delimiter: str | None, *, whole: bool, has_bom: bool) -> CsvSample:
    """Return the first rows of a CSV, split by the given delimiter, or by the one that fits best.

    `has_bom` if the input began with a byte order mark, as triage's own exports for spreadsheets do.
    """
    head_lines = lines_of(head_text)
    skip = 0
    if head_lines and (sep_line := _SEP_LINE.match(head_lines[0].lstrip("\ufeff"))):
        skip, head_lines = 1, head_lines[1:]
        delimiter = delimiter or sep_line[1]
    if not whole and len(head_lines) > 1:
        head_lines.pop()  # the last line is incomplete
    if delimiter is None:
        delimiter = max(
            _COMMON_DELIMITERS, key=lambda each: _delimiter_fitness([row for _, row in _sample_rows(head_lines, each)])
        )
    escapes = _escapes_of(head_lines, delimiter, has_bom=has_bom)
    numbered_rows = _sample_rows(map(escapes.hide, head_lines), delimiter)
    rows = [list(map(escapes.value, row)) for _, row in numbered_rows]
    return CsvSample(delimiter, rows, [line for line, _ in numbered_rows], skip, escapes)


def _escapes_of(head_lines: Sequence[str], delimiter: str, *, has_bom: bool) -> Escapes:
    header: list[str] = next(csv_rows(head_lines[:1], delimiter), [])
    if triage_columns(header):
        by_spreadsheet = delimiter not in ",\t" or head_lines[0].endswith("\r\n")  # as triage writes only for those
        return (TSV_ESCAPES if delimiter == "\t" else NO_ESCAPES)._replace(guarded=has_bom or by_spreadsheet)
    return MYSQL_ESCAPES if has_escapes(head_lines, delimiter) else NO_ESCAPES


def _sample_rows(head_lines: Iterable[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the first rows that are not blank, each with the line on which it begins."""
    sample_rows = []
    csv_reader = csv_rows(head_lines, delimiter)
    row_line = 1
    for cells in csv_reader:
        if any(map(str.strip, cells)):
            sample_rows.append((row_line, cells))
            if len(sample_rows) == _SAMPLE_ROWS:
                break
        row_line = csv_reader.line_num + 1
    return sample_rows


def _delimiter_fitness(sample_rows: Sequence[Sequence[str]]) -> float:
    """Return a score of how well rows agree on the number of cells, above all the header; more columns score higher."""
    if not sample_rows:
        return 0.0
    usual_width = Counter(map(len, sample_rows)).most_common(1)[0][0]
    agreement = sum(len(row) == usual_width for row in sample_rows) / len(sample_rows)
    column_score = 1 + math.log2(usual_width) if usual_width > 1 else 0.5
    return agreement * column_score * (1.0 if len(sample_rows[0]) == usual_width else 0.3)
