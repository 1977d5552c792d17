"""Matches columns to ticket fields: by the names of a helpdesk, common words of eleven languages, or their content."""

import difflib
import json
import shlex
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.readers.cell_values import plain
from triage_cli.readers.dates import moment
from triage_cli.readers.table import LABEL_HEADERS, triage_columns


class Helpdesk(NamedTuple):
    """The columns of a helpdesk's export; names are compact (`createdat`).

    It is recognised by one column of each set in `needs`, and at least `marks_needed` columns of `marks`.
    """

    name: str
    needs: Sequence[AbstractSet[str]]
    marks: AbstractSet[str]
    marks_needed: int
    fields: Mapping[str, Sequence[str]]
    numbers: Mapping[str, str] = {}


HELPDESKS = [
    Helpdesk(
        desk["name"],
        [{*words.split()} for words in desk["needs"]],
        {*" ".join(desk["marks"]).split()},
        desk["marks_needed"],
        {ticket_field: words.split() for ticket_field, words in desk["fields"].items()},
        desk.get("numbers", {}),
    )
    for desk in json.loads(Path(__file__).with_name("helpdesks.json").read_text("utf-8"))
]


def recognised_helpdesk(column_names: AbstractSet[str]) -> Helpdesk | None:
    """Return the helpdesk whose export has these (compact) column names."""
    for desk in HELPDESKS:
        if all(needed & column_names for needed in desk.needs) and len(desk.marks & column_names) >= desk.marks_needed:
            return desk
    return None


_MOST_SHOWN = 30  # columns in a message, so that a wrong file does not fill a screen
_SHOWN_LENGTH = 40  # characters of each
_MOST_OFFERED = 6  # columns that could be the id, in a note
_PROSE_WORDS = 4  # mean number of words per cell from which on a column is prose
# The words by which headers name fields in eleven languages: `names` are compact, the best first, and may follow one of
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


class UnknownColumnError(dm.UsageError):
    """A column that the user named is none of the input's."""


class MatchedColumns(NamedTuple):
    """The column index of each field, and the recognised helpdesk, with its priorities by `numbers`."""

    fields: dict[str, int]
    helpdesk: str = ""
    numbers: Mapping[str, str] = {}


def shown_header(header: str) -> str:
    """Return a column's name for a message; the name may be any text."""
    text = header.strip() or "(no name)"
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def listing(headers: Sequence[str], most: int = _MOST_SHOWN) -> str:
    """Return the names of at most so many columns for a message."""
    return ", ".join([*map(shown_header, headers[:most]), *["…"] * (len(headers) > most)])


def compact(header: str) -> str:
    """Return a header without case, accents, spaces and punctuation."""
    return plain(header).replace(" ", "")


def names_other_field(header: str) -> bool:
    """Return whether a header is that of a customer, a priority, a time or an id."""
    return any(compact(header) in _RANKS[name] for name in ("customer_id", "priority", "created_at", "external_id"))


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
    keys = ["" if header in closed_headers else compact(header) for header in headers]
    helpdesk = recognised_helpdesk(set(map(compact, headers)))
    mapped = {field: _mapped_column(field, name, headers) for field, name in mapping.items()}
    used = {index for index in mapped.values() if index is not None}
    fields = {field: index for field, index in mapped.items() if index is not None}
    helpdesk_columns = {} if helpdesk is None else _helpdesk_columns(keys, helpdesk.fields, empty_indexes)
    for field, index in {**_common_columns(keys, headers, helpdesk_columns, empty_indexes), **helpdesk_columns}.items():
        if field not in mapped and index not in used:
            fields[field] = index
            used.add(index)
    ordered = {field: fields[field] for field in dm.IMPORT_FIELDS if field in fields}
    return MatchedColumns(ordered, helpdesk.name, helpdesk.numbers) if helpdesk else MatchedColumns(ordered)


def _helpdesk_columns(
    keys: Sequence[str], helpdesk_names: Mapping[str, Sequence[str]], empty_indexes: AbstractSet[int]
) -> dict[str, int]:
    """Return the fields with a column that a helpdesk names, preferring columns with values."""
    columns_by_field = {
        field: [keys.index(name) for name in listed if name in keys] for field, listed in helpdesk_names.items()
    }
    return {
        field: next((index for index in indexes if index not in empty_indexes), indexes[0])
        for field, indexes in columns_by_field.items()
        if indexes
    }


def _mapped_column(field: str, mapped_header: str, headers: Sequence[str]) -> int | None:
    if field not in dm.IMPORT_FIELDS:
        raise dm.UsageError(f'--map: there is no field "{field}"', hint=_field_hint(field, mapped_header))
    if not mapped_header.strip():
        return None
    for header_form in (str, str.strip, compact):
        if header_form(mapped_header) in (header_forms := [header_form(header) for header in headers]):
            return header_forms.index(header_form(mapped_header))
    similar_names = difflib.get_close_matches(mapped_header.casefold(), [h.casefold() for h in headers], 1, 0.6)
    similar_headers = [h for h in headers if similar_names and h.casefold() == similar_names[0]]
    no_id_hint = "; for an input without ids write --map external_id=" if field == "external_id" else ""
    columns_hint = f"its columns are {listing(headers)}{no_id_hint}"
    raise UnknownColumnError(
        f'--map {field}: the input has no column "{mapped_header}"',
        hint=f'did you mean "{similar_headers[0].strip()}"?' if similar_headers else columns_hint,
    )


