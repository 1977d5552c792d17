"""Detects the format of an input from its first bytes and its name, or raises why it is no table."""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from triage_cli.domain import InputError, UsageError
from triage_cli.readers.csv_sample import SEP_LINE
from triage_cli.readers.decoding import Decoder, lines_of, wide_encoding
from triage_cli.readers.mail_files import MAIL_FORMATS

HEAD_SIZE = 1 << 18  # bytes that are examined before the first ticket
TABLE_FORMATS = ("csv", "tsv", "json", "jsonl")
ALL_FORMATS = (*TABLE_FORMATS, *MAIL_FORMATS)
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
