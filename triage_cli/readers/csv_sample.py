"""Takes a sample of a CSV from its beginning: its first rows, its delimiter and its escapes."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from triage_cli.domain import UsageError, delimiter_named
from triage_cli.readers.csv_reader import MYSQL_ESCAPES, NO_ESCAPES, TSV_ESCAPES, Escapes, csv_rows, has_escapes
from triage_cli.readers.decoding import lines_of
from triage_cli.readers.table import triage_columns

SAMPLE_ROWS = 200  # rows by which delimiter and header are found
_COMMON_DELIMITERS = (",", ";", "\t", "|")
SEP_LINE = re.compile(r'^"?sep=(.)"?\s*$', re.IGNORECASE)


class CsvSample(NamedTuple):
    """The first rows of a CSV that are not blank, and the line on which each begins.

    `skip` is the number of lines before the table (`sep=;`).
    """

    delimiter: str
    rows: list[list[str]]
    lines: list[int]
    skip: int = 0
    escapes: Escapes = NO_ESCAPES


def delimiter_of(delimiter_option: str | None) -> str | None:
    """Return the given delimiter, None if there is none. Raises `UsageError` for an invalid one."""
    if delimiter_option is None:
        return None
    delimiter = delimiter_named(delimiter_option)
    if delimiter is None:
        raise UsageError(f'"{delimiter_option}" cannot delimit cells', hint="give one character, such as ';', or tab")
    return delimiter


def take_csv_sample(head_text: str, delimiter: str | None, *, whole: bool, has_bom: bool) -> CsvSample:
    """Return the first rows of a CSV, split by the given delimiter, or by the one that fits best.

    `has_bom` if the input began with a byte order mark, as triage's own exports for spreadsheets do.
    """
    lines = lines_of(head_text)
    skip = 0
    if lines and (sep_line := SEP_LINE.match(lines[0].lstrip("\ufeff"))):
        skip, lines = 1, lines[1:]
        delimiter = delimiter or sep_line[1]
    if not whole and len(lines) > 1:
        lines.pop()  # the last line is incomplete
    if delimiter is None:
        delimiter = max(
            _COMMON_DELIMITERS, key=lambda each: _delimiter_fitness([row for _, row in _sample_rows(lines, each)])
        )
    escapes = _escapes_of(lines, delimiter, has_bom=has_bom)
    numbered = _sample_rows(map(escapes.hide, lines), delimiter)
    rows = [list(map(escapes.value, row)) for _, row in numbered]
    return CsvSample(delimiter, rows, [line for line, _ in numbered], skip, escapes)


def _escapes_of(lines: Sequence[str], delimiter: str, *, has_bom: bool) -> Escapes:
    header: list[str] = next(csv_rows(lines[:1], delimiter), [])
    if triage_columns(header):
        by_spreadsheet = delimiter not in ",\t" or lines[0].endswith("\r\n")  # as triage writes only for those
        return (TSV_ESCAPES if delimiter == "\t" else NO_ESCAPES)._replace(guarded=has_bom or by_spreadsheet)
    return MYSQL_ESCAPES if has_escapes(lines, delimiter) else NO_ESCAPES


def _sample_rows(lines: Iterable[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the first rows that are not blank, each with the line on which it begins."""
    rows = []
    reader = csv_rows(lines, delimiter)
    line = 1
    for cells in reader:
        if any(map(str.strip, cells)):
            rows.append((line, cells))
            if len(rows) == SAMPLE_ROWS:
                break
        line = reader.line_num + 1
    return rows


def _delimiter_fitness(rows: Sequence[Sequence[str]]) -> float:
    """Return a score of how well rows agree on the number of cells, above all the header; more columns score higher."""
    if not rows:
        return 0.0
    width = Counter(map(len, rows)).most_common(1)[0][0]
    agreement = sum(len(row) == width for row in rows) / len(rows)
    column_score = 1 + math.log2(width) if width > 1 else 0.5
    return agreement * column_score * (1.0 if len(rows[0]) == width else 0.3)
