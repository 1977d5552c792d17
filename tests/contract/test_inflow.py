"""The inflow on both stores: tickets by when they were written, spikes that are sent once, counts for drift."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.fake_destination import FakeDestination
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.extensions.insight import find_latest_spikes, send_new_spikes
from triage_cli.stores import SqlInflow

UNTIL = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)


def draft(n: int, at: datetime, text: str, customer: str | None = None) -> dm.TicketDraft:
    return dm.TicketDraft(
        n, n + 2, text, external_id=f"X-{n}", customer_id=customer or f"c{n}", created_at=dm.timestamp(at)
    )


def stored(world: World, spike: int = 12) -> SqlInflow:
    """Store five weeks of unlike tickets, and like ones in the last two hours."""
    at = [UNTIL - HOUR - week * WEEK + n * timedelta(minutes=1) for week in range(5) for n in range(20)]
    drafts = [draft(n, moment, f"about {'x' * (n % 20 + 3)}") for n, moment in enumerate(at)]
    drafts += [
        draft(1000 + n, UNTIL - timedelta(minutes=30 - n), "The login page shows gateway timeout") for n in range(spike)
    ]
    list(world.triage().create(drafts))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    return SqlInflow(world.store)


def test_tickets_of_a_period_by_when_they_were_written(world: World) -> None:
    inflow = stored(world, spike=0)
    list(world.triage().create([dm.TicketDraft(0, 2, "without a time", external_id="now")]))
    found = inflow.written(dm.timestamp(UNTIL - 2 * HOUR), dm.timestamp(UNTIL))
    assert [ticket.customer for ticket in found] == [f"c{n}" for n in range(20)]
    assert {ticket.category for ticket in found} == {"Billing"}
    assert inflow.written(dm.timestamp(UNTIL), dm.timestamp(UNTIL + HOUR)) == []
    (late,) = inflow.written(dm.timestamp(UNTIL + HOUR), "2999")
    assert (late.customer, late.text) == (late.ticket_id, "without a time")


def test_a_spike_is_sent_once_while_it_goes_on(world: World) -> None:
    inflow, pager = stored(world), FakeDestination("pager")
    spike_search = find_latest_spikes(inflow, UNTIL, 2 * HOUR, 4 * WEEK)
    assert (spike_search.tickets, spike_search.weeks) == (80, 4)
    (spike,) = spike_search.spikes
    assert (spike.kind, spike.customers) == ("group", 12)
    assert send_new_spikes(inflow, [spike], pager, "2h", "tester") == 1
    assert send_new_spikes(inflow, [spike], pager, "2h", "tester") == 0
    (later,) = find_latest_spikes(inflow, UNTIL + timedelta(minutes=5), 2 * HOUR, 4 * WEEK).spikes
    list(world.triage().create([draft(2000, UNTIL, "The login page shows gateway timeout")]))
    (grown,) = find_latest_spikes(inflow, UNTIL + timedelta(minutes=5), 2 * HOUR, 4 * WEEK).spikes
    assert (later.spike_id, grown.spike_id, grown.customers) == (spike.spike_id, spike.spike_id, 13)
    assert send_new_spikes(inflow, [grown], pager, "2h", "tester") == 0
    assert pager.got == [spike.spike_id]


def test_a_week_is_compared_with_if_anything_was_written_in_it(world: World) -> None:
    """Hours without tickets are a baseline, and weeks before the database began are none."""
    inflow, night = stored(world, spike=0), UNTIL + timedelta(hours=12)
    assert find_latest_spikes(inflow, night, 2 * HOUR, 4 * WEEK) == dm.SpikeSearch((), 0, 4)
    assert find_latest_spikes(inflow, night, 2 * HOUR, 9 * WEEK).weeks == 4
    assert find_latest_spikes(inflow, night - 5 * WEEK, 2 * HOUR, 4 * WEEK) == dm.SpikeSearch((), 0, 0)
    list(world.triage().create([draft(3000 + n, night - HOUR, f"about {'x' * (n + 3)}") for n in range(12)]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    (spike,) = find_latest_spikes(inflow, night, 2 * HOUR, 4 * WEEK).spikes
    assert (spike.kind, spike.category, spike.customers, spike.customers_before) == ("category", "Billing", 12, 0.0)


def test_a_spike_that_was_refused_is_sent_again_under_its_id(world: World) -> None:
    inflow, answers = stored(world), [dm.DeliveryError("busy"), None]
    pager = FakeDestination("pager", lambda _: answers.pop(0))
    (spike,) = find_latest_spikes(inflow, UNTIL, 2 * HOUR, 4 * WEEK).spikes
    with pytest.raises(dm.UnavailableError, match="pager did not take a spike: busy"):
        send_new_spikes(inflow, [spike], pager, "2h", "tester")
    assert send_new_spikes(inflow, [spike], pager, "2h", "tester") == 1
    assert pager.got == [spike.spike_id] * 2


def test_counts_of_a_period(world: World) -> None:
    world.classifier = FakeClassifier(
        lambda t: ("Billing" if "about" in t.text else "Technical", 0.9 if "x" in t.text else 0.3)
    )
    inflow = stored(world, spike=4)
    given = [
        dm.VerdictDraft(0, "X-0", "Billing"),
        dm.VerdictDraft(1, "X-1", "General"),
        dm.VerdictDraft(2, "X-1000", "Technical"),
    ]
    list(world.triage().give_verdicts(given))
    counts = inflow.counts(dm.timestamp(UNTIL - 2 * HOUR), dm.timestamp(UNTIL))
    assert counts.labels == {"Billing": 19, "General": 1, "Technical": 4}
    assert counts.sure == dm.Count(21, 18)
    assert counts.verdicts == {"fake": dm.Count(3, 2)}
    assert counts.second_opinions == {}
    renamed = SqlInflow(world.store, {"General": "Billing"})
    assert renamed.counts(dm.timestamp(UNTIL - 2 * HOUR), dm.timestamp(UNTIL)).labels == {"Billing": 20, "Technical": 4}
    assert {t.category for t in renamed.written(dm.timestamp(UNTIL - 2 * HOUR), dm.timestamp(UNTIL))} == {
        "Billing",
        "Technical",
    }
    before = inflow.counts(dm.timestamp(UNTIL - WEEK - 2 * HOUR), dm.timestamp(UNTIL - WEEK))
    assert (before.labels, before.sure, before.verdicts) == ({"Billing": 20}, dm.Count(20, 20), {})
