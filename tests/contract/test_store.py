"""What any store promises: each test runs on every kind of store."""

import multiprocessing
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.support.chain import first_break
from tests.support.counted_anew import kept_and_anew
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.stored_tickets import (
    a_delivery,
    a_run,
    a_ticket,
    actions,
    an_answer,
    an_event,
    changed,
    created,
    ended,
    filled,
    sql,
    stored,
)
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore, tables
from triage_cli.runtime import began, machine, place
from triage_cli.service import erased_ticket
from triage_cli.stores import EVENTS_PER_PAGE, ROWS_PER_STATEMENT, TICKETS_PER_PAGE, SqliteStore, where_clauses

# What both drivers call by one name.
INTEGRITY = (sqlite3.IntegrityError, psycopg.IntegrityError)
TO_CLASSIFY = frozenset({"new", "failed"})
TO_ROUTE = frozenset({"classified", "unroutable"})


def owing(ticket: dm.Ticket, *deliveries: dm.Delivery) -> dm.Change:
    return dm.Change(an_event(ticket, "routed"), None, 0, deliveries)


def names(tickets: Iterable[dm.Ticket]) -> list[str | None]:
    return [t.external_id for t in tickets]


# -- save


def test_what_a_run_sets_aside_is_written_down(store: SqliteStore) -> None:
    lease = a_run(store)
    store.runs.renew(replace(lease, spent=0.5, reserved=0.25))
    assert [(run.spent, run.reserved) for run in store.runs.latest(None)] == [(0.5, 0.25)]
    store.runs.renew(lease)
    assert [(run.spent, run.reserved) for run in store.runs.latest(None)] == [(0.5, 0.25)]


def test_a_decision_leaves_what_the_customer_said(store: SqliteStore) -> None:
    (before,) = filled(store, a_ticket())
    after = replace(before, status="classified", category="Billing", subject="never said", urgency=0, revision=2)
    assert store.save([dm.Change(an_event(before, "classified"), after, 1)]) == [None]
    assert stored(store, before) == replace(before, status="classified", category="Billing", revision=2)


def test_what_is_saved_is_found_again_field_by_field(store: SqliteStore) -> None:
    ticket = a_ticket("ä\u2028'", extra='{"Kanal":"web"}', priority="urgent", customer_id="c;1", created_at="2024")
    filled(store, ticket)
    assert stored(store, ticket) == ticket
    assert store.known([ticket.identity, "nobody\timport"]) == {ticket.identity: ticket}


def test_nothing_to_save_writes_nothing(store: SqliteStore) -> None:
    assert store.save([]) == []
    assert actions(store) == []


def test_a_change_of_an_older_revision_is_refused_and_answered_with_what_stands_there(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket())
    assert store.save([changed(ticket, reason="first")]) == [None]
    (conflict,) = store.save([changed(ticket, reason="second")])
    assert conflict is not None
    assert conflict.ticket == stored(store, ticket)
    assert conflict.ticket is not None
    assert conflict.ticket.reason == "first"
    assert actions(store) == ["created", "updated"]


def test_a_change_of_a_ticket_that_is_not_there_is_refused(store: SqliteStore) -> None:
    (conflict,) = store.save([changed(a_ticket())])
    assert conflict is not None
    assert conflict.ticket is None
    assert actions(store) == []


def test_a_taken_identity_is_refused_and_answered_with_its_owner(store: SqliteStore) -> None:
    (first,) = filled(store, a_ticket("7"))
    (conflict,) = store.save([created(a_ticket("7", subject="twin"))])
    assert conflict is not None
    assert conflict.ticket == first
    assert list(store.find(dm.Selection())) == [first]
    assert actions(store) == ["created"]


def test_of_two_new_tickets_of_one_identity_in_a_batch_the_first_is_stored(store: SqliteStore) -> None:
    first, second = a_ticket("7"), a_ticket("7")
    kept, refused = store.save([created(first), created(second)])
    assert kept is None
    assert refused is not None
    assert refused.ticket == first
    assert len(actions(store)) == 1


def test_a_refused_change_leaves_neither_rows_nor_event_and_the_rest_of_its_batch_whole(store: SqliteStore) -> None:
    moved, calm = filled(store, a_ticket("1"), a_ticket("2"))
    store.save([changed(moved, reason="somebody else")])
    lost, kept = an_answer(moved), an_answer(calm)
    late = replace(changed(moved, decision_id=lost.classification_id), adds=(lost, a_delivery(moved)))
    fine = replace(changed(calm, decision_id=kept.classification_id), adds=(kept, a_delivery(calm)))
    new = created(a_ticket("3"))
    verdicts = store.save([late, fine, new])
    assert [v is None for v in verdicts] == [False, True, True]
    assert list(store.answers.decisions([lost.classification_id, kept.classification_id])) == [kept.classification_id]
    assert list(store.deliveries.of([moved.ticket_id, calm.ticket_id])) == [calm.ticket_id]
    assert [e.ticket_id for e in store.log.events(dm.EventQuery())][3:] == [calm.ticket_id, new.event.ticket_id]


def test_a_refused_change_is_not_counted(store: SqliteStore) -> None:
    moved, calm = filled(store, a_ticket("1"), a_ticket("2"))
    store.save([changed(moved, status="needs_review")])
    late, fine = changed(moved, status="failed"), changed(calm, status="classified", category="Billing")
    assert [refusal is None for refusal in store.save([late, fine])] == [False, True]
    assert store.stats().by_status == {"needs_review": 1, "classified": 1}
    assert store.stats().by_category == {"Billing": 1}
    assert store.gauges().oldest_to_review == moved.stored_at


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [("Billing", 1), ("Billing/Refund", 1), ("Billing / Refund", 1), ("Billings/Refund", 0), ("Technical", 0)],
)
def test_a_control_below_a_sure_category_agrees_with_it(store: SqliteStore, answer: str, agreed: int) -> None:
    (ticket,), run_id = filled(store, a_ticket()), a_run(store).run_id
    sure = replace(an_answer(ticket), run_id=run_id)
    control = replace(an_answer(ticket, answer), run_id=run_id, classifier="llm", confidence_source="said")
    store.save([replace(owing(ticket), adds=(sure, control))])
    assert store.stats().audited == {"fake": {"asked": 1, "agreed": agreed}}


