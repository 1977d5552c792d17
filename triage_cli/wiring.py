"""Which class stands behind a port: the one place that names stores, classifiers and destinations."""

from collections.abc import Callable
from functools import cache

from triage_cli import ids, routing
from triage_cli.config import ClassifierSpec, Config, DestinationSpec
from triage_cli.errors import ConfigError, UsageError
from triage_cli.models import Parcel, Rule, Ticket
from triage_cli.ports import Classifier, Destination
from triage_cli.service.delivering import Map
from triage_cli.service.local import Parts
from triage_cli.stores.sqlite import SqliteStore


def open_store(config: Config) -> SqliteStore:
    """Open the database that the configuration names."""
    if "://" in config.database:
        raise ConfigError(
            "this version keeps tickets in SQLite files only", hint="give --db a path; PostgreSQL is planned"
        )
    return SqliteStore(config.database)


def parts(config: Config, tell: Callable[[str], None] | None = None) -> Parts:
    """Put together what the use cases stand on; `tell` is told what takes long."""
    store = open_store(config)

    @cache
    def destination(name: str) -> Destination:
        return open_destination(name, config.destinations.get(name))

    def classifier(name: str | None, actor: str, run_id: str) -> Classifier:
        return open_classifier(config, store, name or config.classifier, actor, run_id, tell)

    map_ = Map(config.routes, config.routing_hash(), destination)
    return Parts(store, config.categories, classifier, map_)


def open_destination(name: str, spec: DestinationSpec | None) -> Destination:
    """Open a destination by its configuration."""
    if spec is None:
        raise ConfigError(
            f'no destination "{name}" in the config', hint="add it again, or route its tickets with --again"
        )
    if spec.type == "file" and spec.path is not None:
        from triage_cli.destinations.file import FileDestination

        return FileDestination(name, spec.path, spec.max_attempts, spec.retry_schedule)
    if spec.type == "command":
        from triage_cli.destinations.command import CommandDestination

        return CommandDestination(name, spec.run, spec.timeout, spec.max_attempts, spec.retry_schedule)
    raise ConfigError(f'destination "{name}": type {spec.type} is not built yet', hint="use a file or a command")


def preview(map_: Map, ticket: Ticket, rule: Rule, destination: str) -> str:
    """Return the request that would be made, as `route --dry-run` prints it."""
    from triage_cli.destinations.payload import line

    owed = routing.owed(
        ticket,
        rule._replace(to=(destination,)),
        (),
        again=False,
        config_hash=map_.config_hash,
        at=ids.now(),
        due_at=0.0,
        run_id="",
    )
    return line(Parcel(owed.new[0], ticket)).decode().rstrip()


def open_classifier(
    config: Config, store: SqliteStore, name: str, actor: str, run_id: str, tell: Callable[[str], None] | None
) -> Classifier:
    """Open a classifier by its configuration; the embedded model is fitted here where it is not yet."""
    spec = config.classifiers.get(name)
    if spec is None:
        raise UsageError(f'no classifier "{name}"', hint=f"configured are {', '.join(config.classifiers)}")
    if spec.type != "local":
        raise ConfigError(f'classifier "{name}": type {spec.type} is not built yet', hint="use a local one")
    return _local(config, store, spec, actor, run_id, tell)


def _local(
    config: Config,
    store: SqliteStore,
    spec: ClassifierSpec,
    actor: str,
    run_id: str,
    tell: Callable[[str], None] | None,
) -> Classifier:
    from triage_cli.classifiers import local

    name = local.fingerprint(config.categories)
    weights = store.model(name)
    if weights is None:
        from triage_cli.classifiers import training

        if tell is not None:
            tell(f"fitting the embedded model to {len(config.categories)} categories, once")
        model = training.fit(config.categories)
        store.keep_model(name, model.to_bytes(), {"categories": len(config.categories)})
    else:
        model = local.Model.from_bytes(weights)
    return local.LocalClassifier(
        spec.name,
        model,
        name,
        spec.min_confidence,
        actor=actor,
        run_id=run_id,
        categories=config.categories,
        clock=ids.now,
        new_id=ids.new_id,
    )
