"""How far a source is read is stored with the tickets that it covers, by both stores alike."""

from tests.support.records import replace
from tests.support.stored_tickets import a_ticket, changed, created, filled
from triage_cli import domain as dm
from triage_cli.ports import Store

FIRST = dm.SourceCursor("shop", '{"high":1}', "2026-11-01T00:00:00.000Z")
LATER = replace(FIRST, position='{"high":2}')


def test_a_cursor_is_kept_by_its_source_and_with_no_change_at_all(store: Store) -> None:
    assert store.cursor("shop") is None
    assert store.save([created(a_ticket("1"))], None, FIRST) == [None]
    assert store.save([], None, dm.SourceCursor("desk", "null", FIRST.saved_at)) == []
    assert (store.cursor("shop"), store.cursor("desk")) == (FIRST, dm.SourceCursor("desk", "null", FIRST.saved_at))
    store.save([], None, LATER)
    assert store.cursor("shop") == LATER


def test_a_cursor_waits_where_a_change_that_it_covers_was_refused(store: Store) -> None:
    (ticket,) = filled(store, a_ticket("1"))  # type: ignore[arg-type]
    store.save([changed(ticket, customer_id="C-1")])
    refused, kept = store.save([changed(ticket, customer_id="C-2"), created(a_ticket("2"))], None, FIRST)
    assert (refused is not None, kept, store.cursor("shop")) == (True, None, None)