def test_a_save_that_fails_half_way_leaves_nothing(store: SqliteStore) -> None:
    """An answer about a ticket that does not exist is refused at the end of the transaction."""
    with pytest.raises(INTEGRITY):
        store.save([created(a_ticket("1")), dm.Change(an_event(None), adds=(an_answer(a_ticket("ghost")),))])
    assert list(store.find(dm.Selection())) == []
    assert actions(store) == []
    filled(store, a_ticket("2"))
    assert first_break(store.log.events(dm.EventQuery())) is None


def test_a_delivery_is_written_once_and_then_updated(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket())
    store.save([owing(ticket, a_delivery(ticket))])
    accepted = a_delivery(ticket, state="accepted", attempts=1, done_at="then", kept='{"id":"SUP-1"}')
    attempt = dm.Attempt(accepted.delivery_id, 1, "a", 200, "error", 0.1, "words")
    store.save([dm.Change(an_event(ticket, "delivered"), adds=(accepted, attempt))])
    (delivery,) = store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    assert store.deliveries.with_ids([delivery.delivery_id, "msg_unknown"]) == {delivery.delivery_id: delivery}
    assert (delivery.state, delivery.attempts, delivery.done_at) == ("accepted", 1, "then")
    assert delivery.kept == '{"id":"SUP-1"}'
    assert [(a.status, a.answer) for a in store.history(ticket.ticket_id).attempts] == [(200, "words")]


def test_how_the_last_attempts_at_each_destination_went(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket())
    assert store.deliveries.lately() == {}
    deliveries = {
        "down": a_delivery(ticket, "down", attempts=2, last_error="it answered 503"),
        "refused": a_delivery(ticket, "refused", last_error="a new token is refused"),  # which is no attempt
        "well": a_delivery(ticket, "well", state="accepted", attempts=2),
    }
    tries = [("down", 1, "no"), ("down", 2, "no"), ("well", 1, "no"), ("well", 2, None)]
    attempts = [dm.Attempt(deliveries[name].delivery_id, n, f"at {n}", 0, error, 0.1) for name, n, error in tries]
    store.save([owing(ticket, *deliveries.values()), dm.Change(an_event(ticket, "x"), adds=tuple(attempts))])
    assert store.deliveries.lately() == {
        "down": dm.Lately(failed=2, held_up=1, error="it answered 503"),
        "refused": dm.Lately(held_up=1, error="a new token is refused"),
        "well": dm.Lately(accepted_at="at 2"),
    }


@pytest.mark.parametrize("status", ["forgotten", "withdrawn"])
def test_no_word_about_an_erased_ticket_is_stored_whoever_writes_and_however_late(
    store: SqliteStore, status: str
) -> None:
    """Answers, answers that failed, proposals, attempts, what a run lets go, what a rule adds."""
    (ticket,) = filled(store, a_ticket())
    lease = a_run(store)
    sent, let_go = a_delivery(ticket, run_id=lease.run_id), a_delivery(ticket, "page", run_id=lease.run_id)
    store.save([owing(ticket, sent, let_go)])
    erased = replace(erased_ticket(ticket), status=status, identity=f"{'!' if status == 'forgotten' else '@'}x")
    owed = [replace(d, state="superseded") for d in (sent, let_go)]
    store.save([dm.Change(an_event(ticket, status), erased, ticket.revision, tuple(owed))])
    failed = replace(an_answer(ticket), category=None, reason=None, error="CANARY")
    refused = replace(sent, attempts=1, last_error="CANARY", kept="CANARY", refusal="CANARY", content_hash="CANARY")
    attempt = dm.Attempt(sent.delivery_id, 1, "a", 400, "CANARY", 0.1, "CANARY")
    store.save(
        [
            dm.Change(an_event(ticket, "classified"), adds=(replace(an_answer(ticket), reason="CANARY"), failed)),
            dm.Change(an_event(ticket, "suggested"), adds=(replace(an_answer(ticket), answer_key="CANARY"),)),
            dm.Change(an_event(ticket, "delivery_failed"), adds=(refused, attempt)),
        ]
    )
    store.deliveries.let_go([sent.delivery_id, let_go.delivery_id], lease, "CANARY")
    added = a_delivery(ticket, "lead", addition="before:x", last_error="CANARY")
    assert store.add_deliveries([dm.Change(an_event(ticket, "added"), adds=(added,))]) == []
    rows = [row for table in tables() for row in sql(store, f"select * from {table}")]
    assert [row for row in rows if "CANARY" in str(row)] == []
    history = store.history(ticket.ticket_id)
    assert {c.error for c in history.classifications} == {None, "(forgotten)"}
    assert [(a.status, a.error) for a in history.attempts] == [(400, "(forgotten)")]
    assert {d.state for d in history.deliveries} == {"superseded"}
    kept, anew = kept_and_anew(store)
    assert kept == anew


def test_what_was_superseded_is_not_made_pending_by_a_late_failure_but_a_late_success_is_kept(
    store: SqliteStore,
) -> None:
    (ticket,) = filled(store, a_ticket())
    store.save([owing(ticket, a_delivery(ticket, state="superseded", done_at="then"))])
    store.save([owing(ticket, a_delivery(ticket, attempts=1, last_error="no"))])
    (delivery,) = store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    assert (delivery.state, delivery.attempts) == ("superseded", 1)
    store.save([owing(ticket, a_delivery(ticket, state="dead"))])
    assert store.deliveries.of([ticket.ticket_id])[ticket.ticket_id][0].state == "superseded"
    store.save([owing(ticket, a_delivery(ticket, state="accepted"))])
    assert store.deliveries.of([ticket.ticket_id])[ticket.ticket_id][0].state == "accepted"


