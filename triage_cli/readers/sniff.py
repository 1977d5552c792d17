"""Detects encoding, format and delimiter of an input from its first bytes, or raises why it is no table."""

import codecs
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import BinaryIO, NamedTuple

from triage_cli.domain.errors import InputError, UsageError
from triage_cli.readers.csv_escapes import MYSQL, NONE, TSV, Escapes, is_escaped
from triage_cli.readers.csv_reader import csv_rows, lines_of
from triage_cli.readers.decoding import NO_TEXTS, Decoder
from triage_cli.readers.mail_files import FORMATS as MAILS
from triage_cli.readers.table import triage_columns

HEAD = 1 << 18  # bytes that are examined before the first ticket
FORMATS = ("csv", "tsv", "json", "jsonl")
ALL_FORMATS = (*FORMATS, *MAILS)
_SAMPLE = 200  # rows
_DELIMITERS = (",", ";", "\t", "|")
_NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = (
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
_CONTROLS = tuple(
    n for n in range(1, 32) if n not in (9, 10, 11, 12, 13, 26, 27)
)  # control characters that no text has
_MARKUP = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml|!--|[a-z]+[ >/])", re.IGNORECASE)
_SEP = re.compile(r'^"?sep=(.)"?\s*$', re.IGNORECASE)


class Sample(NamedTuple):
    """The first rows of a CSV that are not blank, and the line on which each begins.

    `skip` is the number of lines before the table (`sep=;`).
    """

    delimiter: str
    rows: list[list[str]]
    lines: list[int]
    skip: int = 0
    escapes: Escapes = NONE


def read_head(stream: BinaryIO, size: int, head: bytes = b"") -> bytes:
    """Return the beginning of a stream, of which `head` was read; a pipe may deliver it in pieces."""
    while len(head) < size and (piece := stream.read(size - len(head))):
        head += piece
    return head


def refuse_non_tables(head: bytes, name: str) -> None:
    """Raise `InputError` for an input that is no text table: empty, markup, an archive, a pointer, binary."""
    if not head.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"):
        raise InputError(f"{name} is empty", hint="a table of tickets has a header with a subject or a description")
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise InputError(f"{name} is {what}", hint=hint)
    if _MARKUP.match(head.removeprefix(codecs.BOM_UTF8)):
        raise InputError(
            f"{name} is a web page or XML, not a table of tickets",
            hint="a login page is often saved by mistake: download the export again, as CSV or JSON",
        )
    if not wide_encoding(head):
        start = head[:4096]
        if sum(map(start.count, _CONTROLS)) > len(start) * 0.05 or start.count(0) > max(len(start) * 0.05, 40):
            raise InputError(f"{name} is binary, not a table of tickets", hint="export the tickets as CSV or JSON")


