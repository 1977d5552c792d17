"""How far a list was read: what may be claimed after each page, and where the next pull begins."""

import json

import pytest

from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.config import CursorSpec, NextSpec, SourceSpec
from triage_cli.extensions.pull import ItemReader, Page, Walk, begin_walk
from triage_cli.extensions.pull import items as source_items

SPEC = SourceSpec(
    "shop", "http", query={"since": "{{ cursor }}"}, next=NextSpec("link", "next"), cursor=CursorSpec("at", 0.0, 0.0)
)
NEXT = '<https://x/?page=2>; rel="next"'


def page(*times: int, last: bool = False) -> Page:
    return Page({}, "https://x/", "" if last else NEXT, len(times), times)


def test_an_ascending_list_is_begun_again_where_later_items_bear_witness() -> None:
    walk = Walk(10, 10, 99).after(page(10, 11, 12, 13, 14, 15), SPEC, 99)
    assert (walk.since, walk.place, walk.read_until) == (12, None, 12)
    assert walk.keeps_place(SPEC)
    assert walk.after(page(12, 13, 14, last=True), SPEC, 99).position(SPEC) == '{"high":15}'


def test_items_of_one_time_are_counted_and_claim_nothing() -> None:
    walk = Walk(10, 10, 99).after(page(12, 12, 12, 12), SPEC, 99)
    assert (walk.since, walk.place, walk.read_until) == (10, "https://x/?page=2", 10)
    assert not walk.keeps_place(SPEC), "a list of another order could begin like this"


@pytest.mark.parametrize(
    ("token", "place"), [("a", "a"), (7, "7"), (1503435956.25, "1503435956.25"), (0, None), ("", None), (False, None)]
)
def test_a_token_is_a_text_or_any_number(token: object, place: str | None) -> None:
    spec = replace(SPEC, next=NextSpec("token", "after", query="after"))
    walk = Walk(10, 10, 99).after(Page({"after": token}, "https://x/", "", 0), spec, 99)
    assert (walk.place, walk.ended) == (place, place is None)


def test_a_list_of_another_order_is_read_up_to_when_it_was_begun() -> None:
    """What was changed on a page that was read before is nowhere to be seen."""
    walk = Walk(10, 10, 50)
    for number in range(3):
        walk = walk.after(page(60 + number, 20, 30), SPEC, 70 + number)
        assert (walk.since, walk.keeps_place(SPEC), walk.position(SPEC)) == (10, False, '{"high":10}')
    assert walk.after(page(40, last=True), SPEC, 80).position(SPEC) == '{"high":50}'


def test_items_of_two_pages_must_be_in_order_too() -> None:
    walk = Walk(10, 10, 99).after(page(30, 30), SPEC, 99).after(page(11, 12, 13, 14, 15), SPEC, 99)
    assert (walk.since, walk.keeps_place(SPEC)) == (10, False)


def test_a_repeated_stop_does_not_move_the_next_pull_back() -> None:
    """Each pull reads the last seconds again; a place within them claims no less than was claimed before."""
    spec = replace(SPEC, cursor=CursorSpec("at", 0.0, 300.0))
    position = '{"high":1000}'
    for _ in range(3):
        walk, saves = begin_walk(position, None, spec, 5000)
        walk = walk.after(page(700, 701, 702, 703, 704), spec, 5000)
        position = walk.position(spec)
        assert (saves, json.loads(position)) == (True, {"high": 1000})


def test_a_pull_since_a_time_claims_no_more_than_it_has_read() -> None:
    walk, saves = begin_walk('{"high":1000}', 500, SPEC, 5000)
    walk = walk.after(page(500, 501, 502, 503, 504), SPEC, 5000)
    assert (saves, walk.position(SPEC)) == (True, '{"high":501}')
    assert not begin_walk('{"high":1000}', 1001, SPEC, 5000)[1]


def test_a_circle_of_more_items_than_are_known_at_a_time_is_found_by_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their places are all new, as of a list that names each next page by a fresh address."""
    monkeypatch.setattr(source_items, "MOST_KNOWN", 20)
    spec = replace(SPEC, fields={"external_id": ("id",), "subject": ("id",)})
    items = source_items.ReadItems(spec, ItemReader(spec))
    asked = 0
    with pytest.raises(dm.UsageError, match="100 pages in a row held nothing new"):  # noqa: PT012 - as a pull goes on
        for number in range(1000):
            items.unread([{"id": f"{number % 30}-{n}"} for n in range(5)])
            items.check_goes_on(number, number + 1)
            asked = number + 1
    assert asked == 30 + source_items.MOST_IDLE_PAGES - 1
