"""Invisible characters, and those by which a spreadsheet takes a text for a formula.

Guards look through invisible characters, outputs show them, and models do not get them. The table holds Unicode's
Default_Ignorable_Code_Point, Cf, Zl and Zp (a test compares it with the `regex` package), and characters that are drawn
as blanks without being Unicode blanks. Some of these shape the letters or emoji beside them, as in Persian or in emoji
of families. There they are part of the text and stay.

The guard against formulas is an apostrophe before each. A spreadsheet with another list separator reads a CSV
differently: a semicolon, a tab (LibreOffice takes all three) or the end of a line may then begin a cell, even inside of
quotes, and quotes before a formula are dropped. So the guard is at each of these places.
"""

import re
from collections.abc import Callable
from functools import cache

# Letters and symbols that are drawn as blanks: fillers of Hangul and Khitan, an empty Braille cell, a musical note
# without a head.
BLANKS = "\u115f\u1160\u2800\u3164\uffa0\U00016fe4\U0001d159"
# All invisible characters, as the inner part of a character class.
TABLE = (
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    f"\U0001d173-\U0001d17a\U000e0000-\U000e0fff{BLANKS}"
)
# Control characters except blanks and line ends, and surrogates.
CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff"
UNSEEN = re.compile(f"[{TABLE}{CONTROLS}]")
_CONTROL = re.compile(f"[{CONTROLS}]")
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # any control character but lines and tabs

# Scripts in which joiners choose the form of a letter: Arabic to Sinhala, South-East Asia, Mongolia, Indonesia.
_JOINING = "\u0620-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff"
_SYMBOL = "\u00a9\u00ae\u203c\u2049\u20e3\u2100-\u27ff\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SHAPING = "|".join(
    (
        f"(?<=[{_JOINING}])[\u200c\u200d]",
        f"(?<![{TABLE}])[\u200c\u200d](?=[{_JOINING}])",  # for example, "PDF" with a Persian ending
        f"(?<=[{_SYMBOL}])\ufe0f?\u200d(?=[{_SYMBOL}])",
        f"(?<=[{_SYMBOL}])[\ufe0e\ufe0f]",
        "(?<=[0-9#*])\ufe0f(?=\u20e3)",
        "(?<=\U0001f3f4)[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f",  # the flag of Scotland
        f"(?<=[{_IDEOGRAPH}])[\ufe00-\ufe0f\U000e0100-\U000e01ef]",
        "(?<=[\u1820-\u18aa])[\u180b-\u180f]",
        "(?<=[\u2801-\u28ff])\u2800|\u2800(?=[\u2801-\u28ff])",
        "(?<=[\U00013000-\U0001342f])[\U00013430-\U0001343f]",
        "[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]",  # visible signs
    )
)
# A shaping character matches with a group, a hidden one without. The lookahead makes the search fast.
_HIDDEN = f"(?=[{TABLE}])(?:({_SHAPING})|.)"
_LINE_ENDS = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_VISIBLE_ASCII = bytes(range(ord(" "), ord("~") + 1)) + b"\n"
_INVISIBLE_RUN = re.compile(f"[{TABLE}{CONTROLS}]+")


def is_plain(text: str) -> bool:
    """Return whether a text is visible ASCII, as most are: a quick check, for which a tab is not plain."""
    return text.isascii() and not text.encode().translate(None, _VISIBLE_ASCII)


def hides(text: str) -> bool:
    """Return whether a text has invisible characters."""
    return not is_plain(text) and UNSEEN.search(text) is not None


def readings(text: str) -> tuple[str, ...]:
    """Return the texts that guards check: without invisible characters, and, if there are any, with blanks instead."""
    return (UNSEEN.sub("", text), _INVISIBLE_RUN.sub(" ", text)) if hides(text) else (text,)


def readable(text: str) -> str:
    """Return a text as a reader sees it, without invisible characters except those that shape its letters."""
    if is_plain(text):
        return text
    text = _CONTROL.sub("", _LINE_ENDS.sub("\n", text))
    return replace_hidden(text, lambda char: " " if char in BLANKS else "")


def replace_hidden(text: str, instead: Callable[[str], str]) -> str:
    """Return a text with each hidden character replaced by `instead(char)`; characters that shape its letters stay."""
    if not hides(text):
        return text
    return _hidden_pattern().sub(lambda match: match.group(1) or instead(match.group()), text)


def visible(text: str) -> str:
    """Return a text whose hidden and control characters are written as escapes; lines and tabs stay."""
    shown = text if text.isascii() else replace_hidden(text, escape)
    return _NOT_TEXT.sub(lambda match: escape(match.group()), shown)


def escape(char: str) -> str:
    """Return an invisible character as an escape with 4 hexadecimal digits, or 8, as Python writes it."""
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@cache
def _hidden_pattern() -> re.Pattern[str]:
    return re.compile(_HIDDEN, re.DOTALL)  # compiled when needed: it takes 2 ms, and most texts hide nothing


def first_hidden(text: str) -> str:
    """Return the first hidden character of a text, or an empty text."""
    if not hides(text):
        return ""
    return next((match.group() for match in _hidden_pattern().finditer(text) if not match.group(1)), "")


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
