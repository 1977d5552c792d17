"""Which class stands behind a port: the one place that names stores, classifiers and destinations."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from triage_cli import ids, routing
from triage_cli.adversarial import Steering, adversarial
from triage_cli.allowance import Allowance
from triage_cli.config import ClassifierSpec, Config, DestinationSpec, is_postgres, without_password
from triage_cli.errors import ConfigError, UnavailableError, UsageError
from triage_cli.models import (
    Calibration,
    Classification,
    ClassifyPlan,
    Head,
    ModelVersion,
    Parcel,
    RoutePlan,
    Rule,
    Selection,
    Ticket,
)
from triage_cli.ports import Batcher, Classifier, Destination, Gate, Shelf, Store
from triage_cli.service import renaming
from triage_cli.service.delivering import Map
from triage_cli.service.local import Parts
from triage_cli.service.proving import prove
from triage_cli.stores.sqlite import SqliteStore

if TYPE_CHECKING:  # an annotation is no reason to import httpx or psycopg
    from triage_cli.classifiers.asking import AskingClassifier
    from triage_cli.classifiers.model import Model
    from triage_cli.client import RemoteTriage
    from triage_cli.destinations.webhook import Target
    from triage_cli.service.evaluating import Evaluating
    from triage_cli.service.learning import Learning
    from triage_cli.stores.copying import Copied
    from triage_cli.stores.postgres import PostgresStore

SHORTEST_KEY = 16


class Signed(NamedTuple):
    """What answers are signed with: who asks, in which run."""

    actor: str
    run_id: str


def open_store(config: Config) -> "SqliteStore | PostgresStore":
    """Open the database that the configuration names: a file, or a PostgreSQL server's."""
    key = audit_key(os.environ)
    return _postgres(config.database, key) if is_postgres(config.database) else SqliteStore(config.database, key)


def audit_key(env: Mapping[str, str]) -> bytes | None:
    """Return the key of the audit log's hashes. Raises `ConfigError` for one that could be guessed."""
    key = env.get("TRIAGE_AUDIT_KEY", "").encode("utf-8", "surrogateescape")
    if key and len(key) < SHORTEST_KEY:
        raise ConfigError(
            f"TRIAGE_AUDIT_KEY is shorter than {SHORTEST_KEY} bytes", hint="make one: openssl rand -hex 32"
        )
    return key or None


def verify(config: Config, expected: str | None) -> Head:
    """Prove the audit log and return its head. Raises `CheckError` for the first thing that does not hold."""
    key = audit_key(os.environ)
    if is_postgres(config.database):
        from triage_cli.stores.auditing import ServerTrail

        return prove(ServerTrail(_postgres(config.database, key)), key, expected)
    from triage_cli.stores.auditing import trail

    with trail(config.database) as log:
        return prove(log, key, expected)


def _postgres(url: str, key: bytes | None = None) -> "PostgresStore":
    try:
        from triage_cli.stores.postgres import PostgresStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("psycopg", "psycopg_pool"):
            raise
        raise ConfigError(
            f"PostgreSQL needs the package {error.name}", hint="pip install 'triage-cli[postgres]'"
        ) from error
    return PostgresStore(url, key)


def path_of(config: Config) -> str:
    """Return the path of the database. Raises `UsageError` where it has none."""
    if is_postgres(config.database):
        raise UsageError(
            f"the database is {without_password(config.database)}, which is no file", hint="pg_dump backs it up"
        )
    return config.database


def is_there(config: Config) -> bool:
    """Tell whether there is a database: a server is asked only when it is needed."""
    store = open_store(config)
    return not isinstance(store, SqliteStore) or store.is_there()


def is_empty(config: Config) -> bool:
    """Tell whether there is no ticket yet."""
    return not is_there(config) or not any(True for _ in open_store(config).find(Selection(limit=1)))


def copy_to(config: Config, url: str) -> "Copied":
    """Move the database, which must be a file, to PostgreSQL."""
    source = open_store(config)
    if not isinstance(source, SqliteStore):
        raise UsageError("the database is on a server already", hint="pg_dump and pg_restore move it")
    if not is_postgres(url):
        raise UsageError("a database is copied to PostgreSQL", hint="give postgresql://user@host/name")
    target = _postgres(url, audit_key(os.environ))
    from triage_cli.stores.copying import copy

    return copy(source, target)


