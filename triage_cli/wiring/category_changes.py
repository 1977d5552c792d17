"""What a change of categories would gain: the labels, tickets, routes and promise of a configuration, put together."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from triage_cli import domain as dm
from triage_cli.config import Config
from triage_cli.ports import Store, TellProgress, Trainer
from triage_cli.wiring.learned_models import promised_error

if TYPE_CHECKING:
    from triage_cli.service import TrainingRun

MOST_LOOKED_AT = 5_000  # stored tickets, the newest, of which it is looked how near they are to a category


def find_changes(
    config: Config,
    store: Store,
    training: "TrainingRun",
    rows: Sequence[dm.Labelled],
    asked: dm.Question,
    tell: TellProgress,
) -> dm.CategoryReport:
    """Return what a change of the values of a question would gain, by its labels and by these labelled rows."""
    from triage_cli.classifiers import LocalTrainer, embedded_fit, find_mixtures
    from triage_cli.service import Desk, find_changes

    def make_trainer(categories: Sequence[dm.Category]) -> Trainer:
        return LocalTrainer(categories, lambda: embedded_fit.fit(categories).to_bytes())

    spec = config.classifiers[asked.classifier or config.classifier]
    promise = promised_error(asked, spec)
    newest = store.find(dm.Selection(order="newest", limit=MOST_LOOKED_AT))
    desk = Desk(
        {group.keys[asked.name] or "": group.tickets for group in store.stats_by(dm.StatsQuery(by=(asked.name,)))},
        _overruled(store) if asked.name == dm.CATEGORY else {},
        {value.name: _reached(config, asked.name, value.name) for value in asked.values},
        dm.Target() if promise is None else dm.Target(promise.share, promised=True),
        [ticket.text[: dm.TOPIC_CHARACTERS] for ticket in newest if not ticket.is_erased],
    )
    return find_changes(training.training_data(rows), asked.values, make_trainer, find_mixtures, desk, tell)


def _overruled(store: Store) -> Counter[frozenset[str]]:
    """Count how often people gave another category than a machine that was sure, by both."""
    counts: Counter[frozenset[str]] = Counter()
    for each in store.answers.judged_days(None, None):
        if each.stood and each.category != each.given:
            counts[frozenset((each.category, each.given))] += each.judged
    return counts


def _reached(config: Config, question: str, name: str) -> tuple[str, ...]:
    """Return the destinations that a value of a question may reach."""
    to = (to for rule in config.routes if name in (rule.when.get(question) or (name,)) for to in rule.to)
    return tuple(dict.fromkeys(to))
