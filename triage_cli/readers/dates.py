"""Reads dates and times in any common format, and decides the order of day and month.

Chinese, Japanese and Korean dates are first written as others: 2026年11月30日(月) 午後2時05分 is 2026-11-30 2:05 pm.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone

from triage_cli import domain as dm
from triage_cli.readers.cell_values import plain

_MONTH_WORDS = (
    "jan ene gen янв, feb fev фев, mar mrt mrz mae мар, apr abr avr апр, may mai mag mei мая маи, jun giu июн, "
    "jul lug июл, aug ago aou авг, sep set сен, oct okt out ott окт, nov ноя, dec dez dic дек"
)
_MONTHS = {word: number for number, words in enumerate(_MONTH_WORDS.split(","), start=1) for word in words.split()} | {
    "juin": 6,
    "juil": 7,
}
_ZONES = {
    "z": 0, "utc": 0, "gmt": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
    "cet": 1, "cest": 2,
}  # fmt: skip

_TIME_OF_DAY = (
    r"(?:(?:,|,?[ T]\s*|,? (?:at|um|à|a las) )(?P<h>\d{1,2})[:h](?P<min>\d\d)(?::(?P<s>\d\d)(?:[.,]\d+)?)?"
    r"(?:\s*(?P<half>[ap])\.?\s?m\.?| uhr)?)?\s*(?P<zone>z|[a-z]{3,4}|(?:utc|gmt)?[+-]\d\d:?\d\d)?(?: \([^()]*\))?$"
)
_WEEKDAY = r"^(?:[^\W\d]{2,10}\.?,? )?"
_DATE_FORMS = (
    *(
        re.compile(form + _TIME_OF_DAY, re.IGNORECASE)
        for form in (
            r"^(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
            r"^(?P<y>\d{4})\. ?(?P<m>\d{1,2})\. ?(?P<d>\d{1,2})\.?",
            r"^(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d\d)",
            _WEEKDAY + r"(?P<d>\d{1,2})(?:st|nd|rd|th|\.)?(?: (?:of|de) |[ /.-])"
            r"(?P<month>[^\W\d]{3,9})\.?,?(?: de |[ /.-])(?P<y>\d{4}|\d\d)",
            _WEEKDAY + r"(?P<month>[^\W\d]{3,9})\.?[ -](?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4})",
        )
    ),
    # The format of C's ctime and of the command `date`, with the year at the end.
    re.compile(
        _WEEKDAY + r"(?P<month>[a-z]{3}) {1,2}(?P<d>\d{1,2}) (?P<h>\d{1,2}):(?P<min>\d\d):(?P<s>\d\d)"
        r"(?: (?P<half>[ap])m)?(?: (?P<zone>[a-z]{3,4}))? (?P<y>\d{4})$",
        re.IGNORECASE,
    ),
)
_SLASHED_DATE = re.compile(r"^(\d{1,2})[/-](\d{1,2})[/-]\d{2,4}\b")
_SECONDS_AND_FRACTION = re.compile(r"\d{10}\.\d+$", re.ASCII)  # as Slack and Front write them
_EXCEL_DATE = re.compile(r"^[2-7]\d{4}\.\d+$")
_EXCEL_START = datetime(1899, 12, 30, tzinfo=UTC)
_LATEST_SECONDS = 4_102_444_800  # the year 2100; larger numbers of seconds are no dates


_EASTERN_DATE = re.compile(r"^(\d{4}) ?[年년] ?(\d{1,2}) ?[月월] ?(\d{1,2}) ?[日号號일]")
_YEAR_OF_ERA = re.compile(r"^(令和|平成) ?(\d{1,2}|元) ?年")
_YEAR_BEFORE_ERA = {"令和": 2018, "平成": 1988}
_EASTERN_WEEKDAY = re.compile(
    r"\([日月火水木金土월화수목금토일一二三四五六]\)|\(?[日月火水木金土]曜日?\)?|"
    r"\(?(?:星期|周|週)[一二三四五六日天]\)?|\(?[월화수목금토일]요일\)?"
)
_HALF = r"(?P<half>午前|午後|上午|下午|오전|오후)?"
_MINUTES = (
    r"(?::(?P<min>\d\d)(?::(?P<s>\d\d))?"
    r"|[時时點点시] ?(?:(?P<minutes>\d{1,2}) ?[分분] ?)?(?:(?P<seconds>\d{1,2}) ?[秒초])?)"
)
_EASTERN_TIME = re.compile(rf" {_HALF} ?(?P<h>\d{{1,2}}) ?{_MINUTES}")
_AFTERNOON = ("午後", "下午", "오후")


def moment(text: str, *, day_first: bool | None = None) -> str | None:
    """Return a time as ISO 8601 in UTC, None if it cannot be read; a time without a zone is taken as UTC.

    `day_first` decides dates such as 03/04/2024; None leaves them unread.
    """
    try:
        if text.isascii() and text.isdigit() and len(text) != 8:
            return _to_utc(_from_seconds(int(text), len(text)))
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return _to_utc(_date_of_text(text.strip(), day_first=day_first))
    if len(text) in (20, 24) and text[10] == "T" and text[-1] == "Z" and text[4] == text[7] == "-":
        return text  # already in our own format
    return _to_utc(parsed)


def date_orders(date_cells: Iterable[str]) -> set[bool]:
    """Return which orders a column's dates prove: True for the day first, False for the month first."""
    return {(first > 12) for first, second in map(_slashed_numbers, date_cells) if (first > 12) != (second > 12)}


