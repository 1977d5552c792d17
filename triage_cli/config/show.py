"""The configuration as lines of key, value and origin."""

from collections.abc import Iterator, Mapping
from typing import Any

from triage_cli.config.categories import CATEGORY
from triage_cli.config.classifiers import CLASSIFIER, ClassifierSpec, Price
from triage_cli.config.configuration import Config
from triage_cli.config.database_address import without_password
from triage_cli.config.destination_limits import LIMITS
from triage_cli.config.destinations import DESTINATION, DestinationSpec
from triage_cli.config.key_tables import Field
from triage_cli.config.webhooks import WEBHOOK, HookSpec
from triage_cli.domain.routing_rules import Rule
from triage_cli.domain.tickets import Category


def shown(config: Config) -> Iterator[tuple[str, object, str]]:
    """Yield dotted key, value and origin of every setting, as `config show` prints them."""
    for key, value in _leaves(config):
        yield key, value, config.origins.get(key, "default")


def _leaves(config: Config) -> Iterator[tuple[str, object]]:
    yield "database", without_password(config.database)
    for category in config.categories:
        yield from _fields(f"categories.{category.name}", category, CATEGORY)
    yield "classifier", config.classifier
    for name, classifier in config.classifiers.items():
        yield from _fields(f"classifiers.{name}", classifier, CLASSIFIER)
    yield "budget.per_day", config.per_day
    for name, destination in config.destinations.items():
        yield from _destination(name, destination)
    for rule in config.routes:
        yield from _rule(rule)
    yield "server.requests_per_minute", config.requests_per_minute
    if config.cors_origins:
        yield "server.cors_origins", _plain(config.cors_origins)
    if config.oidc:
        oidc = config.oidc._asdict()
        roles = {"claim": oidc.pop("claim"), "map": oidc.pop("roles")}
        yield from ((f"server.oidc.{key}", _plain(each)) for key, each in oidc.items())
        yield from ((f"server.oidc.roles.{key}", _plain(each)) for key, each in roles.items())
    for name, hook in config.webhooks.items():
        yield from _fields(f"webhooks.{name}", hook, WEBHOOK)
    for name, source in config.sources.items():
        yield from (
            (f"sources.{name}.{key}", _plain(each)) for key, each in source._asdict().items() if each and key != "name"
        )
    if config.spikes_to is not None:
        yield "spikes.to", config.spikes_to
    yield "remote", config.remote
    yield "offline", config.offline


def _destination(name: str, destination: DestinationSpec) -> Iterator[tuple[str, object]]:
    of_its_own = destination.http or destination.mail
    yield from _fields(f"destinations.{name}", destination, LIMITS if of_its_own else DESTINATION)
    if destination.http:
        given = {**destination.http._asdict(), **destination.http.given, "given": None}
        yield from ((f"destinations.{name}.{key}", _plain(each)) for key, each in given.items() if each)
    if destination.mail:
        mail = {"from" if key == "sender" else key: value for key, value in destination.mail._asdict().items()}
        yield from ((f"destinations.{name}.{key}", _plain(value)) for key, value in mail.items())


def _rule(rule: Rule) -> Iterator[tuple[str, object]]:
    yield from ((f"{rule.name}.when.{key}", list(values)) for key, values in rule.when.items())
    compared = (("min_confidence", rule.min_confidence), ("max_error", rule.max_error))
    yield from ((f"{rule.name}.when.{key}", value) for key, value in compared if value is not None)
    yield f"{rule.name}.to", list(rule.to)


def _fields(
    key: str, record: Category | ClassifierSpec | DestinationSpec | HookSpec, table: Mapping[str, Field]
) -> Iterator[tuple[str, object]]:
    """Yield the fields that apply to a record of this type."""
    of_type = getattr(record, "type", "")
    for name, value in record._asdict().items():
        if name == "name" or name not in table or (table[name].types and of_type not in table[name].types):
            continue
        if isinstance(value, Price):
            yield from ((f"{key}.{name}.{part}", price) for part, price in value._asdict().items())
        elif isinstance(value, Mapping):
            yield from ((f"{key}.{name}.{part}", list(paths)) for part, paths in value.items())
        else:
            yield f"{key}.{name}", list(value) if isinstance(value, tuple) else value


def _plain(value: Any) -> Any:
    """Return a configured value as a JSON value."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if hasattr(value, "_asdict"):
        return {key: _plain(inner) for key, inner in value._asdict().items() if inner not in (None, (), "", {})}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
