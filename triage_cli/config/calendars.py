"""The calendars of config.yaml: days and hours by the clocks of a time zone."""

import re
from collections.abc import Mapping
from datetime import date

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.key_tables import Field, accepts, named_schema, record, record_schema, suggestion
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError, UnsupportedScalar

_CLOCK = r"([01]?\d|2[0-4]):([0-5]\d)"
SPAN = rf"{_CLOCK}\s*-\s*{_CLOCK}"
_DAY = "|".join(dm.DAY_NAMES)
DAYS = rf"(?i:({_DAY})(?:\s*-\s*({_DAY}))?)"


@accepts({"type": "string", "pattern": r"^[A-Za-z0-9_+/-]+$"})
def _zone(setting: ConfigNode) -> str:
    """Accept the name of a time zone."""
    name = valid.text(setting)
    try:
        dm.zone_of(name)
    except (KeyError, ValueError, OSError):
        from zoneinfo import available_timezones

        known = suggestion(name, available_timezones()) or "; write one as Europe/Berlin"
        raise ConfigValueError(f'no time zone "{name[:80]}"{known}') from None
    return name


@accepts({"type": "string", "pattern": f"^{SPAN}$"})
def _span(setting: ConfigNode) -> tuple[int, int]:
    """Accept a span of hours, as minutes since midnight; one over midnight ends before it begins."""
    span_text = setting.value.text if isinstance(setting.value, UnsupportedScalar) else valid.text(setting)
    span = re.fullmatch(SPAN, span_text)
    if not span:
        raise ConfigValueError(f'"{span_text[:40]}" is no span of hours, such as 09:00-17:00')
    begin, end = int(span[1]) * 60 + int(span[2]), int(span[3]) * 60 + int(span[4])
    if max(begin, end) > dm.DAY_MINUTES or begin == dm.DAY_MINUTES:
        raise ConfigValueError(f'"{span_text}" is beyond 24:00')
    if begin == end:
        raise ConfigValueError("begins and ends at the same time; a whole day is 00:00-24:00")
    return begin, end


@accepts({"type": "string", "pattern": f"^{DAYS.replace('(?i:', '(?:')}$"})
def _days(setting: ConfigNode) -> tuple[int, ...]:
    """Accept a weekday, or a first and a last one."""
    days_text = valid.text(setting)
    days = re.fullmatch(DAYS, days_text)
    if not days:
        raise ConfigValueError(f'"{days_text[:40]}" is no weekday; write mon, tue, wed, thu, fri, sat, sun or mon-fri')
    first = dm.DAY_NAMES.index(days[1].lower())
    last = dm.DAY_NAMES.index((days[2] or days[1]).lower())
    return tuple(
        day % len(dm.DAY_NAMES) for day in range(first, last + 1 if last >= first else last + 1 + len(dm.DAY_NAMES))
    )


@accepts({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"})
def _closed_day(setting: ConfigNode) -> str:
    """Accept a day, quoted or not."""
    value = setting.value
    day_text = value.text if isinstance(value, UnsupportedScalar) else valid.text(setting)
    try:
        return date.fromisoformat(day_text).isoformat()
    except ValueError:
        raise ConfigValueError(f'"{day_text[:40]}" is no day, such as 2026-12-25') from None


CALENDAR: Mapping[str, Field] = {
    "zone": Field(_zone, needed=True),
    "days": Field(valid.several(_days, least=1)),
    "hours": Field(valid.several(_span, least=1, most=20), needed=True),
    "closed": Field(valid.several(_closed_day)),
}


@accepts(lambda: named_schema(record_schema(CALENDAR)))
def read_calendars(setting: ConfigNode) -> dict[str, dm.Calendar]:
    """Return the calendars of the configuration by their names."""
    calendars = {}
    for name, entry in valid.named_entries(setting).items():
        values = record(entry, CALENDAR, f"calendars.{name}")
        days = tuple(dict.fromkeys(day for each in values.get("days", ()) for day in each))
        calendars[name] = dm.Calendar(
            name,
            values.get("zone", "UTC"),
            values.get("hours", ()),
            days or dm.Calendar._field_defaults["days"],
            values.get("closed", ()),
        )
    return calendars
