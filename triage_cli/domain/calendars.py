"""Calendars: the hours in which somebody is there, by the clocks of a time zone."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from triage_cli.domain.times import to_seconds

if TYPE_CHECKING:  # few configurations have calendars
    from zoneinfo import ZoneInfo

DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
# Days back to which open hours are counted: what has waited for longer has waited long enough.
LONGEST_COUNT = timedelta(days=3653)


@cache
def zone_of(name: str) -> "ZoneInfo":
    """Return a time zone of the IANA database. Raises `KeyError` or `ValueError`."""
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


class Calendar(NamedTuple):
    """The open hours of each week, and the days on which no span begins.

    `spans` are minutes since midnight; one that ends at or before its beginning ends on the next day. `days` are
    weekdays on which they begin, Monday being 0, and `closed` days of ISO 8601.
    """

    name: str
    zone: str
    spans: tuple[tuple[int, int], ...]
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    closed: tuple[str, ...] = ()

    def is_open(self, moment: datetime) -> bool:
        """Return whether somebody is there at a moment with a zone."""
        return any(begin <= moment < end for begin, end in self._spans_between(moment, moment))

    def open_seconds(self, since: datetime, until: datetime) -> float:
        """Return for how many seconds somebody was there between two moments with a zone, at most in ten years."""
        since = max(since, until - LONGEST_COUNT)
        seconds, counted_until = 0.0, since
        for begin, end in self._spans_between(since, until):
            counted_since, counted_to = max(begin, counted_until), min(end, until)
            if counted_since < counted_to:
                seconds += (counted_to - counted_since).total_seconds()
                counted_until = counted_to
        return seconds

    def moment_before(self, until: datetime, open_seconds: float) -> datetime:
        """Return the last moment since which somebody was there for so long, to the second, at most ten years back."""
        longest, shortest = min(timedelta(seconds=open_seconds), LONGEST_COUNT), timedelta()
        while self.open_seconds(until - longest, until) < open_seconds and longest < LONGEST_COUNT:
            longest, shortest = min(2 * longest, LONGEST_COUNT), longest
        while longest - shortest > timedelta(seconds=1):
            middle = (longest + shortest) / 2
            if self.open_seconds(until - middle, until) < open_seconds:
                shortest = middle
            else:
                longest = middle
        return until - longest

    def _spans_between(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the open spans that two moments touch, by their beginnings, and some beside them."""
        zone = zone_of(self.zone)
        # A span of the day before may reach into this one, also where clocks left out a whole day between them.
        day, last_day = since.astimezone(zone).date() - timedelta(days=2), until.astimezone(zone).date()
        while day <= last_day:
            if day.weekday() in self.days and day.isoformat() not in self.closed:
                for begin, end in sorted(self.spans):
                    end_minute = end if end > begin else end + DAY_MINUTES
                    yield _moment(zone, day, begin, fold=0), _moment(zone, day, end_minute, fold=1)
            day += timedelta(days=1)


def _moment(zone: "ZoneInfo", day: date, minute: int, *, fold: int) -> datetime:
    """Return the moment at which clocks show a minute of a day, in UTC.

    Of a time that comes twice it is the first or, with `fold` 1, the last; a time that is left out is later by as much
    as is left out.
    """
    local = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minute)
    moment = local.replace(fold=fold).astimezone(UTC)
    is_left_out = moment.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)
    return local.replace(fold=0).astimezone(UTC) if is_left_out else moment


class Age(NamedTuple):
    """A condition: the ticket was stored more than so many seconds ago, or open seconds of a calendar."""

    over: float
    calendar: Calendar | None = None

    def holds(self, stored_at: str, at: str) -> bool:
        """Return whether the condition holds at a time of a ticket that was stored then."""
        since, until = (datetime.fromtimestamp(to_seconds(each), UTC) for each in (stored_at, at))
        if (until - since).total_seconds() <= self.over:
            return False
        return self.calendar is None or self.calendar.open_seconds(since, until) > self.over

    def __str__(self) -> str:
        return f"is over {timedelta(seconds=self.over)}" + (f" in {self.calendar.name}" if self.calendar else "")


class Hours(NamedTuple):
    """A condition: the ticket is routed within the hours of a calendar, or outside of them."""

    calendar: Calendar
    outside: bool = False

    def holds(self, at: str) -> bool:
        """Return whether the condition holds at a time of ISO 8601."""
        return self.calendar.is_open(datetime.fromtimestamp(to_seconds(at), UTC)) != self.outside

    def __str__(self) -> str:
        return f"are {'outside ' if self.outside else ''}{self.calendar.name}"
