"""Texts that a spreadsheet would read as formulas, and the guard against them: an apostrophe before each.

A spreadsheet with another list separator reads a CSV differently: a semicolon, a tab (LibreOffice takes all three) or
the end of a line may then begin a cell, even inside of quotes, and quotes before a formula are dropped. So the guard is
at each of these places.
"""

import re

# The beginning of a cell, followed by one of the signs that begin a formula, also in full-width forms; ";-)" is none.
_CELL_BEGIN = "(^|[;\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029])"
_FORMULA = "'*[ \u00a0\"]*(?:[=+@\uff1d\uff0b\uff20]|[-\uff0d](?!\\)))"
_BLANK = "'*[\t\r]"  # at the beginning of a text, where spreadsheets may drop it before a formula
_UNGUARDED_FORMULA = re.compile(f"(^)(?={_BLANK})|{_CELL_BEGIN}(?={_FORMULA})")
_GUARDED_FORMULA = re.compile(f"(^)'(?={_BLANK})|{_CELL_BEGIN}'(?={_FORMULA})")


def guarded(text: str) -> str:
    """Return a text in which a spreadsheet finds no formula; `unguarded` reverses that for every text."""
    return _UNGUARDED_FORMULA.sub(r"\1\2'", text)


def unguarded(text: str) -> str:
    """Return a text without the apostrophes by which `guarded` keeps formulas from a spreadsheet."""
    return _GUARDED_FORMULA.sub(r"\1\2", text)
