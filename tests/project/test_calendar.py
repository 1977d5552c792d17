"""No test compares a fixed date with today: each stands for the past or for never, whenever the suite runs.

`just calendar` runs all tests with a clock that is ahead, which also finds past dates that are taken for recent.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parents[1].rglob("*.py"))
PAST = datetime(2026, 11, 30, tzinfo=UTC)  # the last day that is over whenever the tests run
NEVER = datetime(2999, 1, 1, tzinfo=UTC)
LARGEST = 2_147_000_000  # what is larger is no moment in seconds since 1970, but a size
GIVEN = {  # where a date meets no clock
    "test_calendars.py": "calendars are asked about moments that they are given",
    "rule_mistakes.py": "a message says how a day is written",
}
WRITTEN = {  # how texts write a day, and how it is read
    r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)": "%Y-%m-%d",
    r"(?<!\d)\d\d\.\d\d\.\d{4}(?!\d)": "%d.%m.%Y",
    r"(?<!\d)\d\d/\d\d/\d{4}(?!\d)": "%d/%m/%Y",
    r"(?<!\d)\d\d? [A-Z][a-z]{2} \d{4}(?!\d)": "%d %b %Y",
}


def dates(module: str) -> Iterator[tuple[int, datetime]]:
    """Yield the dates in a module's numbers, texts and calls, with their lines."""
    for node in ast.walk(ast.parse(module)):
        match node:
            case ast.Constant(int() | float() as number) if PAST.timestamp() < number < LARGEST:
                yield node.lineno, datetime.fromtimestamp(number, UTC)
            case ast.Constant(str() as text):
                for pattern, form in WRITTEN.items():
                    for day in re.findall(pattern, text):
                        with suppress(ValueError):  # 2026-13-01
                            yield node.lineno, datetime.strptime(day, form).replace(tzinfo=UTC)
            case ast.Call(
                ast.Name("datetime" | "date"), [ast.Constant(int(y)), ast.Constant(int(m)), ast.Constant(int(d)), *_]
            ):
                yield node.lineno, datetime(y, m, d, tzinfo=UTC)


def test_each_date_in_a_test_is_over_or_never_comes() -> None:
    found = [(path.name, *found) for path in TESTS for found in dates(path.read_text(encoding="utf-8"))]
    assert len(found) > 100
    to_come = [place for place in found if PAST < place[-1] < NEVER]
    assert [place for place in to_come if place[0] not in GIVEN] == [], "write one up to 2026-11-30, or 2999-01-01"
    assert {name for name, *_ in to_come} == GIVEN.keys(), "each exception is needed"


@pytest.mark.parametrize(
    "written",
    [
        '"at YEAR-01-05T08:00"', '"05.01.YEAR"', '"05/01/YEAR"', '"5 Jan YEAR"', "1_799_107_200.0",
        "datetime(YEAR, 1, 5, 8)", 'f"YEAR-01-05T{hour}:00"',
    ],
)  # fmt: skip
def test_a_date_to_come_is_found_however_it_is_written(written: str) -> None:
    ((_, found),) = dates(written.replace("YEAR", "2027"))
    assert PAST < found.replace(hour=0) == datetime(PAST.year + 1, 1, 5, tzinfo=UTC) < NEVER
