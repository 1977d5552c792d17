"""Creates the destinations of the configuration, and shows what they would send."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from triage_cli.config import Config, DestinationSpec, template_settings
from triage_cli.config.secrets import secret_variables
from triage_cli.domain import ids, routing, times
from triage_cli.domain.deliveries import Delivery, OutgoingDelivery, RoutePlan, Rule
from triage_cli.domain.errors import ConfigError, DeliveryError
from triage_cli.domain.tickets import Ticket
from triage_cli.ports.adapters import Destination
from triage_cli.ports.storage import Store
from triage_cli.runtime.network import Network
from triage_cli.runtime.private_files import is_full, is_read_only, write_obstacle
from triage_cli.runtime.ssrf_guard import is_public
from triage_cli.service.delivery.routing_decisions import RoutingTable, earlier_deliveries
from triage_cli.wiring.promised_thresholds import promised_thresholds

if TYPE_CHECKING:  # an annotation is no reason to import httpx
    from triage_cli.destinations.webhook import Target


# The types whose deliveries go over the network.
NETWORKED = frozenset({"webhook", "http", "mail"})
# What to do about deliveries to a destination that is not configured any more.
DECIDE_ANEW = (
    "add it again, or let the map decide anew: "
    "triage list --status routing --status undeliverable -o id | triage route -"
)


def cut_off(config: Config) -> frozenset[str]:
    """Return the destinations that wait because the network is switched off."""
    return frozenset(name for name, spec in config.destinations.items() if config.offline and spec.type in NETWORKED)


def open_destination(config: Config, receiver: str, *, guarded: bool = False) -> Destination:
    """Open a destination by its configuration. Raises `ConfigError`, also if a secret is not set."""
    spec = config.destinations.get(receiver)
    if spec is None:
        raise ConfigError(f'no destination "{receiver}" in the config', hint=DECIDE_ANEW)
    if spec.type == "file" and spec.path is not None:
        from triage_cli.destinations.file import FileDestination

        return FileDestination(receiver, spec.path, spec.max_attempts, spec.retry_schedule)
    if spec.type == "webhook":
        from triage_cli.destinations.webhook import WebhookDestination

        to = target(spec, os.environ)._replace(guarded=guarded and not spec.allow_private)
        return WebhookDestination(to, Network(config.offline))
    if spec.http is not None:
        from triage_cli.destinations.http import HttpDestination
        from triage_cli.destinations.http_secrets import secrets_of

        check_templates(config, [receiver])
        return HttpDestination(
            spec,
            spec.http,
            secrets_of(receiver, spec.http, os.environ),
            Network(config.offline),
            guarded=guarded and not spec.allow_private,
        )
    if spec.mail is not None:
        from triage_cli.destinations.mail import MailDestination, login_of

        check_templates(config, [receiver])
        login = login_of(receiver, spec.mail, os.environ)
        guarded = guarded and not spec.allow_private
        return MailDestination(spec, spec.mail, login, Network(config.offline), guarded=guarded)
    if spec.type == "command":
        from triage_cli.destinations.command import CommandDestination

        secret = secret_variables(config, os.environ)
        env = {variable: value for variable, value in os.environ.items() if variable not in secret}
        return CommandDestination(
            receiver, spec.run, spec.timeout, spec.max_attempts, spec.retry_schedule, env=env,
            final_exit=spec.final_exit,
        )  # fmt: skip
    raise ConfigError(f'destination "{receiver}" has no type that is known', hint="triage config check names the types")


def remembering(config: Config) -> frozenset[str]:
    """Return the destinations whose requests depend on earlier deliveries of the same ticket."""
    return frozenset(receiver for receiver, spec in config.destinations.items() if spec.http and spec.http.remembers)


def check_templates(config: Config, names: Iterable[str] | None = None) -> None:
    """Raise one `ConfigError` with all mistakes in the templates of destinations, of all or of `names`.

    This is not done with each command's configuration, because few commands render a template.
    """
    chosen = config.destinations if names is None else names
    template_mistakes = (
        (receiver, *mistake) for receiver in chosen for mistake in _template_mistakes(config.destinations[receiver])
    )
    template_settings.raise_all(config, "destinations", template_mistakes)


def _template_mistakes(spec: DestinationSpec) -> Iterator[tuple[str, str]]:
    if spec.http is not None:
        from triage_cli.destinations.rendered_requests import mistakes

        yield from mistakes(spec.http)
    if spec.mail is not None:
        from triage_cli.destinations.mail import mistakes as mail_mistakes

        yield from mail_mistakes(spec.mail)


def target(spec: DestinationSpec, env: Mapping[str, str]) -> "Target":
    """Return the target of a webhook, with its secrets from the environment."""
    from triage_cli.destinations.webhook import Target
    from triage_cli.domain.webhook_signing import secret_of

    missing = [variable for variable in spec.secret_env if not env.get(variable)]
    if missing:
        raise ConfigError(
            f'destination "{spec.name}" needs the secret in {missing[0]}, which is not set', hint=f"export {missing[0]}"
        )
    secrets = tuple(secret_of(env[variable]) for variable in spec.secret_env)
    return Target(spec.name, spec.url or "", secrets, spec.timeout, spec.max_attempts, spec.retry_schedule)


def unset_variables(config: Config, receiver: str) -> Iterator[str]:
    """Yield a warning for each variable that a destination needs and that is not set."""
    for key, variable in config.destinations[receiver].variables():
        if not os.environ.get(variable):
            yield f"destinations.{receiver}.{key}: {variable} is not set here; export {variable}"


def warnings(config: Config, receiver: str) -> Iterator[str]:
    """Yield a warning for each reason for which a destination, as far as is known here, gets nothing."""
    yield from unset_variables(config, receiver)
    yield from private_address(config, receiver)
    spec = config.destinations[receiver]
    if spec.path is not None and (problem := unwritable(spec.path)):
        yield f"destinations.{receiver}.path: {problem.message}; {problem.hint}"


def unwritable(path: Path) -> ConfigError | None:
    """Return the error for a file that this user cannot write; None if it can be. Nothing is written."""
    obstacle = write_obstacle(path)
    disk = ("its file system is read-only", "mount it for writing") if is_read_only(path) else None
    if obstacle is None and is_full(path):
        disk = ("there is no space left on its disk", "free some space")
    if disk:
        return ConfigError(f"cannot write {path}: {disk[0]}", hint=f"{disk[1]}, or name another path")
    if obstacle is None:
        return None
    kind = "file that this user may write" if obstacle == path else "folder that this user may write in"
    return ConfigError(f"cannot write {path}: {obstacle} is no {kind}", hint="change its rights or name another path")


def private_address(config: Config, receiver: str) -> Iterator[str]:
    """Yield a warning if `serve` does not send to a destination, as far as that is known without resolving a name."""
    if _is_refused(config.destinations[receiver]):
        yield (
            f"destinations.{receiver}: its address is private, so triage serve sends nothing there; "
            "set allow_private: true if that is meant"
        )


def _is_refused(spec: DestinationSpec) -> bool:
    if spec.allow_private:
        return False
    url = spec.url or (spec.http and (spec.http.url or os.environ.get(spec.http.url_env or ""))) or ""
    try:
        host = spec.mail.host if spec.mail else urlsplit(url).hostname
        return host == "localhost" or not is_public(host or "")
    except ValueError:  # a name, or no address at all
        return False


def preview(config: Config, store: Store, ticket: Ticket, rule: Rule, plan: RoutePlan) -> Iterator[tuple[str, str]]:
    """Yield the requests that routing this ticket would make now, with their destinations' names."""
    from triage_cli.destinations.payload import line

    names = {old: category.name for category in config.categories for old in category.was}  # a run renames them first
    stored = store.deliveries([ticket.ticket_id]).get(ticket.ticket_id, ())
    existing = [delivery._replace(category=names.get(delivery.category, delivery.category)) for delivery in stored]
    config_hash = config.routing_hash()
    needed_deliveries = routing.needed_deliveries(
        ticket, rule, existing, again=plan.again, config_hash=config_hash, at=times.now(), due_at=0.0, run_id=""
    )
    gone = {delivery.delivery_id for delivery in needed_deliveries.superseded}
    kept = [d for d in existing if d.delivery_id not in gone and d.category == ticket.category]
    due = [d for d in kept if d.state == "pending" and d.due_at <= time.time()]
    dead = [d for d in kept if d.state == "dead" and plan.retry_dead]
    after = {d.delivery_id: d for d in (*existing, *needed_deliveries.superseded, *needed_deliveries.new)}
    after |= {d.delivery_id: d._replace(state="pending") for d in dead}
    if (
        needed_deliveries.superseded
        or needed_deliveries.new
        or dead
        or routing.status_of(after.values(), ticket.category) != ticket.status
    ):
        ticket = routing.decided(ticket, rule, after.values())
    renames = list(store.renames())
    for delivery in (*due, *dead, *needed_deliveries.new):
        outgoing = OutgoingDelivery(delivery, ticket, earlier_deliveries(renames, delivery, existing))
        spec = config.destinations.get(delivery.destination)
        if spec is not None and spec.http is not None:
            from triage_cli.destinations.http import as_text as request_text

            yield spec.name, request_text(spec.http, outgoing)
        elif spec is not None and spec.mail is not None:
            from triage_cli.destinations.mail import as_text as mail_text

            yield spec.name, mail_text(spec.mail, outgoing, datetime.now(UTC))
        elif spec is not None and spec.type == "webhook":
            from triage_cli.destinations.webhook import as_text

            yield spec.name, as_text(target(spec, os.environ), outgoing)
        else:
            yield delivery.destination, line(outgoing).decode().rstrip()


