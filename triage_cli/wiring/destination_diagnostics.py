"""Checks of destinations for `config check`, `serve`, `doctor` and `route --dry-run`: their warnings and requests."""

import os
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from triage_cli import domain as dm
from triage_cli.config import Config, DestinationSpec, OAuth2Spec, unset
from triage_cli.ports import Store
from triage_cli.runtime import is_public, unwritable
from triage_cli.wiring.destination_types import payload_text, type_of
from triage_cli.wiring.destinations import offline_destinations, open_destination, renewed_destinations


def unset_variables(config: Config, receiver: str) -> Iterator[str]:
    """Yield a warning for each variable that a destination needs and that is not set."""
    yield from unset(f"destinations.{receiver}", config.destinations[receiver].variables(), os.environ)


def destination_warnings(config: Config, receiver: str) -> Iterator[str]:
    """Yield a warning for each reason for which a destination, as far as is known here, gets nothing."""
    yield from unset_variables(config, receiver)
    yield from _private_address_warning(config, receiver)
    spec = config.destinations[receiver]
    if spec.path is not None and (problem := unwritable(spec.path)):
        yield f"destinations.{receiver}.path: {problem.message}; {problem.hint}"


def _private_address_warning(config: Config, receiver: str) -> Iterator[str]:
    """Yield a warning if `serve` does not send to a destination, as far as that is known without resolving a name."""
    if not _is_private(config.destinations[receiver]):
        return
    if "://" in receiver:
        yield (
            f"routes: {receiver} is a private address, so triage serve sends nothing there; "
            "if that is meant, make it a destination of its own with allow_private: true"
        )
    else:
        yield (
            f"destinations.{receiver}: its address is private, so triage serve sends nothing there; "
            "set allow_private: true if that is meant"
        )


def _is_private(spec: DestinationSpec) -> bool:
    if spec.allow_private:
        return False
    url = spec.url or (spec.http and (spec.http.url or os.environ.get(spec.http.url_env or ""))) or ""
    try:
        host = spec.mail.host if spec.mail else urlsplit(url).hostname
        return host == "localhost" or not is_public(host or "")
    except ValueError:  # a name, or no address at all
        return False


def preview_requests(
    config: Config, store: Store, ticket: dm.Ticket, rule: dm.Rule, plan: dm.RoutePlan
) -> Iterator[tuple[str, str]]:
    """Yield the requests that routing this ticket would make now, with their destinations' names."""
    new_names = {old: c.name for c in config.categories for old in c.was}  # a run renames them first
    stored_deliveries = store.deliveries.of([ticket.ticket_id]).get(ticket.ticket_id, ())
    existing = [d._replace(category=new_names.get(d.category, d.category)) for d in stored_deliveries]
    config_hash = config.routing_hash()
    needed_deliveries = dm.routing.needed_deliveries(
        ticket,
        rule,
        existing,
        again=plan.again,
        renewed=renewed_destinations(config),
        config_hash=config_hash,
        at=dm.times.now(),
        due_at=0.0,
        run_id="",
    )
    superseded_ids = {delivery.delivery_id for delivery in needed_deliveries.superseded}
    kept_deliveries = [d for d in existing if d.delivery_id not in superseded_ids and d.category == ticket.category]
    due_deliveries = [d for d in kept_deliveries if d.state == "pending" and d.due_at <= time.time()]
    revived_letters = [d for d in kept_deliveries if d.state == "dead" and plan.retry_dead]
    deliveries_after = {d.delivery_id: d for d in (*existing, *needed_deliveries.superseded, *needed_deliveries.new)}
    deliveries_after |= {d.delivery_id: d._replace(state="pending") for d in revived_letters}
    status = dm.routing.status_of(deliveries_after.values(), ticket.category)
    if needed_deliveries.superseded or needed_deliveries.new or revived_letters or status != ticket.status:
        ticket = dm.routing.decided(ticket, rule, status)
    renames = list(store.categories.renames())
    for delivery in (*due_deliveries, *revived_letters, *needed_deliveries.new):
        outgoing = dm.OutgoingDelivery(delivery, ticket, dm.earlier_deliveries(renames, delivery, existing))
        yield delivery.destination, _request_text(config, outgoing)


def _request_text(config: Config, outgoing: dm.OutgoingDelivery) -> str:
    """Return the request that a destination would get; for one that is not configured any more the payload."""
    spec = config.destinations.get(outgoing.delivery.destination)
    return payload_text(outgoing) if spec is None else type_of(spec).request_text(spec, outgoing)


def send_test(config: Config, receiver: str) -> str:
    """Send a destination one marked ticket that is not stored, and return the acceptance as a message.

    Raises what a run would raise, and `DeliveryError` for a refusal.
    """
    category = next(
        (c.name for c in config.categories if receiver in dm.routing_rules.reach(config.routes, c.name).destinations),
        "",
    )
    at, ticket_id, test_mark = dm.times.now(), dm.ids.new_id(), f"triage-test-{dm.ids.short(dm.ids.new_id())}"
    text = f"triage doctor --send {receiver} sent this at {at}. Nothing is to be done."
    ticket = dm.Ticket.of_text(text, ticket_id=ticket_id, source="doctor")._replace(
        external_id=test_mark,
        subject="Test of triage: please ignore",
        customer_id=test_mark,
        priority="low",
        urgency=dm.URGENCY["low"],
        created_at=at,
        stored_at=at,
        extra='{"test":true}',
        category=category,
        confidence=1.0,
    )
    name = dm.ids.delivery_id(ticket_id, category, receiver, 0)
    outgoing = dm.OutgoingDelivery.made_up(
        ticket, receiver, name=name, rule="doctor", config_hash=config.routing_hash()
    )
    for outcomes in open_destination(config, receiver).deliver([[outgoing]]):
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            status_text = f" (answer {outcome.value.status})" if outcome.value and outcome.value.status else ""
            kept_text = (
                f", and of its answer is kept: {outcome.value.kept}" if outcome.value and outcome.value.kept else ""
            )
            return f"accepted the test ticket {test_mark}{status_text}{kept_text}"
    raise dm.DeliveryError(f"{receiver} gave no answer", hint="try again later")


def is_asked(spec: DestinationSpec) -> bool:
    """Return whether `try_destination` tries what a destination depends on. A receiver or a program gets nothing."""
    return spec.type == "file"


def try_destination(config: Config, receiver: str) -> str:
    """Check a destination without sending to it, and return its description. Raises what a run would raise."""
    open_destination(config, receiver)
    spec = config.destinations[receiver]
    limits = _token_note(config, spec)
    if spec.name in offline_destinations(config):
        limits += ", but waits offline"
    if _is_private(spec) and type_of(spec).uses_network:
        limits += "; triage serve sends nothing to a private address without allow_private"
    return f"{type_of(spec).tried(config, spec)}{limits}"


def _token_note(config: Config, spec: DestinationSpec) -> str:
    """Get an access token from the token server of a destination that has one, and say so; raises if there is none."""
    auth = spec.http.auth if spec.http else spec.mail.auth if spec.mail else None
    if not isinstance(auth, OAuth2Spec) or config.offline:
        return ""
    from triage_cli.wiring.access_tokens import open_tokens

    tokens = open_tokens(config, f'destination "{spec.name}"', auth, os.environ)
    tokens.waited_for()
    return f", with a token of {tokens.client}"
