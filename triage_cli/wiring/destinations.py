"""Creates the destinations of the configuration, and the routing map over them."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

from triage_cli.config import Config, DestinationSpec, check_signing_secrets, raise_template_mistakes, without_secrets
from triage_cli.domain import ConfigError
from triage_cli.ports import Destination, Store
from triage_cli.runtime import Network
from triage_cli.service import RoutingMap
from triage_cli.wiring.promised_thresholds import promised_thresholds

if TYPE_CHECKING:  # an annotation is no reason to import httpx
    from triage_cli.destinations import WebhookTarget


# The types whose deliveries go over the network.
NETWORKED_TYPES = frozenset({"webhook", "http", "mail"})
# What to do about deliveries to a destination that is not configured any more.
UNKNOWN_DESTINATION_HINT = (
    "add it again, or let the map decide anew: "
    "triage list --status routing --status undeliverable -o id | triage route -"
)


def offline_destinations(config: Config) -> frozenset[str]:
    """Return the destinations that wait because the network is switched off."""
    return frozenset(
        name for name, spec in config.destinations.items() if config.offline and spec.type in NETWORKED_TYPES
    )


def renewed_destinations(config: Config) -> frozenset[str]:
    """Return the destinations that get a ticket again when its text changes after they have accepted it."""
    return frozenset(name for name, spec in config.destinations.items() if spec.on_change == "again")


def open_destination(config: Config, receiver: str, *, guarded: bool = False) -> Destination:
    """Open a destination by its configuration. Raises `ConfigError`, also if a secret is not set."""
    spec = config.destinations.get(receiver)
    if spec is None:
        raise ConfigError(f'no destination "{receiver}" in the config', hint=UNKNOWN_DESTINATION_HINT)
    guarded = guarded and not spec.allow_private
    network = Network(config.offline)
    if spec.type == "file" and spec.path is not None:
        from triage_cli.destinations import FileDestination

        return FileDestination(receiver, spec.path, spec.max_attempts, spec.retry_schedule)
    if spec.type == "webhook":
        from triage_cli.destinations import WebhookDestination

        return WebhookDestination(target(spec, os.environ)._replace(guarded=guarded), network)
    if spec.http is not None:
        from triage_cli.destinations import HttpDestination, secrets_of

        check_templates(config, [receiver])
        secrets = secrets_of(receiver, spec.http, os.environ)
        return HttpDestination(spec, spec.http, secrets, network, guarded=guarded)
    if spec.mail is not None:
        from triage_cli.destinations import MailDestination, login_of

        check_templates(config, [receiver])
        login = login_of(receiver, spec.mail, os.environ)
        return MailDestination(spec, spec.mail, login, network, guarded=guarded)
    if spec.type == "command":
        from triage_cli.destinations import CommandDestination

        env = without_secrets(config, os.environ)
        return CommandDestination(
            receiver, spec.run, spec.timeout, spec.max_attempts, spec.retry_schedule, env=env,
            final_exit=spec.final_exit,
        )  # fmt: skip
    raise ConfigError(f'destination "{receiver}" has no type that is known', hint="triage config check names the types")


def field_setters(config: Config, receivers: Collection[str], *, labels: bool) -> Collection[str]:
    """Return which destinations of a ticket may set a field of it in its helpdesk, or, with `labels`, label it there.

    If some of them are known to do so, it is those, and any that the configuration no longer has.
    """
    specs = {receiver: config.destinations.get(receiver) for receiver in receivers}
    known = {name for name, spec in specs.items() if spec and (spec.writes_labels if labels else spec.names_field)}
    return {
        name
        for name, spec in specs.items()
        if spec is None or (name in known if known else spec.may_write(labels=labels))
    }


def check_templates(config: Config, names: Iterable[str] | None = None) -> None:
    """Raise one `ConfigError` with all mistakes in the templates of destinations, of all or of `names`.

    This is not done with each command's configuration, because few commands render a template.
    """
    chosen_destinations = config.destinations if names is None else names
    template_mistakes = {
        receiver: _template_mistakes(config.destinations[receiver]) for receiver in chosen_destinations
    }
    raise_template_mistakes(config, "destinations", template_mistakes)


def _template_mistakes(spec: DestinationSpec) -> Iterator[tuple[str, str]]:
    if spec.http is not None:
        from triage_cli.destinations import request_mistakes as mistakes

        yield from mistakes(spec.http)
    if spec.mail is not None:
        from triage_cli.destinations import mail_mistakes

        yield from mail_mistakes(spec.mail)


def target(spec: DestinationSpec, env: Mapping[str, str]) -> "WebhookTarget":
    """Return the target of a webhook, with its secrets from the environment."""
    from triage_cli.destinations import WebhookTarget
    from triage_cli.domain import secret_of

    owner = f'destination "{spec.name}"'
    check_signing_secrets(owner, spec.secret_env, env)
    secrets = tuple(secret_of(env[variable], f"{owner}: {variable}") for variable in spec.secret_env)
    return WebhookTarget(spec.name, spec.url or "", secrets, spec.timeout, spec.max_attempts, spec.retry_schedule)


def routing_map(config: Config, store: Store, *, guarded: bool = False) -> RoutingMap:
    """Return the routing map; with `guarded`, webhooks reach no private address unless their destination allows it."""

    @cache
    def destination(receiver: str) -> Destination:
        return open_destination(config, receiver, guarded=guarded)

    http_specs = {name: spec.http for name, spec in config.destinations.items() if spec.http}
    return RoutingMap(
        config.routes, config.routing_hash(), destination, offline=offline_destinations(config),
        history_dependent=frozenset(name for name, http in http_specs.items() if http.remembers),
        field_guards=frozenset(name for name, http in http_specs.items() if http.guards_field),
        renewed=renewed_destinations(config),
        promised=promised_thresholds(config, store),
    )  # fmt: skip