def remote(config: Config, key: str, *, insecure: bool) -> "RemoteTriage":
    """Return the use cases on the instance that the configuration names; nothing is sent yet."""
    from triage_cli.client import RemoteTriage
    from triage_cli.client.connection import checked

    return RemoteTriage(checked(config.remote or "", key, insecure=insecure))


def open_gate(store: Store) -> Gate:
    """Return the gate of the HTTP API beside a store."""
    from triage_cli.stores.access import StoreGate

    return StoreGate(store)  # type: ignore[arg-type]  # each of our stores has the two doors that the gate needs


def parts(config: Config, tell: Callable[[str], None] | None = None, *, guarded: bool = False) -> Parts:
    """Put together what the use cases stand on; `tell` is told what takes long.

    `guarded`: webhooks reach no private address, unless their destination allows it.
    """
    store = open_store(config)

    @cache
    def destination(name: str) -> Destination:
        return open_destination(name, config.destinations.get(name), guarded=guarded)

    def classifier(plan: ClassifyPlan, actor: str, run_id: str) -> Classifier:
        return open_classifier(_known(config, store), store, plan, Signed(actor, run_id), tell)

    def batcher(name: str, plan: ClassifyPlan, actor: str, run_id: str) -> Batcher:
        return open_batcher(_known(config, store), name, plan, Signed(actor, run_id))

    map_ = Map(config.routes, config.routing_hash(), destination)
    hysteresis = {name: spec.hysteresis for name, spec in config.classifiers.items()}
    return Parts(store, config.categories, classifier, map_, config.per_day, hysteresis, batcher)


def _known(config: Config, store: Store) -> Config:
    """Return the configuration with categories that know their first names in this store."""
    return config._replace(categories=renaming.rooted(config.categories, store.renames()))


def open_destination(name: str, spec: DestinationSpec | None, *, guarded: bool = False) -> Destination:
    """Open a destination by its configuration."""
    if spec is None:
        raise ConfigError(
            f'no destination "{name}" in the config', hint="add it again, or route its tickets with --again"
        )
    if spec.type == "file" and spec.path is not None:
        from triage_cli.destinations.file import FileDestination

        return FileDestination(name, spec.path, spec.max_attempts, spec.retry_schedule)
    if spec.type == "webhook":
        from triage_cli.destinations.webhook import WebhookDestination

        return WebhookDestination(target(spec, os.environ)._replace(guarded=guarded and not spec.allow_private))
    if spec.type == "command":
        from triage_cli.destinations.command import CommandDestination

        return CommandDestination(name, spec.run, spec.timeout, spec.max_attempts, spec.retry_schedule)
    raise ConfigError(f'destination "{name}" has no type that is known', hint="use webhook, command or file")


def target(spec: DestinationSpec, env: Mapping[str, str]) -> "Target":
    """Return where a webhook goes, with its secrets from the environment."""
    from triage_cli.destinations.webhook import Target
    from triage_cli.signing import secret_of

    missing = [name for name in spec.secret_env if not env.get(name)]
    if missing:
        raise ConfigError(
            f'destination "{spec.name}" needs the secret in {missing[0]}, which is not set', hint=f"export {missing[0]}"
        )
    secrets = tuple(secret_of(env[name]) for name in spec.secret_env)
    return Target(spec.name, spec.url or "", secrets, spec.timeout, spec.max_attempts, spec.retry_schedule)


def preview(config: Config, store: Store, ticket: Ticket, rule: Rule, plan: RoutePlan) -> Iterator[str]:
    """Yield the requests that routing this ticket would make now, as `route --dry-run` prints them."""
    from triage_cli.destinations.payload import line

    existing = store.deliveries([ticket.ticket_id]).get(ticket.ticket_id, ())
    owed = routing.owed(
        ticket, rule, existing, again=plan.again, config_hash=config.routing_hash(), at=ids.now(), due_at=0.0, run_id=""
    )
    gone = {delivery.delivery_id for delivery in owed.superseded}
    kept = [d for d in existing if d.delivery_id not in gone and d.category == ticket.category]
    due = [d for d in kept if d.state == "pending" and d.due_at <= time.time()]
    dead = [d for d in kept if d.state == "dead" and plan.retry_dead]
    for delivery in (*due, *dead, *owed.new):
        parcel = Parcel(delivery, ticket)
        spec = config.destinations.get(delivery.destination)
        if spec is not None and spec.type == "webhook":
            from triage_cli.destinations.webhook import as_text

            yield as_text(target(spec, os.environ), parcel)
        else:
            yield line(parcel).decode().rstrip()


