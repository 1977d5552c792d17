"""Delivers spikes: finds them in the latest inflow, and sends each of them once."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from triage_cli import domain as dm
from triage_cli.ports import Destination, Inflow

WEEK = timedelta(weeks=1)
MOST_OTHERS = 2_000  # tickets of other hours, whose words tell which are rare


def find_latest_spikes(inflow: Inflow, until: datetime, window: timedelta, baseline: timedelta) -> dm.SpikeSearch:
    """Return the spikes of the window that ends at `until`, against the same hours of the weeks of the baseline.

    A week in which nothing at all was written is none to compare with: the database may be younger. A spike that goes
    on keeps the id under which it was sent.
    """
    window_start = until - window
    latest = inflow.written(dm.timestamp(window_start), dm.timestamp(until))
    earlier_periods = []
    for end in (until - week * WEEK for week in range(1, baseline // WEEK + 1)):
        period = inflow.written(dm.timestamp(end - window), dm.timestamp(end))
        if period or inflow.written(dm.timestamp(end - WEEK), dm.timestamp(end), 1):
            earlier_periods.append(period)
    others = inflow.written(dm.timestamp(until - baseline), dm.timestamp(window_start), MOST_OTHERS)
    sent_before = inflow.sent_spikes(dm.timestamp(window_start))
    spikes_found = dm.find_spikes(latest, earlier_periods, others)
    return dm.SpikeSearch(
        spikes=tuple(_continued_spike(spike, sent_before) for spike in spikes_found),
        tickets=sum(map(len, earlier_periods)),
        weeks=len(earlier_periods),
    )


def _continued_spike(spike: dm.Spike, sent_before: Sequence[dm.SentSpike]) -> dm.Spike:
    continued = next((sent for sent in sent_before if sent.goes_on_as(spike)), None)
    return spike if continued is None else spike._replace(spike_id=continued.spike_id, since=continued.first_at)


def send_new_spikes(
    inflow: Inflow, spikes: Sequence[dm.Spike], destination: Destination, window: str, actor: str
) -> int:
    """Send the spikes that were not sent yet, and remember all; return how many were accepted.

    Raises `UnavailableError` if one was not; it is sent again the next time, under the same id.
    """
    delivered_at = {sent.spike_id: sent.delivered_at for sent in inflow.sent_spikes("")}
    at, failure, accepted_spikes = dm.now(), "", set()
    for spike in spikes:
        if delivered_at.get(spike.spike_id):
            continue
        for outcomes in destination.deliver([[_spike_delivery(spike, destination.name, window, at)]]):
            for outcome in outcomes:
                if outcome.error is not None:
                    failure = outcome.error.message
                else:
                    accepted_spikes.add(spike.spike_id)
    remembered_spikes = [
        dm.SentSpike(
            spike_id=spike.spike_id,
            kind=spike.kind,
            category=spike.category,
            members=spike.members,
            first_at=spike.since,
            last_at=at,
            destination=destination.name,
            delivered_at=delivered_at.get(spike.spike_id) or (at if spike.spike_id in accepted_spikes else None),
        )
        for spike in spikes
    ]
    sent_data = {"destination": destination.name, "spikes": sorted(accepted_spikes)}
    inflow.keep_spikes(
        remembered_spikes,
        dm.Event(dm.EventAction.SPIKES, None, None, actor, at, sent_data) if accepted_spikes else None,
    )
    if failure:
        hint = "the next triage spikes sends it again, under the same id"
        raise dm.UnavailableError(f"{destination.name} did not take a spike: {failure}", hint=hint)
    return len(accepted_spikes)


def _spike_delivery(spike: dm.Spike, destination: str, window: str, at: str) -> dm.OutgoingDelivery:
    """Return a spike as the delivery of a ticket that is not stored."""
    share = f"{spike.share:.1%} of the customers, {spike.share_before:.1%} in the same hours of earlier weeks"
    before = f"usually {spike.customers_before:,.1f}"
    text_lines = [
        f"{spike.tickets:,} tickets of {spike.customers:,} customers within {window}, {before} ({share}).",
        "",
        *(f"- {example.text}" for example in spike.examples),
    ]
    ticket = dm.Ticket.of_text("\n".join(text_lines), ticket_id=spike.spike_id, source="spikes")._replace(
        external_id=spike.spike_id,
        subject=f"Spike: {spike.name} ({spike.customers:,} customers)",
        priority="high",
        urgency=dm.URGENCY["high"],
        created_at=spike.since,
        stored_at=at,
        category=spike.category,
    )
    return dm.OutgoingDelivery.made_up(ticket, destination, name=spike.spike_id, rule="spikes")