def _field_hint(field: str, mapped_header: str) -> str:
    """Return what to type in place of a name that is no field."""
    if field.casefold() in LABEL_HEADERS:
        column = shlex.quote(mapped_header or "COLUMN")
        decided = f"--map verdict={column} takes it as people's decisions, which are sent"
        return f"{decided}; {dm.Step.LEARN} FILE --label {column} as labels to learn from"
    similar_names = difflib.get_close_matches(field, dm.IMPORT_FIELDS, 1, 0.5)
    return f"did you mean {similar_names[0]}?" if similar_names else f"the fields are {', '.join(dm.IMPORT_FIELDS)}"


def _common_columns(
    keys: Sequence[str],
    headers: Sequence[str],
    helpdesk_columns: Mapping[str, int] | None = None,
    empty_indexes: AbstractSet[int] = frozenset(),
) -> dict[str, int]:
    """Return the fields that match by common words, each column for at most one field."""
    fields: dict[str, int] = {}
    used = set((helpdesk_columns or {}).values())
    job_title = _job_title(keys)
    for field in _RANKS:
        indexes = [p for p in range(len(keys)) if keys[p] and p not in used and p != job_title]
        index = _best_column(field, keys, headers, [p for p in indexes if p not in empty_indexes])
        if index is None:
            index = _best_column(field, keys, headers, indexes)
        if index is not None:
            fields[field] = index
            used.add(index)
    return fields


def _best_column(field: str, keys: Sequence[str], headers: Sequence[str], indexes: Sequence[int]) -> int | None:
    """Return the column that fits a field best, None if none fits."""
    ranked = [(rank, index) for index in indexes if (rank := _header_rank(keys[index], _RANKS[field])) is not None]
    return min(ranked)[1] if ranked else _column_with_word(field, headers, indexes)


def _header_rank(header_key: str, header_ranks: Mapping[str, int]) -> float | None:
    if header_key in header_ranks:
        return header_ranks[header_key]
    for prefix in _PREFIXES:
        if header_key.startswith(prefix) and (rank := header_ranks.get(header_key[len(prefix) :])) is not None:
            return rank + 0.5
    return None


def _job_title(keys: Sequence[str]) -> int | None:
    """Return the index of a `Title` that is a person's: beside an e-mail, or among parts of a name."""
    if "title" not in keys:
        return None
    index = keys.index("title")
    neighbours = {*keys[max(index - 1, 0) : index], *keys[index + 1 : index + 2]}
    return index if not _PERSON_HEADERS.isdisjoint(keys) or "email" in neighbours else None


def _column_with_word(field: str, headers: Sequence[str], indexes: Sequence[int]) -> int | None:
    field_words = _FIELD_WORDS.get(field, set())
    for index in indexes:
        header_words = set(plain(headers[index]).split())
        if header_words & field_words and header_words.isdisjoint(_OTHER_WORDS):
            return index
    return None


def by_content(rows: Sequence[Sequence[str]], width: int) -> dict[str, int]:
    """Return the column index of each field that a sample of rows shows; empty without a column of prose."""
    cells_by_column: list[list[str]] = [[] for _ in range(width)]
    for row in rows:  # row by row, because one row may be a thousand times as wide as the others
        for cells, cell in zip(cells_by_column, map(str.strip, row), strict=False):
            if cell:
                cells.append(cell)
    mean_words = [sum(len(cell.split()) for cell in cells) / max(len(cells), 1) for cells in cells_by_column]
    prose = [index for index in range(width) if mean_words[index] >= _PROSE_WORDS]
    prose = sorted(prose, key=lambda index: -mean_words[index])[:2]
    if not prose:
        return {}
    fields = {"description": prose[0]}
    if len(prose) == 2:
        fields["subject"] = prose[1]
    for index, cells in enumerate(cells_by_column):
        if index in prose or not cells:
            continue
        if "created_at" not in fields and all(moment(cell) is not None and not cell.isdigit() for cell in cells):
            fields["created_at"] = index
        elif index == 0 and mean_words[index] == 1 and len(set(cells)) == len(cells) == len(rows):
            fields["external_id"] = index
    return fields


def no_id_note(matched: MatchedColumns, columns: Sequence[str], mapping: Mapping[str, str]) -> str:
    """Return a note with the columns that could be the id, if no column is and the caller did not decide that."""
    unmatched = {*columns} - {columns[index] for index in matched.fields.values()} - triage_columns(columns)
    unmatched_headers = [name for name in columns if name in unmatched and name.strip()]
    if "external_id" in (matched.fields.keys() | mapping.keys()) or not unmatched_headers:
        return ""
    id_candidates = listing(unmatched_headers, _MOST_OFFERED)
    return (
        "no column is an id, so tickets are recognised by their content; "
        f"--map external_id=COLUMN names one of the columns without a field: {id_candidates}"
    )


def unused_columns(matched: MatchedColumns, columns: Sequence[str], our_columns: AbstractSet[str]) -> tuple[str, ...]:
    """Return the names of the columns without a field, which go to `extra`."""
    used_indexes = {*matched.fields.values()}
    unused = (name for index, name in enumerate(columns) if index not in used_indexes and name not in our_columns)
    return tuple(dict.fromkeys(name for name in unused if name.strip()))


def html_remarks(html_fields: AbstractSet[str]) -> list[str]:
    """Return how the mapping says that fields are read as the text of their HTML."""
    fields = " and ".join(field for field in dm.IMPORT_FIELDS if field in html_fields)
    return [f"HTML of {fields} as text"] if fields else []


def mapping_summary(matched: MatchedColumns, columns: Sequence[str], *how_read: str) -> str:
    """Return the column of each field, the helpdesk and how the input is read, in a sentence."""
    field_columns = ", ".join(f"{field} ← {shown_header(columns[index])}" for field, index in matched.fields.items())
    helpdesk_export = (f"{matched.helpdesk} export",) if matched.helpdesk else ()
    return "; ".join(filter(None, (field_columns, ", ".join(helpdesk_export + how_read))))
