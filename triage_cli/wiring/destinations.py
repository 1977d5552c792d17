"""Creates the destinations of the configuration and the routing map over them, and tells where they file."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from urllib.parse import urlsplit

from triage_cli import domain as dm
from triage_cli.config import (
    Config,
    DestinationSpec,
    HttpSpec,
    raise_template_mistakes,
)
from triage_cli.ports import Destination, Store
from triage_cli.service import RoutingMap
from triage_cli.wiring.destination_types import type_of
from triage_cli.wiring.learned_models import level_chances, promised_thresholds

# What to do about deliveries to a destination that is not configured any more.
UNKNOWN_DESTINATION_HINT = f"add it again, or let the map decide anew: {dm.Step.DECIDE_ANEW}"


def offline_destinations(config: Config) -> frozenset[str]:
    """Return the destinations that wait because the network is switched off."""
    return frozenset(name for name, spec in config.destinations.items() if config.offline and _uses_network(spec))


def _uses_network(spec: DestinationSpec) -> bool:
    """Return whether deliveries to a destination go over the network; of a type that cannot be loaded they may."""
    try:
        return type_of(spec).uses_network
    except dm.UsageError:
        return True


def renewed_destinations(config: Config) -> frozenset[str]:
    """Return the destinations that get a ticket again when its text changes after they have accepted it."""
    return frozenset(name for name, spec in config.destinations.items() if spec.on_change == "again")


def open_destination(config: Config, receiver: str, *, guarded: bool = False) -> Destination:
    """Open a destination by its configuration. Raises `ConfigError`, also if a secret is not set."""
    spec = config.destinations.get(receiver)
    if spec is None:
        raise dm.ConfigError(f'no destination "{receiver}" in the config', hint=UNKNOWN_DESTINATION_HINT)
    return type_of(spec).opened(config, spec, guarded=guarded and not spec.allow_private)


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


def check_templates(config: Config, names: Iterable[str] | None = None, *, types: bool = False) -> None:
    """Raise one `ConfigError` with all mistakes in the templates of destinations, of all or of `names`.

    This is not done with each command's configuration, because few commands render a template. A type that cannot be
    loaded is a mistake with `types`; else what goes there waits, and what goes elsewhere is sent.
    """
    chosen_destinations = config.destinations if names is None else names
    specs = {receiver: config.destinations[receiver] for receiver in chosen_destinations}
    mistakes = {receiver: _mistakes(spec, types=types) for receiver, spec in specs.items()}
    raise_template_mistakes(config, "destinations", mistakes)


def _mistakes(spec: DestinationSpec, *, types: bool) -> Iterator[tuple[str, str]]:
    try:
        yield from type_of(spec).template_mistakes(spec)
    except dm.UsageError as error:
        if types:
            yield "type", f"{error.message}; {error.hint}"


def routing_map(
    config: Config, store: Store, *, guarded: bool = False, tell: Callable[[str], None] = lambda _: None
) -> RoutingMap:
    """Return the routing map, of which `tell` gets notes.

    With `guarded`, webhooks reach no private address unless their destination allows it.
    """

    @cache
    def destination(receiver: str) -> Destination:
        return open_destination(config, receiver, guarded=guarded)

    http_specs = {name: spec.http for name, spec in config.destinations.items() if spec.http}
    levels = dm.Levels.of(config.categories)
    return RoutingMap(
        config.routes,
        config.routing_hash(),
        destination,
        offline=offline_destinations(config),
        history_dependent=frozenset(name for name, http in http_specs.items() if http.remembers),
        field_guards=frozenset(name for name, http in http_specs.items() if http.guards_field),
        renewed=renewed_destinations(config),
        promised=promised_thresholds(config, store),
        additions=addition_rules(config),
        levels=levels,
        chance=level_chances(levels, store),
        labelling=frozenset(name for name, spec in config.destinations.items() if spec.writes_back),
        tell=tell,
        least={c.name: c.min_confidence for c in config.classifiers.values() if c.min_confidence is not None},
        longest_attempt=max((spec.timeout for spec in config.destinations.values()), default=15.0),
    )


def addition_rules(config: Config) -> tuple[dm.AdditionRule, ...]:
    """Return the rules that add deliveries beside those of the routing map."""
    before = (dm.AdditionRule(dm.AdditionKind.BEFORE, rule) for rule in config.before)
    return (*before, *(dm.AdditionRule(dm.AdditionKind.ESCALATION, rule) for rule in config.escalations))


DEFAULT_PORTS = {"https": 443, "http": 80}


def nearness(config: Config, source: str, destination: str) -> dm.Nearness:
    """Return how near a destination files to what a source lists.

    Of a destination that is not configured any more, and of a source that is a program or a plug-in's, the place is
    not known.
    """
    source_spec, spec = config.sources.get(source), config.destinations.get(destination)
    if spec is None or (source_spec is not None and source_spec.type not in ("http", "imap")):
        return dm.Nearness.SAME_HOST
    if source_spec is None or spec.http is None or not _makes_items(spec.http):
        return dm.Nearness.ELSEWHERE
    listed_host, listed_path = _place(source_spec.url)
    filed_host, filed_path = _place(spec.http.url or os.environ.get(spec.http.url_env or "", ""))
    if not listed_host or listed_host != filed_host:
        return dm.Nearness.ELSEWHERE
    shared_parts = min(len(listed_path), len(filed_path))
    is_same_place = listed_path[:shared_parts] == filed_path[:shared_parts]
    return dm.Nearness.SAME_PLACE if is_same_place else dm.Nearness.SAME_HOST


def same_place_warnings(config: Config, source: str) -> Iterator[str]:
    """Yield a warning for each destination that makes what a source lists."""
    for name, spec in config.destinations.items():
        if spec.http is None or nearness(config, source, name) != dm.Nearness.SAME_PLACE:
            continue
        place = f"sources.{source} lists what destinations.{name} makes"
        if not any("delivery_id" in text for text in _templates(spec.http)):
            yield (
                f"{place}, and no {{{{ delivery_id }}}} in its body tells it from a ticket: "
                "each run would make one more of what the last run has made; put it into the body"
            )
        elif not spec.http.keep:
            yield (
                f"{place}: whatever holds the id of a delivery there is passed over, also a ticket into which a "
                "person copied one; name in keep where the answer has the new item's id"
            )
        else:
            yield f"{place}: pull passes over what triage has made; where: {{…}} can leave it out of the list"


def _makes_items(http: HttpSpec) -> bool:
    """Return whether a request makes something new: it is a POST that names no ticket of the helpdesk."""
    if http.method != "POST" or "external_id" in f"{http.url or ''}{http.endpoint}":
        return False
    return not any("".join(text.split()) == "{{ticket.external_id}}" for text in _templates(http))


def _templates(http: HttpSpec) -> list[str]:
    """Return the templates of a request's body."""
    from triage_cli.config import leaves

    return [text for tree in (http.body, http.form) for _, text in leaves(tree, "")]


def _place(url: str) -> tuple[str, tuple[str, ...]]:
    """Return host and port of an address, and the parts of its path up to the first template."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(parts.scheme.lower())
    except ValueError:
        return "", ()
    path = []
    for part in parts.path.strip("/").split("/"):
        if not part or "{" in part:
            break
        path.append(part.lower())
    return (f"{host}:{port}" if host else ""), tuple(path)