@pytest.mark.parametrize("late", ["pending", "dead", "superseded"])
def test_what_was_accepted_stays_so_whatever_comes_late(store: SqliteStore, late: str) -> None:
    (ticket,) = filled(store, a_ticket())
    accepted = a_delivery(ticket, state="accepted", attempts=1, done_at="then")
    store.save([owing(ticket, accepted)])
    store.save([owing(ticket, a_delivery(ticket, state=late, attempts=1, last_error="no", done_at="later"))])
    assert store.deliveries.of([ticket.ticket_id])[ticket.ticket_id] == (accepted,)
    store.save([owing(ticket, replace(accepted, attempts=2))])
    assert store.deliveries.of([ticket.ticket_id])[ticket.ticket_id][0].attempts == 2


@pytest.mark.parametrize(
    "number", [1, ROWS_PER_STATEMENT - 1, ROWS_PER_STATEMENT, ROWS_PER_STATEMENT + 1, 2 * ROWS_PER_STATEMENT + 7]
)
def test_a_batch_of_any_size_is_stored_whole(store: SqliteStore, number: int) -> None:
    tickets = filled(store, *(a_ticket(str(n)) for n in range(number)))
    assert [t.ticket_id for t in store.find(dm.Selection())] == [t.ticket_id for t in reversed(tickets)]
    assert [e.ticket_id for e in store.log.events(dm.EventQuery())] == [t.ticket_id for t in tickets]
    assert first_break(store.log.events(dm.EventQuery())) is None


def test_a_large_batch_with_twins_inside_and_out_stores_each_identity_once(store: SqliteStore) -> None:
    filled(store, *(a_ticket(str(n)) for n in range(0, 1200, 3)))
    conflicts = store.save([created(a_ticket(str(n))) for n in range(1200)])
    assert [n for n, conflict in enumerate(conflicts) if conflict] == list(range(0, 1200, 3))
    assert len(list(store.find(dm.Selection()))) == 1200
    assert first_break(store.log.events(dm.EventQuery())) is None


# -- the audit log


def test_events_are_chained_without_a_gap(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket())
    store.save([changed(ticket), dm.Change(an_event(None, "swept", count=3))])
    events = list(store.log.events(dm.EventQuery()))
    assert [e.seq for e in events] == [1, 2, 3]
    assert events[0].prev == "0" * 64
    assert [e.prev for e in events[1:]] == [e.hash for e in events[:-1]]
    assert first_break(events) is None
    assert store.stats().events == 3


@pytest.mark.parametrize("statement", ["update events set actor = 'eve'", "delete from events where seq = 1"])
def test_the_log_can_only_grow(store: SqliteStore, statement: str) -> None:
    filled(store, a_ticket())
    before = list(store.log.events(dm.EventQuery()))
    with pytest.raises(INTEGRITY, match="append-only"):
        sql(store, statement)
    assert list(store.log.events(dm.EventQuery())) == before


def test_events_are_filtered_and_the_limit_keeps_the_last(store: SqliteStore) -> None:
    one, two = filled(store, a_ticket("1"), a_ticket("2"))
    store.save([changed(one), changed(two)])
    store.save([dm.Change(dm.Event("verdict", one.ticket_id, None, "ann", "2001-01-01T00:00:00.000Z"))])

    def seqs(**query: Any) -> list[int]:
        return [e.seq for e in store.log.events(dm.EventQuery(**query))]

    assert seqs(ticket_id=one.ticket_id) == [1, 3, 5]
    assert seqs(actions=("updated",)) == [3, 4]
    assert seqs(actions=("updated", "verdict")) == [3, 4, 5]
    assert seqs(actor="ann") == [5]
    assert seqs(until="2001-01-01T00:00:00.000Z") == [5]
    assert seqs(since="2001-01-01T00:00:00.001Z") == [1, 2, 3, 4]
    assert seqs(limit=2) == [4, 5]
    assert seqs(limit=2, ticket_id=one.ticket_id) == [3, 5]
    assert seqs(after=3) == [4, 5]
    assert seqs(limit=1, after=3) == [5]
    assert seqs(limit=0) == []
    assert seqs(actions=("nothing",), limit=5) == []


def test_events_go_over_many_pages(store: SqliteStore) -> None:
    filled(store, *(a_ticket(str(n)) for n in range(2 * EVENTS_PER_PAGE + 1)))
    assert [e.seq for e in store.log.events(dm.EventQuery())] == list(range(1, 2 * EVENTS_PER_PAGE + 2))
    assert len(list(store.log.events(dm.EventQuery(limit=EVENTS_PER_PAGE + 1)))) == EVENTS_PER_PAGE + 1


# -- runs, claims and leases


def test_claims_go_by_urgency_then_age(store: SqliteStore) -> None:
    priorities = {"a": "low", "b": None, "c": "urgent", "d": "high", "e": "normal", "f": "urgent"}
    filled(store, *(a_ticket(name, priority=priority) for name, priority in priorities.items()))
    claimed = store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), a_run(store), 10)
    assert names(claimed) == ["c", "f", "d", "b", "e", "a"]


def test_claims_continue_after_the_last_one_and_never_go_back(store: SqliteStore) -> None:
    filled(store, *(a_ticket(str(n), priority="urgent" if n % 2 else "low") for n in range(6)))
    lease = a_run(store)
    selection = dm.Selection(statuses=TO_CLASSIFY)
    first = store.runs.claim(selection, lease, 4)
    assert names(first) == ["1", "3", "5", "0"]
    back = first[0]
    assert store.save([changed(back, status="failed", run_id=None)]) == [None]
    rest = store.runs.claim(replace(selection, after=f"{first[-1].urgency}{first[-1].ticket_id}"), lease, 4)
    assert names(rest) == ["2", "4"]


def test_a_claim_says_who_holds_a_ticket_and_keeps_a_person_from_nothing(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket())
    lease = a_run(store)
    (held,) = store.runs.claim(dm.Selection(ids=(ticket.ticket_id,)), lease, 1)
    assert held == replace(ticket, run_id=lease.run_id)
    assert store.save([changed(ticket)]) == [None]
    assert store.save([changed(held)], lease)[0] is not None