def send_test(config: Config, receiver: str) -> str:
    """Send a destination one marked ticket that is not stored, and return the acceptance as a message.

    Raises what a run would raise, and `DeliveryError` for a refusal.
    """
    category = next(
        (c.name for c in config.categories if receiver in routing.reach(config.routes, c.name).destinations), ""
    )
    at, ticket_id, mark = times.now(), ids.new_id(), f"triage-test-{ids.short(ids.new_id())}"
    ticket = Ticket(
        ticket_id, "", "doctor", mark, "", "Test of triage: please ignore",
        f"triage doctor --send {receiver} sent this at {at}. Nothing is to be done.", mark, "low", 3, at, at,
        extra='{"test":true}', status="routing", category=category, confidence=1.0,
    )  # fmt: skip
    delivery = Delivery(
        ids.delivery_id(ticket_id, category, receiver, 0), ticket_id, None, category, receiver,
        "doctor", config.routing_hash(), None, "pending", 0, 0.0, None, None, None, at,
    )  # fmt: skip
    outgoing = OutgoingDelivery(delivery, ticket)
    for outcomes in open_destination(config, receiver).deliver([[outgoing]]):
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            answer = f" (answer {outcome.value.status})" if outcome.value and outcome.value.status else ""
            kept = f", and of its answer is kept: {outcome.value.kept}" if outcome.value and outcome.value.kept else ""
            return f"accepted the test ticket {mark}{answer}{kept}"
    raise DeliveryError(f"{receiver} gave no answer", hint="try again later")


