"""Matches columns to ticket fields: by the names of a helpdesk, common words of ten languages, or their content."""

import difflib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from triage_cli.domain import UsageError
from triage_cli.readers.cell_values import plain
from triage_cli.readers.dates import moment
from triage_cli.readers.helpdesks import recognised_helpdesk
from triage_cli.readers.table import triage_columns

FIELDS = ("subject", "description", "customer_id", "priority", "created_at", "external_id", "verdict")
_MOST_SHOWN = 30  # columns in a message, so that a wrong file does not fill a screen
_SHOWN_LENGTH = 40  # characters of each
_MOST_OFFERED = 6  # columns that could be the id, in a note
_PROSE_WORDS = 4  # mean number of words per cell from which on a column is prose
# The words by which headers name fields, in ten languages: `names` are compact, the best first, and may follow one of
# `prefixes`; `verdict` has none, because a person's decision is only read if --map says so. `words` stand in a longer
# header, as a last resort: "Detailed description of the problem" matches, "Project description" does not, because of
# `other_words`. Beside a header of `person`, a `Title` is a person's.
_WORDS = json.loads(Path(__file__).with_name("header_words.json").read_text("utf-8"))


def _word_list(lines: Sequence[str]) -> list[str]:
    return [word if word.isascii() else plain(word) for line in lines for word in line.split()]


_RANKS = {
    ticket_field: {name: rank for rank, name in reversed([*enumerate(_word_list(lines))])}
    for ticket_field, lines in _WORDS["names"].items()
}
_PREFIXES = _word_list(_WORDS["prefixes"])
_FIELD_WORDS = {ticket_field: {*_word_list(lines)} for ticket_field, lines in _WORDS["words"].items()}
_OTHER_WORDS = {*_word_list(_WORDS["other_words"])}
_PERSON_HEADERS = {*_word_list(_WORDS["person"])}


class UnknownColumnError(UsageError):
    """A column that the user named is none of the input's."""


class MatchedColumns(NamedTuple):
    """The column index of each field, and the recognised helpdesk, with its priorities by `numbers`."""

    fields: dict[str, int]
    helpdesk: str = ""
    numbers: Mapping[str, str] = {}


def shown(header: str) -> str:
    """Return a column's name for a message; the name may be any text."""
    header_text = header.strip() or "(no name)"
    return header_text if len(header_text) <= _SHOWN_LENGTH else f"{header_text[:_SHOWN_LENGTH]}…"


def listing(headers: Sequence[str], most: int = _MOST_SHOWN) -> str:
    """Return the names of at most so many columns for a message."""
    return ", ".join([*map(shown, headers[:most]), *["…"] * (len(headers) > most)])


def compact(header: str) -> str:
    """Return a header without case, accents, spaces and punctuation."""
    return plain(header).replace(" ", "")


def known_headers(headers: Sequence[str]) -> int:
    """Return how many of these headers match a field; a row of data matches at most one."""
    return len(_common_columns([compact(h) for h in headers], headers))


def id_column(headers: Sequence[str]) -> int | None:
    """Return the index of the column that an import would take for the ids; None without one."""
    return _best_column("external_id", [*map(compact, headers)], headers, range(len(headers)))


def has_text(fields: Mapping[str, int]) -> bool:
    """Return whether there is a subject or a description."""
    return "subject" in fields or "description" in fields


def match_columns(
    headers: Sequence[str],
    mapping: Mapping[str, str],
    closed_headers: AbstractSet[str] = frozenset(),
    empty_indexes: AbstractSet[int] = frozenset(),
) -> MatchedColumns:
    """Return the columns of the fields; `mapping` (field -> header) has priority, and an empty header omits a field.

    `closed_headers` are those that only `mapping` may use. `empty_indexes` are columns without values in the sample,
    which are used only if no other column matches. Raises `UsageError` for an unknown field or header.
    """
    header_keys = ["" if header in closed_headers else compact(header) for header in headers]
    helpdesk = recognised_helpdesk(set(map(compact, headers)))
    mapped_columns = {
        ticket_field: _mapped_column(ticket_field, name, headers) for ticket_field, name in mapping.items()
    }
    used_columns = {column_index for column_index in mapped_columns.values() if column_index is not None}
    fields = {
        ticket_field: column_index for ticket_field, column_index in mapped_columns.items() if column_index is not None
    }
    helpdesk_columns = {} if helpdesk is None else _helpdesk_columns(header_keys, helpdesk.fields, empty_indexes)
    for ticket_field, column_index in {
        **_common_columns(header_keys, headers, helpdesk_columns, empty_indexes),
        **helpdesk_columns,
    }.items():
        if ticket_field not in mapped_columns and column_index not in used_columns:
            fields[ticket_field] = column_index
            used_columns.add(column_index)
    ordered = {ticket_field: fields[ticket_field] for ticket_field in FIELDS if ticket_field in fields}
    return MatchedColumns(ordered, helpdesk.name, helpdesk.numbers) if helpdesk else MatchedColumns(ordered)


