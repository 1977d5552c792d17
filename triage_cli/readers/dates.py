"""Reads dates and times in any common format, decides the order of day and month, and counts the unread dates."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from triage_cli.domain.times import whole_second
from triage_cli.readers.cell_values import plain

_MONTHS = {
    word: number
    for number, spellings in enumerate((
        "jan ene gen янв", "feb fev фев", "mar mrt mrz mae мар", "apr abr avr апр", "may mai mag mei мая маи",
        "jun giu июн", "jul lug июл", "aug ago aou авг", "sep set сен", "oct okt out ott окт", "nov ноя",
        "dec dez dic дек",
    ), start=1)
    for word in spellings.split()
} | {"juin": 6, "juil": 7}  # fmt: skip
_ZONES = {
    "z": 0, "utc": 0, "gmt": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
    "cet": 1, "cest": 2,
}  # fmt: skip

_CLOCK = (
    r"(?:(?:,|,?[ T]\s*|,? (?:at|um|à|a las) )(?P<h>\d{1,2})[:h](?P<min>\d\d)(?::(?P<s>\d\d)(?:[.,]\d+)?)?"
    r"(?:\s*(?P<half>[ap])\.?\s?m\.?| uhr)?)?\s*(?P<zone>z|[a-z]{3,4}|(?:utc|gmt)?[+-]\d\d:?\d\d)?(?: \([^()]*\))?$"
)
_DAY = r"^(?:[^\W\d]{2,10}\.?,? )?"
_FORMS = (
    *(
        re.compile(form + _CLOCK, re.IGNORECASE)
        for form in (
            r"^(?P<y>\d{4})年(?P<m>\d{1,2})月(?P<d>\d{1,2})日",
            r"^(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
            r"^(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d\d)",
            _DAY + r"(?P<d>\d{1,2})(?:st|nd|rd|th|\.)?(?: (?:of|de) |[ /.-])"
            r"(?P<month>[^\W\d]{3,9})\.?,?(?: de |[ /.-])(?P<y>\d{4}|\d\d)",
            _DAY + r"(?P<month>[^\W\d]{3,9})\.?[ -](?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4})",
        )
    ),
    # The format of C's ctime and of the command `date`, with the year at the end.
    re.compile(
        _DAY + r"(?P<month>[a-z]{3}) {1,2}(?P<d>\d{1,2}) (?P<h>\d{1,2}):(?P<min>\d\d):(?P<s>\d\d)"
        r"(?: (?P<half>[ap])m)?(?: (?P<zone>[a-z]{3,4}))? (?P<y>\d{4})$",
        re.IGNORECASE,
    ),
)
_SLASHED = re.compile(r"^(\d{1,2})[/-](\d{1,2})[/-]\d{2,4}\b")
_SECONDS = re.compile(r"\d{10}\.\d+$", re.ASCII)  # as Slack and Front write them
_EXCEL = re.compile(r"^[2-7]\d{4}\.\d+$")
_EXCEL_START = datetime(1899, 12, 30, tzinfo=UTC)
_LATEST = 4_102_444_800  # the year 2100; larger numbers of seconds are no dates


def moment(cell_text: str, *, day_first: bool | None = None) -> str | None:
    """Return a time as ISO 8601 in UTC, None if it cannot be read; a time without a zone is taken as UTC.

    `day_first` decides dates such as 03/04/2024; None leaves them unread.
    """
    try:
        if cell_text.isascii() and cell_text.isdigit() and len(cell_text) != 8:
            return _to_utc(_from_number(int(cell_text), len(cell_text)))
        parsed_date = datetime.fromisoformat(cell_text)
    except (ValueError, OverflowError):
        return _to_utc(_from_text(cell_text.strip(), day_first=day_first))
    if (
        len(cell_text) in (20, 24)
        and cell_text[10] == "T"
        and cell_text[-1] == "Z"
        and cell_text[4] == cell_text[7] == "-"
    ):
        return cell_text  # already in our own format
    return _to_utc(parsed_date)


def orders(sample: Iterable[str]) -> set[bool]:
    """Return which orders a column's dates prove: True for the day first, False for the month first."""
    return {(first > 12) for first, second in map(_slashed, sample) if (first > 12) != (second > 12)}


