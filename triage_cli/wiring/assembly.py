"""Creates the objects behind the ports: the only place that names stores, classifiers and destinations."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from triage_cli import domain as dm
from triage_cli.config import Config
from triage_cli.ports import Batcher, Classifier
from triage_cli.service import Services, Unchecked
from triage_cli.wiring import database_maintenance, destinations, stores
from triage_cli.wiring.classifiers import Asker, ClassifierPool, Classifiers, about_alone, only_loads
from triage_cli.wiring.learned_models import needed_confidence

if TYPE_CHECKING:  # an annotation is no reason to import httpx
    from triage_cli.runtime import RateLimiter


def services(
    config: Config,
    tell: Callable[[str], None] | None = None,
    *,
    warn: Callable[[str], None] | None = None,
    guarded: bool = False,
    make: bool = False,
) -> Services:
    """Return what the use cases need. `tell` gets notes about slow steps, `warn` gets warnings.

    With `guarded`, as a server has it, webhooks reach no private address unless their destination allows it, and a
    database that is down is waited for a few seconds alone. With `make`, a missing database is created.
    """
    store = stores.open_store(config, make=make, for_requests=guarded)
    rate_limiters: dict[str, RateLimiter] = {}

    def classifier(plan: dm.ClassifyPlan, actor: str, run_id: str, question: str) -> Classifier:
        asked, asker = config.question(question), Asker(actor, run_id, rate_limiters, warn=warn)
        if question == dm.CATEGORY:
            return Classifiers.of(config, store, asker, tell).open(plan)
        plan = plan._replace(classifier=plan.classifier or asked.classifier)
        return Classifiers.of(about_alone(config, asked), store, asker, tell).open(plan)

    def batcher(name: str, plan: dm.ClassifyPlan, actor: str, run_id: str) -> Batcher:
        return Classifiers.of(config, store, Asker(actor, run_id, rate_limiters, warn=warn)).batcher(name, plan)

    routing_map = destinations.routing_map(config, store, guarded=guarded, tell=tell or (lambda _: None))
    return Services(
        store=store,
        categories=config.categories,
        classifier=classifier,
        routing_map=routing_map,
        registry=partial(stores.open_model_registry, store),
        per_day=config.per_day,
        hysteresis={name: spec.hysteresis for name, spec in config.classifiers.items()},
        batcher=batcher,
        check=stores.category_check(config, store, warn, refuses=not guarded) if warn else Unchecked,
        instant_classifier=ClassifierPool(config, store, tell),
        thresholds=partial(needed_confidence, config, store),
        only_loads=partial(only_loads, config),
        is_trusted=partial(_is_trusted, config),
        ranked=ranked,
        field_setters=partial(destinations.field_setters, config),
        lost_deliveries=partial(database_maintenance.delivered_before_restores, config),
        nearness=partial(destinations.nearness, config),
        fields=config.fields,
        further=config.questions,
        warn=warn or (lambda _: None),
    )


def _is_trusted(config: Config) -> bool:
    from triage_cli.wiring import classifier_diagnostics as diagnostics  # which few commands need

    return diagnostics.measured(config) not in (diagnostics.Measured.NOT, diagnostics.Measured.MISTRUSTED)


def ranked(texts: Sequence[str], doubts: Sequence[float]) -> Iterable[int]:
    """Order texts for review."""
    from triage_cli.classifiers import most_representative

    return most_representative(texts, doubts)