def test_what_a_live_run_holds_is_given_to_no_other(store: SqliteStore) -> None:
    filled(store, *(a_ticket(str(n)) for n in range(4)))
    selection = dm.Selection(statuses=TO_CLASSIFY)
    one, two = a_run(store), a_run(store)
    claimed, theirs = store.runs.claim(selection, one, 3), store.runs.claim(selection, two, 3)
    assert names(claimed) == ["0", "1", "2"]
    assert names(theirs) == ["3"]
    assert store.runs.claim(selection, a_run(store), 3) == []
    assert store.runs.claim(dm.Selection(ids=(claimed[0].ticket_id,)), two, 1) == []


def test_the_end_of_a_run_frees_what_it_held(store: SqliteStore) -> None:
    filled(store, a_ticket())
    one, two = a_run(store), a_run(store)
    assert store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), one, 1)
    ended(store, one)
    assert next(iter(store.find(dm.Selection()))).run_id is None
    assert len(store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), two, 1)) == 1


def test_a_lapsed_lease_frees_what_it_held_and_the_late_worker_is_refused(store: SqliteStore) -> None:
    filled(store, a_ticket())
    slow, quick = a_run(store), a_run(store)
    (held,) = store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), slow, 1)
    sql(store, "update runs set lease_until = ? where run_id = ?", (time.time() - 1, slow.run_id))
    (taken,) = store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), quick, 1)
    assert taken.run_id == quick.run_id
    assert store.save([changed(held, status="classified")], slow)[0] is not None
    assert store.save([changed(taken, status="classified")], quick) == [None]


def test_claims_and_saves_renew_the_lease(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket())
    lease = a_run(store)
    for renew in (
        lambda: store.runs.claim(dm.Selection(ids=()), lease, 1),
        lambda: store.save([changed(ticket)], lease),
        lambda: store.deliveries.due("box", lease, 1),
    ):
        sql(store, "update runs set lease_until = 1")
        renew()
        assert sql(store, "select lease_until from runs")[0][0] > time.time() + 30


def test_what_a_dead_process_of_this_machine_held_is_free_at_the_next_begin(store: SqliteStore) -> None:
    filled(store, a_ticket())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = a_run(store)
    assert store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), dead, 1)
    assert store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), a_run(store), 1) == []
    sql(store, "update runs set pid = ? where run_id = ?", (gone.pid, dead.run_id))
    assert len(store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), a_run(store), 1)) == 1


@pytest.mark.parametrize(
    ("kind", "exit_code", "early"),
    [*(("classify", code, True) for code in (1, 4, 6, 7, 130, 143)), ("run", 7, True), ("classify", 0, False),
     ("classify", 3, False), ("route", 7, False)],
)  # fmt: skip
def test_a_history_names_the_run_that_ended_early_since_the_last_event(
    store: SqliteStore, kind: str, exit_code: int, early: bool
) -> None:
    (waiting,) = filled(store, a_ticket())
    run = store.runs.begin(dm.Run(dm.ids.new_id(), kind, "tester", kind, dm.times.ago(60)))
    assert store.history(waiting.ticket_id).ended_early is None, "it is still at work"
    store.runs.end(replace(run, ended_at=dm.times.ago(-60), exit_code=exit_code))
    found = store.history(waiting.ticket_id).ended_early
    assert (found and (found.run_id, found.exit_code)) == ((run.run_id, exit_code) if early else None)
    sql(store, "update runs set ended_at = ?", (dm.times.ago(30),))
    assert store.history(waiting.ticket_id).ended_early is None, "the ticket has changed since"


def test_a_history_names_the_run_that_holds_the_ticket(store: SqliteStore) -> None:
    held, free = filled(store, a_ticket("1"), a_ticket("2"))
    run = store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now()))
    assert store.runs.claim(dm.Selection(ids=(held.ticket_id,)), dm.Lease(run.run_id), 1)
    found = store.history(held.ticket_id).holder
    assert found is not None
    assert found.run_id == run.run_id
    assert store.history(free.ticket_id).holder is None
    store.runs.end(replace(run, ended_at=dm.times.now(), exit_code=0))
    assert store.history(held.ticket_id).holder is None, "it has ended"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    killed = a_run(store)
    assert store.runs.claim(dm.Selection(ids=(held.ticket_id,)), killed, 1)
    sql(store, "update runs set pid = ? where run_id = ?", (gone.pid, killed.run_id))
    assert store.history(held.ticket_id).holder is None, "it was killed"


def test_a_history_names_the_run_that_was_killed(store: SqliteStore) -> None:
    (waiting,) = filled(store, a_ticket())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    killed = a_run(store)
    sql(store, "update runs set pid = ? where run_id = ?", (gone.pid, killed.run_id))
    found = store.history(waiting.ticket_id).ended_early
    assert found is not None
    assert (found.run_id, found.exit_code) == (killed.run_id, 137)


@pytest.mark.parametrize("elsewhere", ["replace(place, ' ', '.example ')", "place || '9'", "''"])
def test_a_process_of_another_machine_or_container_is_not_taken_for_dead(store: SqliteStore, elsewhere: str) -> None:
    """Containers may have one host name, each with numbers of its own for its processes."""
    filled(store, a_ticket())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    far = a_run(store)
    assert store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), far, 1)
    sql(store, f"update runs set pid = ?, place = {elsewhere} where run_id = ?", (gone.pid, far.run_id))
    assert store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), a_run(store), 1) == []
    assert [run.exit_code for run in store.runs.latest(None)] == [None, None]


@pytest.mark.parametrize("served", [0, 1])
def test_a_suspended_run_keeps_its_lease_unless_it_is_a_server_s(store: SqliteStore, served: int) -> None:
    """A server's run that was never ended would be held for as long as the server lives."""
    (ticket,) = filled(store, a_ticket())
    asleep = store.runs.begin(dm.Run(dm.ids.new_id(), "classify", "tester", "classify", dm.times.now(), served=served))
    assert store.runs.claim(dm.Selection(ids=(ticket.ticket_id,)), dm.Lease(asleep.run_id), 1)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        live = (process.pid, began(process.pid), asleep.run_id)
        sql(store, "update runs set lease_until = 1, pid = ?, process = ? where run_id = ?", live)
        store.runs.renew(a_run(store))
        assert store.runs.claimed([ticket.ticket_id]) == (set() if served else {ticket.ticket_id})