def try_destination(config: Config, receiver: str) -> str:
    """Check a destination without sending to it, and return its description. Raises what a run would raise."""
    open_destination(config, receiver)
    spec = config.destinations[receiver]
    if spec.type == "command":
        return f"runs {checked_program(spec.run[0])}"
    if spec.type == "file" and spec.path is not None:
        if problem := unwritable(spec.path):
            raise problem
        return f"appends to {spec.path}"
    limits = ", but waits offline" if config.offline else ""
    if _is_refused(spec):
        limits += "; triage serve sends nothing to a private address without allow_private"
    if spec.mail is not None:
        means = {"implicit": "by TLS", "starttls": "by STARTTLS", "none": "unencrypted"}[spec.mail.tls]
        login = f", as {spec.mail.user_env}" if spec.mail.user_env else ""
        return f"mails to {', '.join(spec.mail.to)} over {spec.mail.host}:{spec.mail.port} {means}{login}{limits}"
    from triage_cli.runtime.unreachable import host_of

    if spec.http is not None:
        to = f"the address in {spec.http.url_env}" if spec.http.url_env else host_of(spec.http.url or "")
        return f"sends {spec.http.method} to {to}{limits}"
    signed = f", signed by {' and '.join(spec.secret_env)}" if spec.secret_env else ", not signed"
    return f"posts to {host_of(spec.url or '')}{signed}{limits}"


def checked_program(program: str) -> str:
    """Return a program that can be run. Raises `ConfigError`."""
    if shutil.which(program) is None:
        raise ConfigError(f"{program} is no program that can be run", hint="check its path and its rights")
    return program


def routing_map(config: Config, store: Store, *, guarded: bool = False) -> RoutingTable:
    """Return the routing map; with `guarded`, webhooks reach no private address unless their destination allows it."""

    @cache
    def destination(receiver: str) -> Destination:
        return open_destination(config, receiver, guarded=guarded)

    return RoutingTable(
        config.routes, config.routing_hash(), destination, offline=cut_off(config), remembering=remembering(config),
        promised=promised_thresholds(config, store),
    )  # fmt: skip
