"""Matches columns to ticket fields: by the names of a helpdesk, common words of seven languages, or their content."""

import difflib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from triage_cli.domain.errors import UsageError
from triage_cli.readers.cell_values import plain
from triage_cli.readers.dates import moment
from triage_cli.readers.header_names import (
    HEADER_PREFIXES,
    HEADER_RANKS,
    HEADER_WORDS,
    OTHER_HEADER_WORDS,
    PERSON_HEADERS,
)
from triage_cli.readers.helpdesks import recognised
from triage_cli.readers.table import triage_columns

FIELDS = ("subject", "description", "customer_id", "priority", "created_at", "external_id", "verdict")
_SHOWN = 30  # columns in a message, so that a wrong file does not fill a screen
_SHOWN_LENGTH = 40  # characters of each
_MOST_OFFERED = 6  # columns that could be the id, in a note
_PROSE = 4  # mean number of words per cell from which on a column is prose


class UnknownColumnError(UsageError):
    """A column that the user named is none of the input's."""


class Columns(NamedTuple):
    """The column index of each field, and the recognised helpdesk, with its priorities by `numbers`."""

    fields: dict[str, int]
    helpdesk: str = ""
    numbers: Mapping[str, str] = {}


def shown(header: str) -> str:
    """Return a column's name for a message; the name may be any text."""
    name = header.strip() or "(no name)"
    return name if len(name) <= _SHOWN_LENGTH else f"{name[:_SHOWN_LENGTH]}…"


def listing(headers: Sequence[str], most: int = _SHOWN) -> str:
    """Return the names of at most so many columns for a message."""
    return ", ".join([*map(shown, headers[:most]), *["…"] * (len(headers) > most)])


def compact(header: str) -> str:
    """Return a header without case, accents, spaces and punctuation."""
    return plain(header).replace(" ", "")


def known(headers: Sequence[str]) -> int:
    """Return how many of these headers match a field; a row of data matches at most one."""
    return len(_generic([compact(h) for h in headers], headers))


def id_column(headers: Sequence[str]) -> int | None:
    """Return the index of the column that an import would take for the ids; None without one."""
    return _best("external_id", [*map(compact, headers)], headers, range(len(headers)))


def has_text(fields: Mapping[str, int]) -> bool:
    """Return whether there is a subject or a description."""
    return "subject" in fields or "description" in fields


def matched(
    headers: Sequence[str],
    mapping: Mapping[str, str],
    closed: AbstractSet[str] = frozenset(),
    empty: AbstractSet[int] = frozenset(),
) -> Columns:
    """Return the columns of the fields; `mapping` (field -> header) has priority, and an empty header omits a field.

    `closed` are headers that only `mapping` may use. `empty` are the indexes of columns without values in the sample,
    which are used only if no other column matches. Raises `UsageError` for an unknown field or header.
    """
    header_keys = ["" if header in closed else compact(header) for header in headers]
    desk = recognised(set(map(compact, headers)))
    taken = {ticket_field: _mapped(ticket_field, name, headers) for ticket_field, name in mapping.items()}
    used = {column_index for column_index in taken.values() if column_index is not None}
    fields = {ticket_field: column_index for ticket_field, column_index in taken.items() if column_index is not None}
    exact = {} if desk is None else _exact(header_keys, desk.fields, empty)
    for ticket_field, column_index in {**_generic(header_keys, headers, exact, empty), **exact}.items():
        if ticket_field not in taken and column_index not in used:
            fields[ticket_field] = column_index
            used.add(column_index)
    ordered = {ticket_field: fields[ticket_field] for ticket_field in FIELDS if ticket_field in fields}
    return Columns(ordered, desk.name, desk.numbers) if desk else Columns(ordered)


def _exact(header_keys: Sequence[str], names: Mapping[str, Sequence[str]], empty: AbstractSet[int]) -> dict[str, int]:
    """Return the fields with a column that a helpdesk names, preferring columns with values."""
    columns_by_field = {
        ticket_field: [header_keys.index(name) for name in listed if name in header_keys]
        for ticket_field, listed in names.items()
    }
    return {
        ticket_field: next((column_index for column_index in indexes if column_index not in empty), indexes[0])
        for ticket_field, indexes in columns_by_field.items()
        if indexes
    }


def _mapped(ticket_field: str, name: str, headers: Sequence[str]) -> int | None:
    if ticket_field not in FIELDS:
        near = difflib.get_close_matches(ticket_field, FIELDS, 1, 0.5)
        raise UsageError(
            f'--map: there is no field "{ticket_field}"',
            hint=f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}",
        )
    if not name.strip():
        return None
    for form in (str, str.strip, compact):
        if form(name) in (options := [form(header) for header in headers]):
            return options.index(form(name))
    near = difflib.get_close_matches(name.casefold(), [h.casefold() for h in headers], 1, 0.6)
    same = [h for h in headers if near and h.casefold() == near[0]]
    none = "; for an input without ids write --map external_id=" if ticket_field == "external_id" else ""
    raise UnknownColumnError(
        f'--map {ticket_field}: the input has no column "{name}"',
        hint=f'did you mean "{same[0].strip()}"?' if same else f"its columns are {listing(headers)}{none}",
    )