def test_the_place_of_a_process_is_its_machine_since_its_start_and_its_space_of_process_numbers() -> None:
    name, start, space = place().split(" ")
    assert (name, len(start), space.isdigit()) == (machine(), 36, True)


@pytest.mark.slow
def test_eight_workers_share_the_tickets_and_none_gets_one_twice(store: SqliteStore) -> None:
    filled(store, *(a_ticket(str(n)) for n in range(400)))

    def work(_: int) -> list[str]:
        lease, claimed_ids = a_run(store), []
        while claimed := store.runs.claim(dm.Selection(statuses=TO_CLASSIFY), lease, 7):
            saved = store.save([changed(t, status="needs_review", run_id=None) for t in claimed], lease)
            assert saved == [None] * len(claimed)
            claimed_ids += [t.ticket_id for t in claimed]
        ended(store, lease)
        return claimed_ids

    with ThreadPoolExecutor(8) as pool:
        done = [ticket_id for claimed_ids in pool.map(work, range(8)) for ticket_id in claimed_ids]
    assert len(done) == len(set(done)) == 400


# -- deliveries


def test_due_gives_what_falls_due_the_oldest_first_to_one_run_only(store: SqliteStore) -> None:
    one, two, three = filled(store, *(a_ticket(n, status="routing", category="Billing") for n in "123"))
    now = time.time()
    store.save(
        [
            owing(one, a_delivery(one, due_at=now - 1), a_delivery(one, "other", due_at=now - 9)),
            owing(two, a_delivery(two, due_at=now - 5)),
            owing(three, a_delivery(three, due_at=now + 100)),
        ]
    )
    lease, other = a_run(store), a_run(store)
    parcels = store.deliveries.due("box", lease, 10)
    assert names(p.ticket for p in parcels) == ["2", "1"]
    assert {p.delivery.run_id for p in parcels} == {lease.run_id}
    assert store.deliveries.due("box", other, 10) == []
    ended(store, lease)
    assert names(p.ticket for p in store.deliveries.due("box", other, 1)) == ["2"]


def test_what_is_let_go_is_due_again_and_keeps_why_it_was_not_tried(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket(status="routing", category="Billing"))
    store.save([owing(ticket, a_delivery(ticket, due_at=5.0))])
    lease = a_run(store)
    for why, kept in (("no way there", "no way there"), (None, "no way there")):
        (outgoing,) = store.deliveries.due("box", lease, 5)
        store.deliveries.let_go([outgoing.delivery.delivery_id], lease, why)
        (delivery,) = store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
        assert (delivery.run_id, delivery.attempts, delivery.last_error) == (None, 0, kept)


def test_the_oldest_pending_delivery_is_that_which_was_created_first_whenever_it_is_due(store: SqliteStore) -> None:
    assert (store.stats().oldest_pending_delivery, store.gauges().oldest_pending_delivery) == (None, None)
    (ticket,) = filled(store, a_ticket())
    first, second = "2026-11-21T10:00:00.000Z", "2026-11-22T10:00:00.000Z"
    store.save(
        [
            owing(
                ticket,
                a_delivery(ticket, "a", at=first, due_at=90.0, attempts=4),
                a_delivery(ticket, "b", at=second, due_at=10.0),
                a_delivery(ticket, "done", state="accepted", at="2026-11-01T10:00:00.000Z"),
                a_delivery(ticket, "dead", state="dead", at="2026-11-02T10:00:00.000Z"),
            )
        ]
    )
    assert (store.stats().oldest_pending_delivery, store.gauges().oldest_pending_delivery) == (first, first)
    store.save([owing(ticket, a_delivery(ticket, "a", at=first, state="accepted", done_at="then"))])
    assert store.stats().oldest_pending_delivery == second


def test_only_what_a_dead_run_had_begun_may_have_arrived(store: SqliteStore) -> None:
    """Not what it held, nor what it let go."""
    (ticket,) = filled(store, a_ticket(status="routing", category="Billing"))
    store.save([owing(ticket, a_delivery(ticket, due_at=5.0))])
    for begins, lets_go, doubtful in ((False, False, 0), (True, True, 0), (True, False, 1)):
        lease = a_run(store)
        (outgoing,) = store.deliveries.due("box", lease, 5)
        if begins:
            assert store.deliveries.begin(lease, [outgoing]) == {outgoing.delivery.delivery_id}
            assert store.deliveries.of([ticket.ticket_id])[ticket.ticket_id][0].arrived
        if lets_go:
            store.deliveries.let_go([outgoing.delivery.delivery_id], lease)
        ended(store, lease)
        (again,) = store.deliveries.due("box", lease_of_another := a_run(store), 5)
        assert (again.delivery.begun_by, again.delivery.doubtful) == (None, doubtful)
        ended(store, lease_of_another)


def test_an_attempt_begins_only_at_what_still_is_as_it_was_read(store: SqliteStore) -> None:
    """Not after another text, another decision, a switch, an erasure, a result, or another run that took it."""
    lease = a_run(store)

    def outgoing_of(name: str, **fields: Any) -> dm.OutgoingDelivery:
        (ticket,) = filled(store, a_ticket(name, status="routing", category="Billing"))
        delivery = a_delivery(ticket, run_id=lease.run_id, **fields)
        store.save([owing(ticket, delivery)])
        return dm.OutgoingDelivery(delivery, ticket)

    same, text, category, decision = (outgoing_of(name) for name in ("same", "text", "category", "decision"))
    addition, off, accepted = outgoing_of("add", addition="before:x"), outgoing_of("off"), outgoing_of("accepted")
    taken, erased = outgoing_of("taken"), outgoing_of("erased", addition="escalation:x")
    assert store.deliveries.begin(lease, []) == set()
    store.save([changed(each.ticket, content_hash="another") for each in (text, addition)])
    store.save([dm.Change(an_event(category.ticket, "verdict"),
                       replace(category.ticket, category="Technical", revision=2), 1)])  # fmt: skip
    sql(store, "update deliveries set destination = 'gone' where delivery_id = ?", (off.delivery.delivery_id,))
    store.deliveries.switch("gone", off=True)
    answer = an_answer(decision.ticket)
    decided = replace(decision.ticket, decision_id=answer.classification_id, revision=2)
    store.save([dm.Change(an_event(decision.ticket, "verdict"), decided, 1, (answer,))])
    store.save([owing(accepted.ticket, replace(accepted.delivery, state="accepted", attempts=1))])
    store.save([owing(taken.ticket, replace(taken.delivery, run_id="another"))])
    gone = replace(erased_ticket(erased.ticket), identity="!x")
    cancelled = replace(erased.delivery, state="superseded")
    assert store.save([dm.Change(an_event(erased.ticket, "forgotten"), gone, 1, (cancelled,))]) == [None]
    every = [same, text, category, decision, addition, off, accepted, taken, erased]
    assert store.deliveries.begin(lease, every) == {same.delivery.delivery_id}
    ended(store, lease)
    with pytest.raises(dm.TakenOverError):
        store.deliveries.begin(lease, [same])