def is_ambiguous(cell_text: str) -> bool:
    """Return whether a date has two readings, such as 03/04/2024."""
    first, second = _slashed(cell_text)
    return first != second and 0 < first <= 12 and 0 < second <= 12


def _slashed(cell_text: str) -> tuple[int, int]:
    match = _SLASHED.match(cell_text.strip())
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _to_utc(parsed_date: datetime | None) -> str | None:
    if parsed_date is None:
        return None
    if parsed_date.tzinfo is not None:
        try:
            parsed_date = parsed_date.astimezone(UTC)
        except OverflowError:
            return None
    return whole_second(parsed_date)


def _from_number(number: int, digits: int) -> datetime | None:
    seconds = number / 1000 if digits == 13 else number if digits == 10 else None
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and seconds < _LATEST else None


def _from_text(cell_text: str, *, day_first: bool | None) -> datetime | None:
    if _SECONDS.match(cell_text):
        return _from_number(int(cell_text[:10]), 10)
    if _EXCEL.match(cell_text):
        return _EXCEL_START + timedelta(days=float(cell_text), milliseconds=500)
    for form in _FORMS:
        if match := form.match(cell_text):
            try:
                return _from_parts(match.groupdict(), day_first=day_first)
            except (ValueError, OverflowError):
                return None
    return None


def _from_parts(part: Mapping[str, str | None], *, day_first: bool | None) -> datetime | None:
    day, month = part.get("d"), part.get("m")
    if name := part.get("month"):
        letters = plain(name)
        number = _MONTHS.get(letters[:4]) or _MONTHS.get(letters[:3])
    elif part.get("sep"):
        first, second = int(part["a"] or 0), int(part["b"] or 0)
        if part["sep"] == "." or first > 12 or (first == second):
            day_first = True
        elif second > 12:
            day_first = False
        if day_first is None:
            return None
        day, number = (str(first), second) if day_first else (str(second), first)
    else:
        number = int(month or 0)
    zone = _zone((part.get("zone") or "").lower())
    if number is None or zone is None:
        return None
    year, hour = int(part["y"] or 0), int(part["h"] or 0)
    if half := part["half"]:
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    return datetime(
        year + 2000 if year < 100 else year,
        number,
        int(day or 0),
        hour,
        int(part["min"] or 0),
        int(part["s"] or 0),
        tzinfo=timezone(timedelta(minutes=zone)),
    )


def _zone(cell_text: str) -> int | None:
    """Return the offset of a zone from UTC in minutes, None if it is unknown."""
    if not cell_text:
        return 0
    digits = cell_text[-6:].replace(":", "").lstrip("utcgm")
    if digits[:1] in ("+", "-"):
        return int(digits[0] + "1") * (int(digits[1:3]) * 60 + int(digits[3:5]))
    hours = _ZONES.get(cell_text)
    return None if hours is None else hours * 60


class _Seen(NamedTuple):
    number: int = 0
    line: int = 0  # of the first one


class UnreadDates:
    """The unread dates of one column; `contradictory` if its rows prove both orders of day and month."""

    def __init__(self, column: str, *, contradictory: bool = False) -> None:
        self._column = column
        self._contradictory = contradictory
        self._seen = {True: _Seen(), False: _Seen()}

    def add(self, text: str, line: int) -> None:
        """Count one date on this line."""
        ambiguous = is_ambiguous(text)
        number, first = self._seen[ambiguous]
        self._seen[ambiguous] = _Seen(number + 1, first or line)

    def remarks(self) -> list[str]:
        """Return a sentence for each reason why dates stayed unread; it quotes no cell, which may be any text."""
        reason = "rows use both orders of day and month" if self._contradictory else "no row proves which is the day"
        why = {True: f"have two readings, and {reason}; write them as 2024-04-03", False: "are no known dates"}
        return [
            f"{self._column} of {seen.number:,} row(s) stayed unread, first on line {seen.line}: its values {why[kind]}"
            for kind, seen in self._seen.items()
            if seen.number
        ]