def _helpdesk_columns(
    header_keys: Sequence[str], helpdesk_names: Mapping[str, Sequence[str]], empty_indexes: AbstractSet[int]
) -> dict[str, int]:
    """Return the fields with a column that a helpdesk names, preferring columns with values."""
    columns_by_field = {
        ticket_field: [header_keys.index(name) for name in listed if name in header_keys]
        for ticket_field, listed in helpdesk_names.items()
    }
    return {
        ticket_field: next((column_index for column_index in indexes if column_index not in empty_indexes), indexes[0])
        for ticket_field, indexes in columns_by_field.items()
        if indexes
    }


def _mapped_column(ticket_field: str, mapped_header: str, headers: Sequence[str]) -> int | None:
    if ticket_field not in FIELDS:
        similar_names = difflib.get_close_matches(ticket_field, FIELDS, 1, 0.5)
        raise UsageError(
            f'--map: there is no field "{ticket_field}"',
            hint=f"did you mean {similar_names[0]}?" if similar_names else f"the fields are {', '.join(FIELDS)}",
        )
    if not mapped_header.strip():
        return None
    for header_form in (str, str.strip, compact):
        if header_form(mapped_header) in (header_forms := [header_form(header) for header in headers]):
            return header_forms.index(header_form(mapped_header))
    similar_names = difflib.get_close_matches(mapped_header.casefold(), [h.casefold() for h in headers], 1, 0.6)
    similar_headers = [h for h in headers if similar_names and h.casefold() == similar_names[0]]
    no_id_hint = "; for an input without ids write --map external_id=" if ticket_field == "external_id" else ""
    columns_hint = f"its columns are {listing(headers)}{no_id_hint}"
    raise UnknownColumnError(
        f'--map {ticket_field}: the input has no column "{mapped_header}"',
        hint=f'did you mean "{similar_headers[0].strip()}"?' if similar_headers else columns_hint,
    )


def _common_columns(
    header_keys: Sequence[str],
    headers: Sequence[str],
    helpdesk_columns: Mapping[str, int] | None = None,
    empty_indexes: AbstractSet[int] = frozenset(),
) -> dict[str, int]:
    """Return the fields that match by common words, each column for at most one field."""
    fields: dict[str, int] = {}
    used_columns = set((helpdesk_columns or {}).values())
    job_title = _job_title(header_keys)
    for ticket_field in _RANKS:
        indexes = [p for p in range(len(header_keys)) if header_keys[p] and p not in used_columns and p != job_title]
        column_index = _best_column(ticket_field, header_keys, headers, [p for p in indexes if p not in empty_indexes])
        if column_index is None:
            column_index = _best_column(ticket_field, header_keys, headers, indexes)
        if column_index is not None:
            fields[ticket_field] = column_index
            used_columns.add(column_index)
    return fields


def _best_column(
    ticket_field: str, header_keys: Sequence[str], headers: Sequence[str], indexes: Sequence[int]
) -> int | None:
    """Return the column that fits a field best, None if none fits."""
    ranked_columns = [
        (rank, column_index)
        for column_index in indexes
        if (rank := _header_rank(header_keys[column_index], _RANKS[ticket_field])) is not None
    ]
    return min(ranked_columns)[1] if ranked_columns else _column_with_word(ticket_field, headers, indexes)


