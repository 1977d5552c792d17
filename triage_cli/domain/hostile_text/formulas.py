"""Texts that a spreadsheet would read as formulas, and the guard against them: an apostrophe before each.

A spreadsheet with another list separator reads a CSV differently: a semicolon, a tab (LibreOffice takes all three) or
the end of a line may then begin a cell, even inside of quotes, and quotes before a formula are dropped. So the guard is
at each of these places.
"""

import re

# The beginning of a cell, followed by one of the signs that begin a formula, also in full-width forms; ";-)" is none.
_CELL = "(^|[;\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029])"
_FORMULA = "'*[ \u00a0\"]*(?:[=+@\uff1d\uff0b\uff20]|[-\uff0d](?!\\)))"
_BLANK = "'*[\t\r]"  # at the beginning of a text, where spreadsheets may drop it
_UNGUARDED = re.compile(f"(^)(?={_BLANK})|{_CELL}(?={_FORMULA})")
_GUARDED = re.compile(f"(^)'(?={_BLANK})|{_CELL}'(?={_FORMULA})")


def guarded(text: str) -> str:
    """Return a text in which a spreadsheet finds no formula; `unguarded` reverses that for every text."""
    return _UNGUARDED.sub(r"\1\2'", text)


def unguarded(text: str) -> str:
    """Return a text without the apostrophes of `guarded`."""
    return _GUARDED.sub(r"\1\2", text)