@pytest.mark.parametrize("status", ["forgotten", "withdrawn"])
def test_a_ticket_is_not_erased_while_a_live_run_sends_it(store: SqliteStore, status: str) -> None:
    (ticket,) = filled(store, a_ticket(status="routing", category="Billing"))
    lease = a_run(store)
    delivery = a_delivery(ticket, run_id=lease.run_id)
    store.save([owing(ticket, delivery)])
    store.deliveries.begin(lease, [dm.OutgoingDelivery(delivery, ticket)])
    erased = replace(erased_ticket(ticket), status=status, identity="!x")
    erasing = dm.Change(an_event(ticket, status), erased, 1, (replace(delivery, state="superseded"),))
    (conflict,) = store.save([erasing])
    assert conflict is not None
    assert stored(store, ticket) == ticket
    ended(store, lease)
    assert store.save([erasing]) == [None]
    (sent,) = store.deliveries.of([ticket.ticket_id])[ticket.ticket_id]
    assert (sent.state, sent.arrived) == ("superseded", True)


def test_owed_names_destinations_with_pending_deliveries_and_next_due_their_first_time(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket(status="routing", category="Billing"))
    assert (store.deliveries.pending_destinations(), store.deliveries.next_due()) == ([], None)
    store.save(
        [
            owing(
                ticket,
                a_delivery(ticket, "b", due_at=50.0),
                a_delivery(ticket, "a", due_at=70.0),
                a_delivery(ticket, "done", state="accepted", due_at=1.0),
                a_delivery(ticket, "dead", state="dead", due_at=1.0),
                a_delivery(ticket, "gone", state="superseded", due_at=1.0),
            )
        ]
    )
    assert sorted(store.deliveries.pending_destinations()) == ["a", "b"]
    assert store.deliveries.next_due() == 50.0
    assert store.deliveries.due("done", a_run(store), 5) == []


@pytest.mark.parametrize(
    ("status", "category", "due"),
    [
        ("routing", "Billing", True),
        ("routed", "Billing", True),
        ("undeliverable", "Billing", True),
        ("classified", "Billing", False),
        ("classified", "Technical", False),
        ("routing", "Technical", False),
        ("new", None, False),
        ("needs_review", None, False),
    ],
)
def test_what_was_decided_before_a_ticket_changed_is_not_due(
    store: SqliteStore, status: str, category: str | None, *, due: bool
) -> None:
    ticket, other = filled(store, a_ticket("1"), a_ticket("2", status="routing", category="Billing"))
    store.save([owing(ticket, a_delivery(ticket, due_at=5.0)), owing(other, a_delivery(other, due_at=9.0))])
    store.save([changed(ticket, status=status, category=category)])
    assert store.deliveries.next_due() == (5.0 if due else 9.0)
    assert names(p.ticket for p in store.deliveries.due("box", a_run(store), 5)) == (["1", "2"] if due else ["2"])
    assert store.deliveries.pending_destinations() == ["box"]


# -- reads


def test_a_ticket_is_named_by_id_by_ending_and_by_external_id(store: SqliteStore) -> None:
    one, two = filled(store, a_ticket("A-1"), a_ticket("A-2"))

    def named(name: str) -> list[str | None]:
        return names(store.named(name, 10))

    assert named(one.ticket_id) == ["A-1"]
    assert named(one.ticket_id[-8:]) == named(one.ticket_id[-6:]) == ["A-1"]
    assert named(one.ticket_id[-5:]) == []
    assert named("A-2") == ["A-2"]
    assert named("A-") == named("A") == named("") == named("A-2\t") == []
    assert two.external_id == "A-2"


