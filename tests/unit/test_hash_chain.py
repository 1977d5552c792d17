"""The hash chain of the audit log: any change is found where it was made, also by the documented rule alone."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.chain import first_break
from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm


def chain_of(number: int) -> list[dm.LoggedEvent]:
    events: list[dm.LoggedEvent] = []
    prev = dm.hash_chain.GENESIS
    for seq in range(1, number + 1):
        data = {"z": seq, "ä": ['quote " and \\', None, 0.1], "a": {"deep": True}}
        ticket = None if seq % 3 == 0 else f"ticket-{seq % 2}"
        event = dm.Event(
            "created", ticket, None if seq % 4 == 0 else "run-1", 'Ann "Ä" O\\Neil', f"2024-01-0{seq}", data
        )
        detail = dm.canonical(data)
        link = dm.hash_chain.link(prev, seq, event, detail)
        events.append(
            dm.LoggedEvent(seq, event.at, event.action, ticket, event.actor, event.run_id, detail, prev, link)
        )
        prev = link
    return events


def independent_break(records: Sequence[dict[str, Any]]) -> int | None:
    """Check a log as anybody could, from `triage logs -o jsonl` and the documented rule alone."""
    prev = "0" * 64
    for number, record in enumerate(records, 1):
        signed = {k: v for k, v in record.items() if k not in ("prev", "hash")}
        text = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest()
        if record["seq"] != number or record["prev"] != prev or record["hash"] != digest:
            return number
        prev = digest
    return None


def verdicts(events: list[dm.LoggedEvent]) -> tuple[int | None, int | None]:
    return first_break(events), independent_break([dm.serialization.event_record(e) for e in events])


def test_a_whole_chain_has_no_break() -> None:
    assert verdicts(chain_of(9)) == (None, None)
    assert verdicts([]) == (None, None)


@settings(examples(100, 400), derandomize=True)
@given(st.data())
def test_any_one_change_of_a_log_is_found_where_it_was_made(data: st.DataObject) -> None:
    """Flip a letter of any field, delete, swap, insert, or cut off the beginning."""
    events = chain_of(8)
    kind = data.draw(st.sampled_from(["flip", "delete", "swap", "insert", "seq", "null"]))
    at = data.draw(st.integers(0, 7))
    if kind == "flip":
        field = data.draw(st.sampled_from(["timestamp", "action", "ticket_id", "actor", "run_id", "prev", "hash"]))
        text = getattr(events[at], field) or "x"
        place = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.sampled_from([c for c in '0aZä"\\' if c != text[place]]))
        was = getattr(events[at], field)
        events[at] = replace(events[at], **{field: f"{text[:place]}{letter}{text[place + 1 :]}" if was else "x"})
    elif kind == "null":
        field = data.draw(st.sampled_from(["ticket_id", "run_id"]))
        events[at] = replace(events[at], **{field: None if getattr(events[at], field) else "null"})
    elif kind == "seq":
        events[at] = replace(events[at], seq=events[at].seq + data.draw(st.sampled_from([-1, 1, 10])))
    elif kind == "delete":
        at = data.draw(st.integers(0, 6))  # the last one is missed by nobody but a head kept elsewhere
        del events[at]
    elif kind == "swap":
        other = data.draw(st.integers(0, 7).filter(lambda n: n != at))
        events[at], events[other] = events[other], events[at]
        at = min(at, other)
    else:
        source = data.draw(st.integers(0, 7))
        events.insert(at, replace(events[source], seq=at + 1))
        if source == at:  # a copy in front of itself is the thing itself; what follows is the surplus
            at += 1
    assert verdicts(events) == (at + 1, at + 1)


@settings(examples(40, 150), derandomize=True)
@given(st.data())
def test_any_letter_of_a_detail_counts(data: st.DataObject) -> None:
    events = chain_of(4)
    at = data.draw(st.integers(0, 3))
    text = events[at].detail
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from([c for c in "0 aä}" if c != text[place]]))
    events[at] = replace(events[at], detail=f"{text[:place]}{letter}{text[place + 1 :]}")
    assert first_break(events) == at + 1


@pytest.mark.parametrize("renumbered", [True, False])
def test_a_gap_is_found_though_every_hash_fits_its_own_event(*, renumbered: bool) -> None:
    """Whoever takes an event out and mends the numbers, or the chain, but not both, is found."""
    one, two, three = chain_of(3)
    seq, prev = (2, three.prev) if renumbered else (3, one.hash)
    event = dm.Event(three.action, three.ticket_id, three.run_id, three.actor, three.timestamp)
    forged = replace(three, seq=seq, prev=prev, hash=dm.hash_chain.link(prev, seq, event, three.detail))
    assert dm.hash_chain.is_linked(forged, prev, None)
    assert verdicts([one, forged]) == (2, 2)
    assert verdicts([one, two, three]) == (None, None)