def try_destination(spec: DestinationSpec) -> str:
    """Look whether a destination can be used, without sending anything, and return what it is in words.

    Raises what a run would raise.
    """
    open_destination(spec.name, spec)
    if spec.type == "command":
        if shutil.which(spec.run[0]) is None:
            raise ConfigError(f"{spec.run[0]} is no program that can be run", hint="check its path and its rights")
        return f"runs {spec.run[0]}"
    if spec.type == "file":
        return f"appends to {spec.path}"
    from triage_cli.destinations.unreached import host_of

    signed = f", signed by {' and '.join(spec.secret_env)}" if spec.secret_env else ", not signed"
    return f"posts to {host_of(spec.url or '')}{signed}"


def try_classifier(config: Config, name: str) -> str:
    """Ask a classifier one tiny question and return what it answered in words. Raises what a run would raise."""
    store, spec = open_store(config), config.classifiers[name]
    plan, signed = ClassifyPlan(name, force=True, max_wait=0.0), Signed("doctor", ids.new_id())
    model = _asked(config, spec, plan, signed) if spec.type not in ("local", "cascade") else None
    classifier = model or open_classifier(_known(config, store), store, plan, signed, None)
    category = config.categories[0].name
    ticket = Ticket(ids.new_id(), "", "doctor", None, "", f"A question about {category}", None, None, None, 2, None, "")
    for outcomes in classifier.classify([[ticket]], Allowance()):
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            last = outcome.value.steps[-1] if outcome.value else None
            if last is not None:
                share = "" if last.confidence is None else f" at {last.confidence:.2f} ({last.confidence_source})"
                held = f"; {model.provider.constraint}" if model else ""
                return f"{last.classifier} answered {last.category or 'none of these'}{share}{held}"
    raise UnavailableError(f'classifier "{name}" gave no answer', hint="try again later")


def attack(config: Config, name: str, tell: Callable[[str], None] | None = None) -> Steering:
    """Try the shipped attacks on a classifier, nothing recalled; a network one is asked some 240 questions."""
    plan = ClassifyPlan(name, force=True)
    classifier = open_classifier(config, open_store(config), plan, Signed("attack", ids.new_id()), tell)
    return adversarial(classifier, config.categories)


class Estimate(NamedTuple):
    """What a classification would take: tickets, tokens and USD at most (None: no price), and the first prompt."""

    tickets: int
    tokens: int = 0
    cost: float | None = 0.0
    prompt: str = ""


def estimate(config: Config, plan: ClassifyPlan, tickets: Iterable[Ticket]) -> Estimate:
    """Estimate what asking about tickets would take, without asking; of a cascade, its first step that costs."""
    spec = config.classifiers[plan.classifier or config.classifier]
    steps = [config.classifiers[step] for step in spec.steps] if spec.type == "cascade" else [spec]
    paid = next((step for step in steps if step.type != "local"), None)
    if paid is None:
        return Estimate(sum(1 for _ in tickets))
    from triage_cli.classifiers import asking
    from triage_cli.classifiers.providers import BUDGET

    asked = asking.build(paid, config.categories, env=os.environ, actor="", run_id=None, offline=config.offline)
    bill = asking.Bill(asking.half(paid.price) if plan.batch else paid.price)
    number = tokens = 0
    cost, prompt = 0.0, ""
    for ticket in tickets:
        question, _ = asked.question(ticket)
        usage = asking.estimate(question, BUDGET)
        number, tokens, cost = number + 1, tokens + usage.input + usage.output, cost + bill.price_of(usage)
        prompt = prompt or f"{question.system}\n\n{question.user}"
    return Estimate(number, tokens, cost if paid.price else None, prompt)


