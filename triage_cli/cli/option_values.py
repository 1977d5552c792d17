"""Values of options as people type them: times, durations, priorities, statuses."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from triage_cli.domain.errors import UsageError
from triage_cli.domain.ids import timestamp
from triage_cli.domain.tickets import PRIORITIES, SORTS, STATUSES
from triage_cli.domain.views import STATS_KEYS
from triage_cli.readers import values

AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
DAYS = {"now": 0, "today": 0, "yesterday": 1}
PERIODS = {"a second": timedelta(seconds=1), "a week": timedelta(weeks=1), "ten years": timedelta(days=3653)}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def priority(typed: str | None) -> str | None:
    """Return the priority that a typed word means."""
    if typed is None:
        return None
    known_priority = values.priority(typed, {})
    if known_priority is None:
        raise UsageError(f'no priority "{typed}"', hint=f"the priorities are {', '.join(PRIORITIES)}")
    return known_priority


def moment(typed: str | None) -> str | None:
    """Return a time as the store compares it, from a date, a time, a day's name or an age such as `7d`.

    Where no zone is named it is UTC, so that a command means the same on a terminal and at night.
    """
    if typed is None:
        return None
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if typed.strip() in DAYS:
        typed_time = datetime.now(UTC) if typed.strip() == "now" else day - timedelta(days=DAYS[typed.strip()])
    elif match := AGE.fullmatch(typed.strip()):
        try:
            typed_time = datetime.now(UTC) - timedelta(**{UNITS[match[2]]: float(match[1])})
        except OverflowError as error:
            raise UsageError(f'"{typed}" is before all time', hint="write 7d or 2026-11-24") from error
    else:
        try:
            typed_time = datetime.fromisoformat(typed.strip())
        except ValueError as error:
            raise UsageError(
                f'"{typed}" is no time', hint="write 2026-11-24, 2026-11-24T08:00Z, yesterday or 7d"
            ) from error
        typed_time = typed_time.replace(tzinfo=UTC) if typed_time.tzinfo is None else typed_time.astimezone(UTC)
    return timestamp(typed_time)


def check_known(what: str, given: str | None, known: Sequence[str]) -> None:
    """Raise `UsageError` where a word is none of those that there are."""
    if given is not None and given not in known:
        near = get_close_matches(given, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
        raise UsageError(f'no {what} "{given}"', hint=hint)


def past(age: str | None) -> str | None:
    """Return the time an age such as `4h` ago, as the store compares it."""
    if age is not None and not AGE.fullmatch(age.strip()):
        raise UsageError(f'"{age}" is no age', hint="write 30m, 4h or 7d")
    return moment(age)


def seconds(typed: str) -> float:
    """Return a duration such as `2m` in seconds."""
    match = AGE.fullmatch(typed.strip())
    if not match:
        raise UsageError(f'"{typed}" is no duration', hint="write 30s, 2m or 1h")
    try:
        return timedelta(**{UNITS[match[2]]: float(match[1])}).total_seconds()
    except OverflowError as error:
        raise UsageError(f'"{typed}" is longer than any run', hint="write 30s, 2m or 1h") from error


def period(option: str, typed: str, least: str, most: str, example: str) -> timedelta:
    """Return how long a typed period such as `7d` is. Raises `UsageError` if it is not between two of `PERIODS`."""
    length = timedelta(seconds=seconds(typed))
    if not PERIODS[least] <= length <= PERIODS[most]:
        raise UsageError(f"{option} {typed} is not between {least} and {most}", hint=f"write {example}")
    return length


def earliest(*moments: str | None) -> str | None:
    """Return the earliest of the times that are given, None where none is."""
    return min((moment for moment in moments if moment is not None), default=None)


def sort(typed: str | None) -> str:
    """Return what is sorted by, as a selection has it; nothing where nothing was typed."""
    field, _, way = (typed or "").partition(":")
    if typed is None or (field in SORTS and way in ("", "asc", "desc")):
        return typed or ""
    if field not in SORTS:
        raise UsageError(f'nothing is sorted by "{field}"', hint=f"the fields are {', '.join(SORTS)}")
    raise UsageError(f'"{way}" is no direction', hint=f"write --sort {field}:desc or {field}:asc")


def stats_keys(typed: str | None) -> tuple[str, ...]:
    """Return the keys by which counts are grouped."""
    keys = tuple(dict.fromkeys(key.strip() for key in typed.split(","))) if typed is not None else ()
    unknown = [key for key in keys if key not in STATS_KEYS]
    if unknown:
        raise UsageError(f'nothing is counted by "{unknown[0]}"', hint=f"the keys are {', '.join(STATS_KEYS)}")
    return keys


def statuses(names: Sequence[str] | None) -> frozenset[str]:
    """Return the statuses named, each by an option of its own or several with commas."""
    names = [name.strip() for listed in names or () for name in listed.split(",")]
    unknown = [name for name in names if name not in STATUSES]
    if unknown:
        raise UsageError(f'no status "{unknown[0]}"', hint=f"a ticket is one of {', '.join(STATUSES)}")
    return frozenset(names)