def _generic(
    header_keys: Sequence[str],
    headers: Sequence[str],
    exact: Mapping[str, int] | None = None,
    empty: AbstractSet[int] = frozenset(),
) -> dict[str, int]:
    """Return the fields that match by common words, each column for at most one field."""
    fields: dict[str, int] = {}
    used = set((exact or {}).values())
    job = _job_title(header_keys)
    for ticket_field in HEADER_RANKS:
        indexes = [p for p in range(len(header_keys)) if header_keys[p] and p not in used and p != job]
        column_index = _best(ticket_field, header_keys, headers, [p for p in indexes if p not in empty])
        if column_index is None:
            column_index = _best(ticket_field, header_keys, headers, indexes)
        if column_index is not None:
            fields[ticket_field] = column_index
            used.add(column_index)
    return fields


def _best(ticket_field: str, header_keys: Sequence[str], headers: Sequence[str], indexes: Sequence[int]) -> int | None:
    """Return the column that fits a field best, None if none fits."""
    ranked = [
        (rank, column_index)
        for column_index in indexes
        if (rank := _rank(header_keys[column_index], HEADER_RANKS[ticket_field])) is not None
    ]
    return min(ranked)[1] if ranked else _containing(ticket_field, headers, indexes)


def _rank(key: str, ranks: Mapping[str, int]) -> float | None:
    if key in ranks:
        return ranks[key]
    for prefix in HEADER_PREFIXES:
        if key.startswith(prefix) and (rank := ranks.get(key[len(prefix) :])) is not None:
            return rank + 0.5
    return None


def _job_title(header_keys: Sequence[str]) -> int | None:
    """Return the index of a `Title` that is a person's: beside an e-mail, or among parts of a name."""
    if "title" not in header_keys:
        return None
    column_index = header_keys.index("title")
    beside = {*header_keys[max(column_index - 1, 0) : column_index], *header_keys[column_index + 1 : column_index + 2]}
    return column_index if not PERSON_HEADERS.isdisjoint(header_keys) or "email" in beside else None


def _containing(ticket_field: str, headers: Sequence[str], indexes: Sequence[int]) -> int | None:
    names = HEADER_WORDS.get(ticket_field, frozenset())
    for column_index in indexes:
        header_words = set(plain(headers[column_index]).split())
        if header_words & names and header_words.isdisjoint(OTHER_HEADER_WORDS):
            return column_index
    return None


def by_content(sample_rows: Sequence[Sequence[str]], width: int) -> dict[str, int]:
    """Return the column index of each field that a sample of rows shows; empty without a column of prose."""
    columns: list[list[str]] = [[] for _ in range(width)]
    for sample_row in sample_rows:  # row by row, because one row may be a thousand times as wide as the others
        for column, cell in zip(columns, map(str.strip, sample_row), strict=False):
            if cell:
                column.append(cell)
    mean_words = [sum(len(cell.split()) for cell in column) / max(len(column), 1) for column in columns]
    prose = [column_index for column_index in range(width) if mean_words[column_index] >= _PROSE]
    prose = sorted(prose, key=lambda column_index: -mean_words[column_index])[:2]
    if not prose:
        return {}
    fields = {"description": prose[0]}
    if len(prose) == 2:
        fields["subject"] = prose[1]
    for column_index, column in enumerate(columns):
        if column_index in prose or not column:
            continue
        if "created_at" not in fields and all(moment(cell) is not None and not cell.isdigit() for cell in column):
            fields["created_at"] = column_index
        elif (
            column_index == 0 and mean_words[column_index] == 1 and len(set(column)) == len(column) == len(sample_rows)
        ):
            fields["external_id"] = column_index
    return fields


def no_id_note(column_mapping: Columns, columns: Sequence[str], mapping: Mapping[str, str]) -> str:
    """Return a note with the columns that could be the id, if no column is and the caller did not decide that."""
    others = {*columns} - {columns[index] for index in column_mapping.fields.values()} - triage_columns(columns)
    names = [name for name in columns if name in others and name.strip()]
    if "external_id" in (column_mapping.fields.keys() | mapping.keys()) or not names:
        return ""
    return (
        "no column is an id, so tickets are recognised by their content; "
        f"--map external_id=COLUMN names one of the columns without a field: {listing(names, _MOST_OFFERED)}"
    )


def mapping_summary(column_mapping: Columns, columns: Sequence[str], *how_read: str) -> str:
    """Return the column of each field, the helpdesk and how the input is read, in a sentence."""
    pairs = ", ".join(f"{field} ← {shown(columns[index])}" for field, index in column_mapping.fields.items())
    desk = (f"{column_mapping.helpdesk} export",) if column_mapping.helpdesk else ()
    return "; ".join(part for part in (pairs, ", ".join(desk + how_read)) if part)