def open_classifier(
    config: Config, store: Store, plan: ClassifyPlan, signed: Signed, tell: Callable[[str], None] | None
) -> Classifier:
    """Open the classifier that a plan names, or the default; the embedded model is fitted here where it is not yet."""
    name = plan.classifier or config.classifier
    spec = config.classifiers.get(name)
    if spec is None:
        raise UsageError(f'no classifier "{name}"', hint=f"the config has {', '.join(config.classifiers)}")
    if plan.batch and not _paid(config, spec):
        raise UsageError(
            f'classifier "{name}" asks no provider{" offline" if config.offline else ""}, so nothing can be in a batch',
            hint="leave out --batch",
        )
    if spec.type == "local":
        return _calibrated(store, spec, _local(config, store, spec, signed, tell), tell)
    if spec.type == "cascade":
        from triage_cli.classifiers.cascade import Cascade

        kept = [step for step in spec.steps if not config.offline or config.classifiers[step].type == "local"]
        if not kept:
            raise UsageError(f'classifier "{name}" has no step that works offline', hint="leave out --offline")
        paid = _paid(config, spec)
        steps = [
            _calibrated(
                store,
                (of := config.classifiers[step]),
                _asking(config, store, of, plan, signed, has_next=step != paid[-1]),
                tell,
            )
            if step in paid
            else open_classifier(config, store, plan._replace(classifier=step, batch=False), signed, tell)
            for step in kept
        ]
        return Cascade(name, steps, spec.audit_rate, tell) if len(steps) > 1 else steps[0]
    return _calibrated(store, spec, _asking(config, store, spec, plan, signed), tell)


def _calibrated(
    store: Store, spec: ClassifierSpec, classifier: Classifier, tell: Callable[[str], None] | None
) -> Classifier:
    found = open_shelf(store).calibration(classifier.fingerprint)
    if found is None:
        return classifier
    from triage_cli.classifiers.calibrated import Calibrated

    if tell is not None:
        tell(f"confidences of {spec.name} are calibrated (on {found.n:,} labelled tickets, {found.at[:10]})")
    return Calibrated(classifier, found, spec.min_confidence)


def _paid(config: Config, spec: ClassifierSpec) -> list[str]:
    """Return the names of the steps that ask a provider; offline there are none."""
    names = spec.steps if spec.type == "cascade" else (spec.name,)
    return [] if config.offline else [name for name in names if config.classifiers[name].type != "local"]


def open_batcher(config: Config, name: str, plan: ClassifyPlan, signed: Signed) -> Batcher:
    """Open the batches of a classifier, of one that is no part of the plan as well: they are to be collected."""
    from triage_cli.classifiers import batches

    spec = config.classifiers.get(name)
    if spec is None:
        raise ConfigError(
            f'a batch of classifier "{name}" is to be collected, which the config no longer has',
            hint="add it again until then",
        )
    steps = _paid(config, config.classifiers[plan.classifier or config.classifier])
    asked = _asked(config, spec, plan, signed)
    return batches.Batches(asked, batches.wire_of(asked, os.environ), has_next=name in steps[:-1])


def _asked(config: Config, spec: ClassifierSpec, plan: ClassifyPlan, signed: Signed) -> "AskingClassifier":
    from triage_cli.classifiers import asking

    return asking.build(
        spec._replace(workers=plan.workers or spec.workers),
        config.categories,
        env=os.environ,
        actor=signed.actor,
        run_id=signed.run_id,
        max_wait=plan.max_wait,
        offline=config.offline,
    )


def _asking(
    config: Config, store: Store, spec: ClassifierSpec, plan: ClassifyPlan, signed: Signed, *, has_next: bool = False
) -> Classifier:
    from triage_cli.classifiers.remembering import Remembering

    asked = _asked(config, spec, plan, signed)
    inner: Classifier = asked
    if plan.batch:
        from triage_cli.classifiers import batches

        inner = batches.Postponing(asked, has_next=has_next)
    shelf = open_shelf(store)

    def recall(keys: Sequence[str]) -> Mapping[str, Classification]:
        return {} if plan.force else {**shelf.trials(keys), **store.recall(keys)}

    return Remembering(inner, spec.min_confidence, recall, signed.actor, signed.run_id)


def _local(
    config: Config, store: Store, spec: ClassifierSpec, signed: Signed, tell: Callable[[str], None] | None
) -> Classifier:
    from triage_cli.classifiers import local
    from triage_cli.classifiers import model as fitted

    version = open_shelf(store).active()
    model = said = None
    if version is not None:
        model = _suited(version, config)
        said = f"version {version.version}, learned from {json.loads(version.metrics)['labelled']:,} tickets"
        if model is None and tell is not None:
            tell(f"{of_other_categories(version)}, so the built-in model answers; next: triage learn")
    return local.LocalClassifier(
        spec.name,
        model or built_in(config, store, tell),
        fitted.fingerprint(config.categories),
        spec.min_confidence,
        actor=signed.actor,
        run_id=signed.run_id,
        categories=config.categories,
        clock=ids.now,
        new_id=ids.new_id,
        version=said if model and said else "",
    )


