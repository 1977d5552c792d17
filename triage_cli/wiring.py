"""Which class stands behind a port: the one place that names stores, classifiers and destinations."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from triage_cli import ids, routing
from triage_cli.adversarial import Steering, adversarial
from triage_cli.allowance import Allowance
from triage_cli.config import ClassifierSpec, Config, DestinationSpec
from triage_cli.errors import ConfigError, UnavailableError, UsageError
from triage_cli.models import Classification, ClassifyPlan, Head, Parcel, Rule, Ticket
from triage_cli.ports import Classifier, Destination, Store
from triage_cli.service.delivering import Map
from triage_cli.service.local import Parts
from triage_cli.service.proving import prove
from triage_cli.stores.sqlite import SqliteStore

if TYPE_CHECKING:  # an annotation is no reason to import httpx
    from triage_cli.destinations.webhook import Target

SHORTEST_KEY = 16


class Signed(NamedTuple):
    """What answers are signed with: who asks, in which run."""

    actor: str
    run_id: str


def open_store(config: Config) -> SqliteStore:
    """Open the database that the configuration names."""
    if "://" in config.database:
        raise ConfigError(
            "this version keeps tickets in SQLite files only", hint="give --db a path; PostgreSQL is planned"
        )
    return SqliteStore(config.database, audit_key(os.environ))


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
    if "://" in config.database:
        raise ConfigError("this version keeps tickets in SQLite files only", hint="give --db a path")
    from triage_cli.stores.auditing import trail

    with trail(config.database) as log:
        return prove(log, audit_key(os.environ), expected)


def parts(config: Config, tell: Callable[[str], None] | None = None) -> Parts:
    """Put together what the use cases stand on; `tell` is told what takes long."""
    store = open_store(config)

    @cache
    def destination(name: str) -> Destination:
        return open_destination(name, config.destinations.get(name))

    def classifier(plan: ClassifyPlan, actor: str, run_id: str) -> Classifier:
        return open_classifier(config, store, plan, Signed(actor, run_id), tell)

    map_ = Map(config.routes, config.routing_hash(), destination)
    return Parts(store, config.categories, classifier, map_, config.per_day)


def open_destination(name: str, spec: DestinationSpec | None) -> Destination:
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

        return WebhookDestination(target(spec, os.environ))
    if spec.type == "command":
        from triage_cli.destinations.command import CommandDestination

        return CommandDestination(name, spec.run, spec.timeout, spec.max_attempts, spec.retry_schedule)
    raise ConfigError(f'destination "{name}" has no type that is known', hint="use webhook, command or file")


def target(spec: DestinationSpec, env: Mapping[str, str]) -> "Target":
    """Return where a webhook goes, with its secrets from the environment."""
    from triage_cli.destinations.webhook import Target, secret_of

    missing = [name for name in spec.secret_env if not env.get(name)]
    if missing:
        raise ConfigError(
            f'destination "{spec.name}" needs the secret in {missing[0]}, which is not set', hint=f"export {missing[0]}"
        )
    secrets = tuple(secret_of(env[name]) for name in spec.secret_env)
    return Target(spec.name, spec.url or "", secrets, spec.timeout, spec.max_attempts, spec.retry_schedule)


def preview(config: Config, store: Store, ticket: Ticket, rule: Rule) -> Iterator[str]:
    """Yield the requests that routing this ticket would make now, as `route --dry-run` prints them."""
    from triage_cli.destinations.payload import line

    existing = store.deliveries([ticket.ticket_id]).get(ticket.ticket_id, ())
    owed = routing.owed(
        ticket, rule, existing, again=False, config_hash=config.routing_hash(), at=ids.now(), due_at=0.0, run_id=""
    )
    for delivery in owed.new:
        parcel = Parcel(delivery, ticket)
        spec = config.destinations.get(delivery.destination)
        if spec is not None and spec.type == "webhook":
            from triage_cli.destinations.webhook import as_text

            yield as_text(target(spec, os.environ), parcel)
        else:
            yield line(parcel).decode().rstrip()


def try_classifier(config: Config, name: str) -> str:
    """Ask a classifier one tiny question and return what it answered in words. Raises what a run would raise."""
    classifier = open_classifier(
        config, open_store(config), ClassifyPlan(name, force=True, max_wait=0.0), Signed("doctor", ids.new_id()), None
    )
    category = config.categories[0].name
    ticket = Ticket(ids.new_id(), "", "doctor", None, "", f"A question about {category}", None, None, None, 2, None, "")
    for outcomes in classifier.classify([[ticket]], Allowance()):
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            last = outcome.value.steps[-1] if outcome.value else None
            if last is not None:
                share = "" if last.confidence is None else f" at {last.confidence:.2f} ({last.confidence_source})"
                return f"{last.classifier} answered {last.category or 'none of these'}{share}"
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
    bill = asking.Bill(paid.price)
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
        raise UsageError(f'no classifier "{name}"', hint=f"configured are {', '.join(config.classifiers)}")
    if spec.type == "local":
        return _local(config, store, spec, signed, tell)
    if spec.type == "cascade":
        from triage_cli.classifiers.cascade import Cascade

        kept = [step for step in spec.steps if not config.offline or config.classifiers[step].type == "local"]
        if not kept:
            raise UsageError(f'classifier "{name}" has no step that works offline', hint="leave out --offline")
        steps = [open_classifier(config, store, plan._replace(classifier=step), signed, tell) for step in kept]
        return Cascade(name, steps, spec.audit_rate, tell) if len(steps) > 1 else steps[0]
    return _asking(config, store, spec, plan, signed)


def _asking(config: Config, store: Store, spec: ClassifierSpec, plan: ClassifyPlan, signed: Signed) -> Classifier:
    from triage_cli.classifiers import asking
    from triage_cli.classifiers.remembering import Remembering

    inner = asking.build(
        spec._replace(workers=plan.workers or spec.workers),
        config.categories,
        env=os.environ,
        actor=signed.actor,
        run_id=signed.run_id,
        max_wait=plan.max_wait,
        offline=config.offline,
    )

    def recall(keys: Sequence[str]) -> Mapping[str, Classification]:
        return {} if plan.force else store.recall(keys)

    return Remembering(inner, spec.min_confidence, recall, signed.actor, signed.run_id)


def _local(
    config: Config, store: Store, spec: ClassifierSpec, signed: Signed, tell: Callable[[str], None] | None
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
        actor=signed.actor,
        run_id=signed.run_id,
        categories=config.categories,
        clock=ids.now,
        new_id=ids.new_id,
    )
