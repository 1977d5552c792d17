"""Ids of tickets, and the time as it is stored."""

import re
import threading

import pytest

from triage_cli import domain as dm


def test_ids_are_uuids_of_version_7_that_sort_by_age_and_never_repeat() -> None:
    made = [dm.ids.new_id() for _ in range(100_000)]
    assert len(set(made)) == 100_000
    assert made == sorted(made)
    shape = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(shape.fullmatch(i) for i in made)
    assert dm.ids.is_ticket_id(made[0])
    assert len({dm.ids.short(i) for i in made[:2000]}) == 2000


def test_ids_differ_over_threads() -> None:
    made: list[str] = []

    def work() -> None:
        thread_ids = [dm.ids.new_id() for _ in range(3000)]
        assert thread_ids == sorted(thread_ids)
        made.extend(thread_ids)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 12_000


@pytest.mark.parametrize("text", ["", "12345", "ABC-7", "0" * 36, "a-b-c-d-" + "7" * 27])
def test_what_is_no_ticket_id(text: str) -> None:
    assert not dm.ids.is_ticket_id(text)


def test_now_is_utc_with_milliseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", dm.times.now())