def _suited(version: ModelVersion, config: Config) -> "Model | None":
    """Return a learned model under the configuration's categories; None where it is for others."""
    from triage_cli.classifiers import model as fitted

    return fitted.suited(fitted.Model.from_bytes(version.weights), config.categories)


def of_other_categories(version: ModelVersion) -> str:
    """Return what is to be said of a learned model that does not suit the categories."""
    return (
        f"learned model version {version.version} is for other categories ({', '.join(json.loads(version.categories))})"
    )


def built_in(config: Config, store: Store, tell: Callable[[str], None] | None) -> "Model":
    """Return the embedded model of the categories alone, fitted where it is not yet."""
    from triage_cli.classifiers import model as fitted

    name = fitted.fingerprint(config.categories)
    weights = store.model(name)
    if weights is None:
        from triage_cli.classifiers import training

        if tell is not None:
            tell(f"fitting the embedded model to {len(config.categories)} categories, once")
        weights = training.fit(config.categories).to_bytes()
        store.keep_model(name, weights, {"categories": len(config.categories)})
    # Its labels stand in the order of the categories, and may be their former names.
    return fitted.Model.from_bytes(weights)._replace(labels=tuple(c.name for c in config.categories))


def open_shelf(store: Store) -> Shelf:
    """Return what was learned, beside a store."""
    from triage_cli.stores.learning import Shelf as StoreShelf

    return StoreShelf(store)  # type: ignore[arg-type]  # each of our stores has the doors it needs


def learning(config: Config, actor: str, words: str, tell: Callable[[str], None]) -> "Learning":
    """Put together what learning and the search for suspect labels stand on."""
    from triage_cli.classifiers.training import Trainer
    from triage_cli.service.learning import Learning

    store = open_store(config)
    config = _known(config, store)
    trainer = Trainer(config.categories, lambda: built_in(config, store, tell).to_bytes())
    return Learning(store, open_shelf(store), trainer, config.categories, actor, words)


def evaluating(config: Config, actor: str, words: str, tell: Callable[[str], None]) -> "Evaluating":
    """Put together what an evaluation stands on."""
    from triage_cli.service.evaluating import Evaluating

    store = open_store(config)

    def classifier(plan: ClassifyPlan, run_id: str) -> Classifier:
        return open_classifier(_known(config, store), store, plan, Signed(actor, run_id), tell)

    def learned(texts: Sequence[str]) -> list[bool]:
        version = open_shelf(store).active()
        if version is None:
            return [False] * len(texts)
        from triage_cli.classifiers import model as fitted

        model = _suited(version, _known(config, store))
        return [False] * len(texts) if model is None else fitted.has_learned(model, texts)

    return Evaluating(store, open_shelf(store), config.categories, classifier, learned, config.per_day, actor, words)


def learned_version(config: Config) -> tuple[str, bool] | None:
    """Return what is to be said of the learned model, and whether it is in use; None where there is none."""
    store = open_store(config)
    version = open_shelf(store).active()
    if version is None:
        return None
    suits = _suited(version, _known(config, store)) is not None
    labelled = json.loads(version.metrics)["labelled"]
    said = f"version {version.version} of {version.at[:10]}, learned from {labelled:,} tickets"
    return (said, True) if suits else (f"{of_other_categories(version)}: not in use", False)


def calibrations(config: Config) -> Iterator[tuple[str, Calibration, bool]]:
    """Yield each configured classifier's newest calibration, and whether it still holds."""
    store = open_store(config)
    newest: dict[str, Calibration] = {}
    for calibration in open_shelf(store).calibrations():
        newest.setdefault(calibration.classifier, calibration)
    for name, spec in config.classifiers.items():
        if name in newest and spec.type != "cascade":
            asked = open_classifier(
                _known(config, store), store, ClassifyPlan(name), Signed("doctor", ids.new_id()), None
            )
            held = open_shelf(store).calibration(asked.fingerprint)
            yield name, held or newest[name], held is not None