def is_ambiguous_date(text: str) -> bool:
    """Return whether a date has two readings, such as 03/04/2024."""
    first, second = _slashed_numbers(text)
    return first != second and 0 < first <= 12 and 0 < second <= 12


def _slashed_numbers(text: str) -> tuple[int, int]:
    match = _SLASHED_DATE.match(text.strip())
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _to_utc(parsed: datetime | None) -> str | None:
    if parsed is None:
        return None
    if parsed.tzinfo is not None:
        try:
            parsed = parsed.astimezone(UTC)
        except OverflowError:
            return None
    return dm.whole_second(parsed)


def _from_seconds(number: int, digits: int) -> datetime | None:
    seconds = number / 1000 if digits == 13 else number if digits == 10 else None
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and seconds < _LATEST_SECONDS else None


def _date_of_text(text: str, *, day_first: bool | None) -> datetime | None:
    if _SECONDS_AND_FRACTION.match(text):
        return _from_seconds(int(text[:10]), 10)
    if _EXCEL_DATE.match(text):
        return _EXCEL_START + timedelta(days=float(text), milliseconds=500)
    if not text.isascii():
        text = with_western_marks(text)
    for date_form in _DATE_FORMS:
        if match := date_form.match(text):
            try:
                return _date_of_parts(match.groupdict(), day_first=day_first)
            except (ValueError, OverflowError):
                return None
    return None


def _date_of_parts(parts: Mapping[str, str | None], *, day_first: bool | None) -> datetime | None:
    day, month_text = parts.get("d"), parts.get("m")
    if month_name := parts.get("month"):
        month_letters = plain(month_name)
        month = _MONTHS.get(month_letters[:4]) or _MONTHS.get(month_letters[:3])
    elif parts.get("sep"):
        first, second = int(parts["a"] or 0), int(parts["b"] or 0)
        if parts["sep"] == "." or first > 12 or (first == second):
            day_first = True
        elif second > 12:
            day_first = False
        if day_first is None:
            return None
        day, month = (str(first), second) if day_first else (str(second), first)
    else:
        month = int(month_text or 0)
    zone_minutes = _zone_offset((parts.get("zone") or "").lower())
    if month is None or zone_minutes is None:
        return None
    year, hour = int(parts["y"] or 0), int(parts["h"] or 0)
    if half_day := parts["half"]:
        hour = hour % 12 + (12 if half_day.lower() == "p" else 0)
    return datetime(
        year + 2000 if year < 100 else year,
        month,
        int(day or 0),
        hour,
        int(parts["min"] or 0),
        int(parts["s"] or 0),
        tzinfo=timezone(timedelta(minutes=zone_minutes)),
    )


def _zone_offset(zone: str) -> int | None:
    """Return the offset of a zone from UTC in minutes, None if it is unknown."""
    if not zone:
        return 0
    digits = zone[-6:].replace(":", "").lstrip("utcgm")
    if digits[:1] in ("+", "-"):
        return int(digits[0] + "1") * (int(digits[1:3]) * 60 + int(digits[3:5]))
    zone_hours = _ZONES.get(zone)
    return None if zone_hours is None else zone_hours * 60


def unread_date_reason(text: str, *, contradictory: bool) -> str:
    """Return why a date stayed unread; `contradictory` if its column proves both orders of day and month."""
    if not is_ambiguous_date(text):
        return "are no known dates"
    order_problem = "rows use both orders of day and month" if contradictory else "no row proves which is the day"
    return f"have two readings, and {order_problem}; write them as 2024-04-03"


def with_western_marks(date_text: str) -> str:
    """Return a Chinese, Japanese or Korean date as 2026-11-30 2:05:00 pm, and another text as it is."""
    text = unicodedata.normalize("NFKC", date_text).strip()
    if era := _YEAR_OF_ERA.match(text):
        year_of_era = 1 if era[2] == "元" else int(era[2])
        text = f"{_YEAR_BEFORE_ERA[era[1]] + year_of_era}年{text[era.end() :]}"
    if not text[:4].isdigit():
        return date_text
    text = " ".join(_EASTERN_WEEKDAY.sub(" ", _EASTERN_DATE.sub(r"\1-\2-\3 ", text)).split())
    time_of_day = _EASTERN_TIME.search(text)
    if time_of_day is None:
        return text
    minutes, seconds = time_of_day["min"] or time_of_day["minutes"], time_of_day["s"] or time_of_day["seconds"]
    clock = f" {time_of_day['h']}:{int(minutes or 0):02}:{int(seconds or 0):02}"
    half = "" if time_of_day["half"] is None else " pm" if time_of_day["half"] in _AFTERNOON else " am"
    return text[: time_of_day.start()] + clock + half + text[time_of_day.end() :]
