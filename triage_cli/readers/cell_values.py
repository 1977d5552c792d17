"""Reads cells of any field: placeholders for nothing, plain words, ids that a spreadsheet keeps as formulas."""

import re
import unicodedata

_TEXT_FORMULA = re.compile(r'\s*="([^"]*)"\s*')
_PLACEHOLDERS = (
    "null", "none", "n/a", "na", "nan", "nil", "undefined", "(null)", "<null>", "#n/a", "\\n", "-", "--", "---",
    "\u2013", "\u2014", "?",
)  # fmt: skip
_PLACEHOLDER_FORMS = frozenset(
    form for word in _PLACEHOLDERS for form in (word, word.upper(), word.title(), word.capitalize())
) | {""}
_LONGEST_PLACEHOLDER = max(map(len, _PLACEHOLDER_FORMS))  # a longer text need not be looked up


def is_nothing(cell: str) -> bool:
    """Return whether a cell is empty or a placeholder for nothing."""
    cell_text = cell.strip()
    return len(cell_text) <= _LONGEST_PLACEHOLDER and cell_text in _PLACEHOLDER_FORMS


def stripped_or_none(cell: str) -> str | None:
    """Return a cell's text, None if the cell is empty."""
    return cell.strip() or None


def text_or_none(cell: str) -> str | None:
    """Return a cell's text, None if it is a placeholder for nothing."""
    cell_text = cell.strip()
    return None if len(cell_text) <= _LONGEST_PLACEHOLDER and cell_text in _PLACEHOLDER_FORMS else cell_text


def plain(cell_text: str) -> str:
    """Return a text in lower case without accents and punctuation, its words separated by single spaces."""
    if not cell_text.isascii():
        cell_text = "".join(c for c in unicodedata.normalize("NFKD", cell_text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", cell_text.casefold().replace("_", " ")))


def plain_id(cell: str) -> str:
    """Return an id without the formula that keeps its zeros in a spreadsheet, such as ="00042"."""
    match = _TEXT_FORMULA.fullmatch(cell) if '="' in cell else None
    return match[1] if match else cell