def test_a_name_that_ends_no_id_is_not_searched_for_in_all_ids(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 50,000 tickets that took 7 ms, for each of up to 100,000 names of a request."""
    searched: list[str] = []

    filled(store, a_ticket("PROJ-1234"))
    read = store.database.read

    def observed(sql: str, values: Any) -> list[Any]:
        if "ending" in values:
            searched.append(values["ending"])
        return read(sql, values)

    monkeypatch.setattr(store.database, "read", observed)
    assert names(store.named("PROJ-1234", 10)) == ["PROJ-1234"]
    assert names(store.named("a" * 37, 10)) == []
    assert names(store.named("ABC-12", 10)) == []
    assert searched == ["abc-12"]


def test_wildcards_in_a_name_are_letters(store: SqliteStore) -> None:
    filled(store, a_ticket("100%"), a_ticket("100x"), a_ticket("______"), a_ticket("a\\b"))
    assert names(store.named("100%", 10)) == ["100%"]
    assert names(store.named("______", 10)) == ["______"]
    assert names(store.named("%%%%%%", 10)) == []
    assert names(store.named("a\\b", 10)) == ["a\\b"]


def test_several_tickets_of_one_name_are_all_given_up_to_the_limit(store: SqliteStore) -> None:
    twins = filled(store, *(a_ticket("7", identity=f"7\t{source}", source=source) for source in ("x", "y", "z")))
    assert [t.ticket_id for t in store.named("7", 10)] == [t.ticket_id for t in reversed(twins)]
    assert len(store.named("7", 2)) == 2
    shared = twins[0].ticket_id[-8:]
    filled(store, a_ticket(shared))
    assert len(store.named(shared, 10)) == 2


def test_find_filters(store: SqliteStore) -> None:
    filled(
        store,
        a_ticket("1", status="classified", category="Billing", customer_id="ann", priority="urgent", classifier="gpt"),
        a_ticket("2", status="new", customer_id="Bob@\u00c4.example", stored_at="2001-01-01T00:00:00.000Z"),
        a_ticket("3", status="failed", customer_id="ann", subject="100% of A_B", description=None),
        a_ticket("4", status="new", subject=None, description="100x of AxB, c:\\temp"),
        a_ticket(
            "5", status="routed", subject="CAF\u00c9", description="\u00c4rger, \u041f\u0420\u0418\u0412\u0415\u0422"
        ),
    )

    def found(**selection: Any) -> list[str | None]:
        return names(store.find(dm.Selection(**selection)))

    assert found() == ["5", "4", "3", "2", "1"]
    assert found(statuses=frozenset({"new"})) == ["4", "2"]
    assert found(statuses=TO_CLASSIFY) == ["4", "3", "2"]
    assert found(categories=("Billing",)) == found(classifier="gpt") == found(priority="urgent") == ["1"]
    assert found(customer_id="ann") == ["3", "1"]
    assert found(customer_id="Ann") == []
    assert found(customer_id="bob@\u00e4.example") == ["2"]
    assert found(customer_id="ann", statuses=frozenset({"failed"})) == ["3"]
    assert found(since="2002") == ["5", "4", "3", "1"]
    assert found(limit=2) == ["5", "4"]
    assert found(limit=0) == []
    assert found(search="100%") == ["3"]
    assert found(search="A_B") == ["3"]
    assert found(search="axb") == ["4"]
    assert found(search="c:\\t") == ["4"]
    assert found(search="' or 1=1 --") == []
    for text in ("CAF\u00c9", "caf\u00e9", "\u00c4RGER", "\u043f\u0440\u0438\u0432\u0435\u0442"):
        assert found(search=text) == ["5"]
    assert found(search="cafe") == []


def test_a_rare_text_is_found_in_the_same_order_by_another_way(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = filled(store, *(a_ticket(str(n), subject="Caf\u00c9 100%" if n % 3 else "tea") for n in range(40)))
    selections = [
        dm.Selection(search=text, limit=limit, after=start, customer_id=customer)
        for text in ("CAF\u00c9", "caf", "0%", "nothing")
        for limit in (None, 0, 1, 5, 12, 100)
        for start in ("", stored[30].ticket_id, "0", "zz\0")
        for customer in (None, "nobody")
    ]
    usual = [list(store.find(selection)) for selection in selections]
    statements: list[str] = []
    read = store.database.read

    def noted(sql: str, values: Any = ()) -> list[Any]:
        statements.append(sql)
        return read(sql, values)

    monkeypatch.setattr(store.database, "read", noted)
    monkeypatch.setattr(where_clauses, "SORTED_IDS_PER_PAGE", 10)
    monkeypatch.setattr(where_clauses, "NEXT_TICKETS", 1)
    assert [list(store.find(selection)) for selection in selections] == usual
    assert sum("ticket_id || ''" in sql for sql in statements) > 20
    assert {len(found) for found in usual} >= {0, 1, 5, 12, 26}


def test_find_walks_over_many_pages_while_others_write(store: SqliteStore) -> None:
    """No transaction stays open between two tickets, and what is new in between shifts no page."""
    tickets = filled(store, *(a_ticket(str(n)) for n in range(2 * TICKETS_PER_PAGE + 3)))
    walk = store.find(dm.Selection())
    first = [next(walk) for _ in range(TICKETS_PER_PAGE)]
    filled(store, a_ticket("later"))
    if "://" not in store.path:
        assert sql(store, "pragma wal_checkpoint(truncate)")[0][0] == 0  # a reader would be in the way
    else:
        assert sql(store, "select count(*) from pg_stat_activity where state like 'idle in%'") == [(0,)]
    rest = list(walk)
    assert [t.ticket_id for t in first + rest] == [t.ticket_id for t in reversed(tickets)]
    assert len(list(store.find(dm.Selection(limit=TICKETS_PER_PAGE + 1)))) == TICKETS_PER_PAGE + 1


def test_find_by_ids_keeps_their_order_over_pages_and_passes_over_strangers(store: SqliteStore) -> None:
    tickets = filled(store, *(a_ticket(str(n)) for n in range(TICKETS_PER_PAGE + 5)))
    expected = [t.ticket_id for t in tickets[::-1]]
    expected.insert(3, "nobody")
    assert [t.ticket_id for t in store.find(dm.Selection(ids=tuple(expected)))] == [
        i for i in expected if i != "nobody"
    ]
    assert list(store.find(dm.Selection(ids=()))) == []


def test_history_holds_everything_oldest_first(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket())
    question_spec = dm.Asking("print-1", "fake", "m", "", "prompt", '[["Billing"]]', "{}", dm.times.now())
    store.answers.record_asking(question_spec)
    store.answers.record_asking(replace(question_spec, prompt="another"))
    answers = (an_answer(ticket), an_answer(ticket, "Technical"))
    delivery = a_delivery(ticket)
    tries = tuple(dm.Attempt(delivery.delivery_id, n, f"2024-01-0{n}", 500, "no", 0.1) for n in (1, 2))
    store.save([dm.Change(an_event(ticket, "classified"), None, 0, answers)])
    store.save([dm.Change(an_event(ticket, "routed"), None, 0, (delivery, *tries))])
    history = store.history(ticket.ticket_id)
    assert history.ticket == ticket
    assert history.classifications == answers
    assert history.deliveries == (delivery,)
    assert history.attempts == tries
    assert [e.action for e in history.events] == ["created", "classified", "routed"]
    assert history.questions == {"print-1": question_spec}


def test_stats_count(store: SqliteStore) -> None:
    one, two, three = filled(
        store,
        a_ticket("1", status="classified", category="Billing", classifier="gpt", stored_at="2024-01-01T10:00:00.000Z"),
        a_ticket("2", stored_at="2024-01-01T11:00:00.000Z"),
        a_ticket("3", stored_at="2024-01-02T00:00:00.000Z"),
    )
    store.save([dm.Change(an_event(one), adds=(replace(an_answer(one), cost=0.25), a_delivery(one)))])
    store.save([dm.Change(an_event(two), adds=(replace(an_answer(two), cost=0.5), a_delivery(two, state="dead")))])
    store.runs.renew(replace(a_run(store), spent=0.5, reserved=0.25))
    stats = store.stats()
    assert (stats.tickets, stats.events, stats.cost_usd) == (3, 5, 0.75)
    assert stats.by_status == {"new": 2, "classified": 1}
    assert stats.by_category == {"Billing": 1}
    assert stats.by_classifier == {"gpt": 1}
    assert stats.by_day == {"2024-01-01": 2, "2024-01-02": 1}
    assert stats.deliveries == {"box": {"dead": 1, "pending": 1}}
    assert three.status == "new"


def test_models_are_kept_by_fingerprint(store: SqliteStore) -> None:
    assert store.model("print") is None
    store.keep_model("print", b"\0weights", {"accuracy": 0.5})
    store.keep_model("print", b"\0better", {"accuracy": 0.6})
    assert store.model("print") == b"\0better"


# -- several writers


def _save_alone(path: str, name: str, number: int) -> None:
    store = PostgresStore(path, network=ONLINE) if "://" in path else SqliteStore(path)
    for n in range(number):
        store.save([created(a_ticket(f"{name}-{n}"))])


@pytest.mark.slow
def test_processes_and_threads_that_save_at_once_keep_one_whole_chain(store: SqliteStore) -> None:
    store.stats()
    spawned = [
        multiprocessing.get_context("spawn").Process(target=_save_alone, args=(store.path, name, 40)) for name in "ab"
    ]
    for process in spawned:
        process.start()
    threads = [threading.Thread(target=_save_alone, args=(store.path, f"t{n}", 40)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in spawned:
        process.join()
    assert [p.exitcode for p in spawned] == [0, 0]
    events = list(store.log.events(dm.EventQuery()))
    assert len(events) == 200
    assert first_break(events) is None


def test_of_two_that_change_the_same_ticket_at_once_exactly_one_holds(store: SqliteStore) -> None:
    (ticket,) = filled(store, a_ticket())
    gate = threading.Barrier(6)

    def change(n: int) -> bool:
        gate.wait()
        return store.save([changed(ticket, reason=str(n))]) == [None]

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(change, range(6))) == 1
    assert actions(store) == ["created", "updated"]


def test_others_read_what_is_stored_by_views(store: SqliteStore) -> None:
    ticket, gone = filled(store, a_ticket(), a_ticket("2", customer_id="C-2"))
    unsure = an_answer(ticket, "Technical")
    verdict = replace(an_answer(ticket, "General"), confidence_source="human", reason="a note")
    part = replace(an_answer(ticket, "yes"), question="topics.app", cost=0.5, input_tokens=7)
    given = dm.compact({"topics.app": {"value": "yes", "state": "answered", "decision_id": part.classification_id}})
    held = {"category": "General", "verdict": 1, "decision_id": verdict.classification_id, "answers": given}
    decided = replace(ticket, revision=2, **held)
    sent = a_delivery(ticket, classification_id=verdict.classification_id)
    after = dm.Change(an_event(ticket, "verdict"), decided, 1, (unsure, verdict, part, sent))
    assert store.save([after, changed(gone, status="withdrawn")]) == [None, None]
    keys = [key for key in dm.TICKET_KEYS if key not in {"extra", "decided_at"}]
    record = dm.ticket_record(stored(store, ticket))
    assert sql(store, f"select {', '.join(keys)}, extra from tickets_v") == [(*(record[key] for key in keys), "{}")]
    assert sql(store, "select decided_at from tickets_v") == [(verdict.at,)]
    assert sql(store, "select question, value, held, verdict, input_tokens, cost_usd from answers_v order by 1, 2") == [
        ("category", "General", "General", 1, 0, 0.0),
        ("category", "Technical", None, 0, 0, 0.0),
        ("topics.app", "yes", "yes", 0, 7, 0.5),
    ]
    assert sql(store, "select question, value, note from verdicts_v") == [("category", "General", "a note")]
    assert sql(store, "select answer_id, destination, state from deliveries_v") == [
        (verdict.classification_id, "box", "pending")
    ]
    assert sql(store, "select action from events_v order by seq") == [
        ("created",), ("created",), ("verdict",), ("updated",)
    ]  # fmt: skip


J = "j\u00f6rg"
ADDRESSES = (
    f"{J}@example.com", "jo\u0308rg@example.com", "J\u00d6RG@EXAMPLE.COM", f"{J}@example.com\u200b",
    f"<{J}@example.com>",
    f"{J} M <{J}@example.com>", f"mailto:{J}@example.com", f"{J}\uff20example.com", f'"{J}@example.com"',
    f'"M, J" <MAILTO:{J}@example.com> ',
)  # fmt: skip
OTHERS = ("jorg@example.com", f"{J}@example.com.example", f"a {J}@example.com", "C-7", "c-7", "C-7\u200b", "@", f"{J}@")


@pytest.mark.parametrize("asked", [*ADDRESSES, *OTHERS])
def test_a_mail_address_is_one_person_however_it_is_spelt_and_any_other_id_is_as_it_stands(
    store: SqliteStore, asked: str
) -> None:
    filled(store, *(a_ticket(f"A-{n}", customer_id=each) for n, each in enumerate((*ADDRESSES, *OTHERS))))
    found = {ticket.customer_id for ticket in store.find(dm.Selection(customer_id=asked))}
    assert found == (set(ADDRESSES) if asked in ADDRESSES else {asked})


def test_ids_that_look_alike_are_named_by_what_a_reader_sees() -> None:
    assert dm.look_alikes("C-7", OTHERS) == ["c-7", "C-7\u200b"]
    others = (*ADDRESSES, *OTHERS)
    assert dm.look_alikes(f"{J.upper()}@example.com", others) == [f"{J}@example.com.example", f"a {J}@example.com"]
