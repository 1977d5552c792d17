"""What an import makes of one draft."""

import json
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm

quick = settings(examples(40, 150), derandomize=True)
TEXTS = st.text(st.characters(exclude_categories=[]), max_size=20)  # halves of surrogate pairs too
AT = "2026-11-24T17:30:41.123Z"


@pytest.mark.parametrize(
    ("origin", "given", "expected"),
    [
        ("row", None, None),
        ("typed", None, "2026-11-24T17:30:41Z"),
        ("request", None, "2026-11-24T17:30:41Z"),
        ("row", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("typed", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_when_a_ticket_was_created_is_decided_in_one_place(
    origin: Literal["row", "typed", "request"], given: str | None, expected: str | None
) -> None:
    draft = dm.TicketDraft(subject="Refund?", created_at=given, origin=origin)
    assert dm.dedup.new_ticket(dm.dedup.identify(draft), dm.ids.new_id(), AT, None).created_at == expected


def test_an_event_is_old_too_if_a_pull_has_brought_a_later_state() -> None:
    def identified(subject: str, at: str, *, event: bool) -> dm.dedup.Identified:
        draft = dm.TicketDraft(subject=subject, external_id="7", source="desk", changed_at=at)
        return dm.dedup.identify(dm.dedup.dated(draft, at) if event else draft)

    stored = dm.dedup.new_ticket(identified("first", "2026-11-01T10:00:00Z", event=True), dm.ids.new_id(), "now", None)
    pulled = dm.dedup.updated_ticket(stored, identified("third", "2026-11-01T12:00:00Z", event=False))
    assert pulled is not None
    late = identified("second", "2026-11-01T11:00:00Z", event=True)
    assert dm.dedup.is_outdated(late.draft, pulled, AT)
    assert not dm.dedup.is_outdated(late.draft, stored, AT)


@quick
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_identities_of_different_kinds_never_meet(source: str, external: str, customer: str, content: str) -> None:
    named = dm.ids.external_identity(source, external)
    unnamed = dm.ids.content_identity(source, content, customer, None)
    assert "\t" in named
    assert "\t" not in unnamed
    assert named != unnamed


DRAFTS = st.builds(
    dm.TicketDraft,
    cells=st.none(),
    row=st.just(0),
    line=st.just(2),
    subject=TEXTS | st.none(),
    description=TEXTS,
    customer_id=TEXTS | st.none(),
    priority=st.sampled_from(["low", "normal", "high", "urgent", None]),
    created_at=st.sampled_from([None, "2024-01-01T00:00:00Z"]),
    external_id=TEXTS | st.none(),
    extra=st.dictionaries(TEXTS, TEXTS | st.none() | st.integers(), max_size=3),
)


@quick
@given(DRAFTS)
def test_what_was_imported_says_nothing_new_and_can_be_stored(draft: dm.TicketDraft) -> None:
    item = dm.dedup.identify(draft)
    ticket = dm.dedup.new_ticket(item, dm.ids.new_id(), dm.times.now(), None)
    assert dm.dedup.updated_ticket(ticket, dm.dedup.identify(draft)) is None
    assert dm.dedup.identify(draft) == item
    for value in ticket:
        if isinstance(value, str):
            value.encode()
    json.loads(ticket.extra)
    assert ticket.urgency == dm.URGENCY[draft.priority]


@quick
@given(DRAFTS, DRAFTS, st.booleans())
def test_an_update_changes_what_the_draft_says_and_nothing_else(
    old: dm.TicketDraft, new: dm.TicketDraft, held: bool
) -> None:
    before = replace(
        dm.dedup.new_ticket(dm.dedup.identify(old), dm.ids.new_id(), dm.times.now(), None),
        status="routed",
        category="Billing",
        confidence=0.9,
        verdict=int(held),
        revision=5,
    )
    item = dm.dedup.identify(new)
    after = dm.dedup.updated_ticket(before, item)
    if after is None:
        assert item.content == before.content_hash
        return
    assert dm.dedup.updated_ticket(after, item) is None, "twice is once"
    kept = ("ticket_id", "identity", "source", "external_id", "stored_at", "verdict", "routed_to", "cost_usd")
    assert [getattr(after, f) for f in kept] == [getattr(before, f) for f in kept]
    assert after.revision == 6
    rewritten = item.content != before.content_hash
    assert (after.status, after.category) == (("new", None) if rewritten and not held else ("routed", "Billing"))
    assert after.customer_id == (item.draft.customer_id or before.customer_id)
    assert dm.dedup.changed_fields(before, after)
