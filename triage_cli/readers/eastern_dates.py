"""Writes Chinese, Japanese and Korean dates as others: 2026年11月30日(月) 午後2時05分 is 2026-11-30 2:05 pm."""

import re
import unicodedata

_DATE = re.compile(r"^(\d{4}) ?[年년] ?(\d{1,2}) ?[月월] ?(\d{1,2}) ?[日号號일]")
_YEAR_OF_ERA = re.compile(r"^(令和|平成) ?(\d{1,2}|元) ?年")
_YEAR_BEFORE_ERA = {"令和": 2018, "平成": 1988}
_WEEKDAYS = (
    r"\([日月火水木金土월화수목금토일一二三四五六]\)",
    r"\(?[日月火水木金土]曜日?\)?",
    r"\(?(?:星期|周|週)[一二三四五六日天]\)?",
    r"\(?[월화수목금토일]요일\)?",
)
_WEEKDAY = re.compile("|".join(_WEEKDAYS))
_HALF = r"(?P<half>午前|午後|上午|下午|오전|오후)?"
_MINUTES = (
    r"(?::(?P<min>\d\d)(?::(?P<s>\d\d))?"
    r"|[時时點点시] ?(?:(?P<minutes>\d{1,2}) ?[分분] ?)?(?:(?P<seconds>\d{1,2}) ?[秒초])?)"
)
_TIME = re.compile(rf" {_HALF} ?(?P<h>\d{{1,2}}) ?{_MINUTES}")
_AFTERNOON = ("午後", "下午", "오후")


def with_western_marks(date_text: str) -> str:
    """Return such a date as 2026-11-30 2:05:00 pm, and another text as it is."""
    text = unicodedata.normalize("NFKC", date_text).strip()
    if era := _YEAR_OF_ERA.match(text):
        year_of_era = 1 if era[2] == "元" else int(era[2])
        text = f"{_YEAR_BEFORE_ERA[era[1]] + year_of_era}年{text[era.end() :]}"
    if not text[:4].isdigit():
        return date_text
    text = " ".join(_WEEKDAY.sub(" ", _DATE.sub(r"\1-\2-\3 ", text)).split())
    time_of_day = _TIME.search(text)
    if time_of_day is None:
        return text
    minutes, seconds = time_of_day["min"] or time_of_day["minutes"], time_of_day["s"] or time_of_day["seconds"]
    clock = f" {time_of_day['h']}:{int(minutes or 0):02}:{int(seconds or 0):02}"
    half = "" if time_of_day["half"] is None else " pm" if time_of_day["half"] in _AFTERNOON else " am"
    return text[: time_of_day.start()] + clock + half + text[time_of_day.end() :]