def wide_encoding(head: bytes) -> str:
    """Return the encoding shown by a byte order mark, or by the zero bytes of UTF-16; empty if there are none."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    start = head[: 4096 - len(head[:4096]) % 2]
    even, odd, half = start[::2].count(0), start[1::2].count(0), max(len(start) // 2, 1)
    if odd > half * 0.4 and even < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > half * 0.4 and odd < half * 0.1 else ""


def decoder_for(head: bytes, encoding: str | None) -> Decoder:
    """Return the decoder of an input. Raises `UsageError` for an encoding that is unknown or does not fit."""
    if encoding is None:
        return Decoder(wide_encoding(head) or "utf-8")
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
        codec = codecs.lookup(encoding).name
    except (LookupError, UnicodeError, ValueError) as exc:
        raise _no_encoding(encoding) from exc
    if codec in NO_TEXTS:
        raise _no_encoding(encoding)
    if codec == "utf-8":
        return Decoder("utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8")
    if codec in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be") and wide_encoding(head) == codec[:6]:
        encoding = codec[:6]  # a byte order mark must not become part of the first column's name
    try:
        codecs.getincrementaldecoder(encoding)("replace").decode(head)
    except UnicodeError as exc:  # such as UTF-16 without a byte order mark
        raise not_in(encoding) from exc
    return Decoder(encoding)


def not_in(encoding: str) -> UsageError:
    """Return the error for an input that is in another encoding than the named one."""
    return UsageError(f"the input is not in {encoding}", hint="leave out --encoding: it is detected")


def _no_encoding(name: str) -> UsageError:
    return UsageError(f'there is no encoding "{name}"', hint="try utf-8, utf-16, cp1252 or mac-roman")


def text_lines(stream: BinaryIO) -> Iterator[str]:
    """Yield the lines of a list in any encoding, without what spreadsheets (`sep=;`) and DOS (Ctrl-Z) add."""
    start = stream.readline()
    decoder = Decoder("utf-8-sig")
    if encoding := wide_encoding(start):
        texts: Iterable[str] = [(start + stream.read()).decode(encoding, "replace")]
    else:
        texts = (decoder.decode(encoded_line) for encoded_line in chain([start], stream))
    for number, line in enumerate(chain.from_iterable(map(lines_of, texts))):
        if line.strip() != "\x1a" and (number or not _SEP.match(line.lstrip("\ufeff"))):
            yield line


def format_of(text: str, name: str, option: str | None) -> str:
    """Return `csv`, `tsv`, `json` or `jsonl`: as given, else by the beginning of the text, else by the file name."""
    if option is not None:
        if option.lower() not in FORMATS:
            raise UsageError(f'there is no format "{option}"', hint=f"one of {', '.join(ALL_FORMATS)}")
        return option.lower()
    suffix = name.rpartition(".")[2].lower()
    if re.match(r'\s*(?:\{\s*["}]|\[\s*[\[{\]"\d])', text):
        return "json"
    if suffix in ("json", "jsonl", "ndjson"):
        return "json"
    return "tsv" if suffix in ("tsv", "tab") else "csv"


def delimiter_of(option: str | None) -> str | None:
    """Return the given delimiter, None if there is none. Raises `UsageError` for an invalid one."""
    if option is None:
        return None
    delimiter = _NAMED.get(option.lower(), option)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise UsageError(f'"{option}" cannot delimit cells', hint="give one character, such as ';', or tab")
    return delimiter


def sampled(text: str, delimiter: str | None, *, whole: bool, marked: bool) -> Sample:
    """Return the first rows of a CSV, split by the given delimiter, or by the one that fits best.

    `marked` if the input began with a byte order mark, as triage's own exports for spreadsheets do.
    """
    lines = lines_of(text)
    skip = 0
    if lines and (declared := _SEP.match(lines[0].lstrip("\ufeff"))):
        skip, lines = 1, lines[1:]
        delimiter = delimiter or declared[1]
    if not whole and len(lines) > 1:
        lines.pop()  # the last line is incomplete
    if delimiter is None:
        delimiter = max(_DELIMITERS, key=lambda each: _fitness([row for _, row in _rows(lines, each)]))
    escapes = _escapes_of(lines, delimiter, marked=marked)
    numbered_rows = _rows(map(escapes.hide, lines), delimiter)
    rows = [list(map(escapes.value, row)) for _, row in numbered_rows]
    return Sample(delimiter, rows, [line for line, _ in numbered_rows], skip, escapes)


def _escapes_of(lines: Sequence[str], delimiter: str, *, marked: bool) -> Escapes:
    header: list[str] = next(csv_rows(lines[:1], delimiter), [])
    if triage_columns(header):
        by_spreadsheet = delimiter not in ",\t" or lines[0].endswith("\r\n")  # as triage writes only for those
        return (TSV if delimiter == "\t" else NONE)._replace(guarded=marked or by_spreadsheet)
    return MYSQL if is_escaped(lines, delimiter) else NONE


def _rows(lines: Iterable[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the first rows that are not blank, each with the line on which it begins."""
    rows = []
    reader = csv_rows(lines, delimiter)
    begin = 1
    for cells in reader:
        if any(map(str.strip, cells)):
            rows.append((begin, cells))
            if len(rows) == _SAMPLE:
                break
        begin = reader.line_num + 1
    return rows


def _fitness(rows: Sequence[Sequence[str]]) -> float:
    """Return a score of how well rows agree on the number of cells, above all the header; more columns score higher."""
    if not rows:
        return 0.0
    width = Counter(map(len, rows)).most_common(1)[0][0]
    agreement = sum(len(row) == width for row in rows) / len(rows)
    columns = 1 + math.log2(width) if width > 1 else 0.5
    return agreement * columns * (1.0 if len(rows[0]) == width else 0.3)