def _header_rank(header_key: str, header_ranks: Mapping[str, int]) -> float | None:
    if header_key in header_ranks:
        return header_ranks[header_key]
    for prefix in _PREFIXES:
        if header_key.startswith(prefix) and (rank := header_ranks.get(header_key[len(prefix) :])) is not None:
            return rank + 0.5
    return None


def _job_title(header_keys: Sequence[str]) -> int | None:
    """Return the index of a `Title` that is a person's: beside an e-mail, or among parts of a name."""
    if "title" not in header_keys:
        return None
    column_index = header_keys.index("title")
    neighbours = {
        *header_keys[max(column_index - 1, 0) : column_index],
        *header_keys[column_index + 1 : column_index + 2],
    }
    return column_index if not _PERSON_HEADERS.isdisjoint(header_keys) or "email" in neighbours else None


def _column_with_word(ticket_field: str, headers: Sequence[str], indexes: Sequence[int]) -> int | None:
    field_words = _FIELD_WORDS.get(ticket_field, set())
    for column_index in indexes:
        header_words = set(plain(headers[column_index]).split())
        if header_words & field_words and header_words.isdisjoint(_OTHER_WORDS):
            return column_index
    return None


def by_content(sample_rows: Sequence[Sequence[str]], width: int) -> dict[str, int]:
    """Return the column index of each field that a sample of rows shows; empty without a column of prose."""
    cells_by_column: list[list[str]] = [[] for _ in range(width)]
    for sample_row in sample_rows:  # row by row, because one row may be a thousand times as wide as the others
        for column_cells, cell in zip(cells_by_column, map(str.strip, sample_row), strict=False):
            if cell:
                column_cells.append(cell)
    mean_words = [
        sum(len(cell.split()) for cell in column_cells) / max(len(column_cells), 1) for column_cells in cells_by_column
    ]
    prose_columns = [column_index for column_index in range(width) if mean_words[column_index] >= _PROSE_WORDS]
    prose_columns = sorted(prose_columns, key=lambda column_index: -mean_words[column_index])[:2]
    if not prose_columns:
        return {}
    fields = {"description": prose_columns[0]}
    if len(prose_columns) == 2:
        fields["subject"] = prose_columns[1]
    for column_index, column_cells in enumerate(cells_by_column):
        if column_index in prose_columns or not column_cells:
            continue
        if "created_at" not in fields and all(moment(cell) is not None and not cell.isdigit() for cell in column_cells):
            fields["created_at"] = column_index
        elif (
            column_index == 0
            and mean_words[column_index] == 1
            and len(set(column_cells)) == len(column_cells) == len(sample_rows)
        ):
            fields["external_id"] = column_index
    return fields


def no_id_note(column_mapping: MatchedColumns, columns: Sequence[str], mapping: Mapping[str, str]) -> str:
    """Return a note with the columns that could be the id, if no column is and the caller did not decide that."""
    unmatched = {*columns} - {columns[index] for index in column_mapping.fields.values()} - triage_columns(columns)
    unmatched_headers = [name for name in columns if name in unmatched and name.strip()]
    if "external_id" in (column_mapping.fields.keys() | mapping.keys()) or not unmatched_headers:
        return ""
    id_candidates = listing(unmatched_headers, _MOST_OFFERED)
    return (
        "no column is an id, so tickets are recognised by their content; "
        f"--map external_id=COLUMN names one of the columns without a field: {id_candidates}"
    )


def unused_columns(
    column_mapping: MatchedColumns, columns: Sequence[str], our_columns: AbstractSet[str]
) -> tuple[str, ...]:
    """Return the names of the columns without a field, which go to `extra`."""
    used_indexes = {*column_mapping.fields.values()}
    unused = (name for index, name in enumerate(columns) if index not in used_indexes and name not in our_columns)
    return tuple(dict.fromkeys(name for name in unused if name.strip()))


def mapping_summary(column_mapping: MatchedColumns, columns: Sequence[str], *how_read: str) -> str:
    """Return the column of each field, the helpdesk and how the input is read, in a sentence."""
    field_columns = ", ".join(f"{field} ← {shown(columns[index])}" for field, index in column_mapping.fields.items())
    helpdesk_export = (f"{column_mapping.helpdesk} export",) if column_mapping.helpdesk else ()
    return "; ".join(filter(None, (field_columns, ", ".join(helpdesk_export + how_read))))
