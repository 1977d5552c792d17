"""Whether somebody is there, and for how long somebody was: by the clocks of a time zone, over their changes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm

WEEK = (0, 1, 2, 3, 4)
OFFICE = dm.Calendar("office", "Europe/Berlin", ((9 * 60, 17 * 60),), WEEK, ("2026-12-25",))
NIGHT = dm.Calendar("night", "Europe/Berlin", ((22 * 60, 6 * 60),), (4,), ("2026-12-25",))
SHIFTS = dm.Calendar("shifts", "Asia/Kolkata", ((9 * 60 + 30, 12 * 60), (13 * 60, 17 * 60 + 30)), WEEK)
SAMOA = dm.Calendar("samoa", "Pacific/Apia", ((22 * 60, 6 * 60),))
ALWAYS = dm.Calendar("always", "America/New_York", ((0, 24 * 60),))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("calendar", "moment", "is_open"),
    [
        # a day at the office, in winter and in summer; the end is exclusive
        (OFFICE, "2026-12-24T07:59:59Z", False),
        (OFFICE, "2026-12-24T08:00:00Z", True),
        (OFFICE, "2026-12-24T15:59:59Z", True),
        (OFFICE, "2026-12-24T16:00:00Z", False),
        (OFFICE, "2026-07-01T07:00:00Z", True),
        (OFFICE, "2026-07-01T15:00:00Z", False),
        # a closed day, and the weekend
        (OFFICE, "2026-12-25T10:00:00Z", False),
        (OFFICE, "2026-12-26T10:00:00Z", False),
        (OFFICE, "2026-12-28T10:00:00Z", True),
        # the Mondays after both changes of clocks
        (OFFICE, "2026-03-27T08:00:00Z", True),
        (OFFICE, "2026-03-30T07:00:00Z", True),
        (OFFICE, "2026-03-30T15:00:00Z", False),
        (OFFICE, "2026-10-26T07:30:00Z", False),
        (OFFICE, "2026-10-26T08:00:00Z", True),
        # a span over midnight belongs to the day on which it begins
        (NIGHT, "2026-11-27T20:59:59Z", False),
        (NIGHT, "2026-11-27T21:00:00Z", True),
        (NIGHT, "2026-11-28T04:59:59Z", True),
        (NIGHT, "2026-11-28T05:00:00Z", False),
        (NIGHT, "2026-11-28T21:00:00Z", False),
        (NIGHT, "2026-12-25T21:00:00Z", False),
        # half an hour's difference, and a pause
        (SHIFTS, "2026-11-30T03:59:59Z", False),
        (SHIFTS, "2026-11-30T04:00:00Z", True),
        (SHIFTS, "2026-11-30T06:30:00Z", False),
        (SHIFTS, "2026-11-30T07:30:00Z", True),
        (SHIFTS, "2026-11-30T12:00:00Z", False),
        (ALWAYS, "2026-03-08T07:30:00Z", True),
        (ALWAYS, "2026-11-01T05:30:00Z", True),
        # the morning after a night that went over a day that clocks left out
        (SAMOA, "2011-12-30T15:59:59Z", True),
        (SAMOA, "2011-12-30T16:00:00Z", False),
    ],
)
def test_somebody_is_there_in_the_hours_of_the_calendar(calendar: dm.Calendar, moment: str, *, is_open: bool) -> None:
    assert calendar.is_open(at(moment)) is is_open
    assert dm.Hours(calendar).holds(moment) is is_open
    assert dm.Hours(calendar, outside=True).holds(moment) is not is_open


@pytest.mark.parametrize(
    ("calendar", "since", "until", "hours"),
    [
        (OFFICE, "2026-11-30T08:00:00Z", "2026-11-30T12:00:00Z", 4),
        (OFFICE, "2026-11-27T15:00:00Z", "2026-11-30T09:00:00Z", 2),  # over a weekend
        (OFFICE, "2026-12-24T15:00:00Z", "2026-12-28T09:00:00Z", 2),  # and a closed day
        (OFFICE, "2026-11-28T00:00:00Z", "2026-11-29T23:00:00Z", 0),
        (dm.Calendar("n", "Europe/Berlin", ((22 * 60, 6 * 60),)), "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 7),
        (dm.Calendar("n", "Europe/Berlin", ((22 * 60, 6 * 60),)), "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", 9),
        (dm.Calendar("n", "Europe/Berlin", ((150, 300),)), "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z", 1.5),
        (SHIFTS, "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z", 7),
        (ALWAYS, "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", 23),
        (ALWAYS, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", 25),
        (dm.Calendar("two", "UTC", ((0, 600), (300, 900))), "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z", 15),
    ],
)
def test_open_hours_are_counted_over_both_changes_of_clocks(
    calendar: dm.Calendar, since: str, until: str, hours: float
) -> None:
    assert calendar.open_seconds(at(since), at(until)) == hours * 3600


@settings(examples(30, 1000))
@given(
    calendar=st.sampled_from([OFFICE, NIGHT, SHIFTS, ALWAYS]),
    until=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    seconds=st.integers(1, 400_000),
)
def test_what_is_so_old_began_before_so_many_open_seconds(calendar: dm.Calendar, until: datetime, seconds: int) -> None:
    began = calendar.moment_before(until, seconds)
    assert calendar.open_seconds(began, until) >= seconds
    assert calendar.open_seconds(began + timedelta(seconds=2), until) < seconds


def test_a_calendar_that_is_never_open_ends_its_search() -> None:
    never = replace(dm.Calendar("never", "UTC", ((0, 60),), (0,), ()), days=())
    assert never.open_seconds(at("2026-01-01T00:00:00Z"), at("2026-12-01T00:00:00Z")) == 0
    assert never.moment_before(at("2026-12-01T00:00:00Z"), 60) < at("2017-01-01T00:00:00Z")
