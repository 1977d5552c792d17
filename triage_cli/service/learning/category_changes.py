"""Finds categories that do not work: taken for each other, two topics in one, needed by nobody, described as others."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import FindMixtures, Settings, TellProgress, Trainer
from triage_cli.service.learning.training_data import TrainingData, cross_fitted

MOST_SAMPLED = 20_000  # labelled texts that are looked at; of more, a sample
MOST_IN_FOLDS = 6_000  # labelled texts up to which each is held out once; of more, one fold is
MOST_SOUGHT, MOST_MERGES, MOST_SPLITS, MOST_SHARPENED = 10, 5, 3, 5
LEAST_GAIN, LEAST_CONFUSED = 0.01, 0.2  # what a merge must gain, or at what rate both must be confused, to be proposed
MISLEADS = 0.9  # by how much surer a text must be another category's
NEEDED_BY = 3  # labels or tickets of a category from which on it is needed
MOST_UNTAUGHT = 2_000  # labelled texts that a model of descriptions is asked about

Pair = frozenset[str]


class Desk(NamedTuple):
    """What else counts: tickets by category, overruled pairs, where categories go, what is to be sent, more texts."""

    tickets: Mapping[str, int]
    overruled: Mapping[Pair, int]
    reached: Mapping[str, tuple[str, ...]]
    target: dm.Target
    texts: Sequence[str]


class HeldOut(NamedTuple):
    """The labels of held-out rows, by the index of the row, and what models fitted to others say of them."""

    numbers: list[int]
    labels: list[str]
    chances: list[dm.Chances]
    settings: Settings  # those of the models

    @classmethod
    def of(cls, trainer: Trainer, rows: Sequence[dm.Labelled], tell: Callable[[float], None]) -> "HeldOut":
        """Return the answers about rows, each by a model that is fitted without the row's fold."""
        settings = trainer.settings(rows)  # of all rows, to save time: what is compared are changes, not models
        answered: dict[int, dm.Chances] = {}
        for held_out, weights in cross_fitted(trainer, rows, settings, every=len(rows) <= MOST_IN_FOLDS):
            texts = [rows[number].text for number in held_out]
            answered |= zip(held_out, trainer.chances(weights, texts), strict=True)
            tell(len(answered) / len(rows))
        return cls([*answered], [rows[number].category for number in answered], [*answered.values()], settings)


def find_changes(
    data: TrainingData,
    categories: Sequence[dm.Category],
    make_trainer: Callable[[Sequence[dm.Category]], Trainer],
    find_mixtures: FindMixtures,
    desk: Desk,
    tell: TellProgress,
) -> dm.CategoryReport:
    """Return what a change of the categories would gain and cost, as far as there are labels enough to tell."""
    rows = [row for row in data.rows if not row.is_typical]
    missing = dm.labels_missing(len(rows), len(categories))
    rows = Random(0).sample(rows, MOST_SAMPLED) if len(rows) > MOST_SAMPLED else rows  # noqa: S311 - no secret
    report = dm.CategoryReport((), 0.0, *desk.target, data.counts, len(rows), 0, missing, 0, 0)
    if missing:
        return report
    finder = _Finder(rows, data.overruled, categories, make_trainer, desk, tell)
    if not finder.before:  # the texts are all the same but for numbers
        return report._replace(missing=dm.labels_missing(0, len(categories)))
    tell("topics", 0.6)
    mixtures, far = find_mixtures([row.text for row in rows], [row.category for row in rows], desk.texts)
    found = [*finder.merges(), *finder.splits(mixtures)]
    tell("descriptions", 0.8)
    found += finder.sharper()
    found.sort(key=lambda change: -change.rate)
    return report._replace(
        changes=(*found, *finder.drops()),
        sent=desk.target.sent(finder.before),
        held_out=len(finder.before),
        looked_at=len(desk.texts),
        far=far,
    )


class _Finder:
    """What is known of one list of categories."""

    def __init__(
        self,
        rows: Sequence[dm.Labelled],
        overruled: Mapping[str, str],
        categories: Sequence[dm.Category],
        make_trainer: Callable[[Sequence[dm.Category]], Trainer],
        desk: Desk,
        tell: TellProgress,
    ) -> None:
        self._rows, self._make_trainer, self._desk = rows, make_trainer, desk
        # A category above others stays: what is below it would have no place.
        parents = {category.parent for category in categories}
        self._open = {category.name for category in categories} - parents
        self._categories = [category._replace(parent="") for category in categories]
        self._labels = Counter(row.category for row in rows)
        self._verdicts = Counter(row.category for row in rows if row.ticket_id)
        tell("answering held-out texts", 0.0)
        trainer = make_trainer(self._categories)
        self._held_out = HeldOut.of(trainer, rows, lambda share: tell("answering held-out texts", 0.6 * share))
        self.before = dm.answers_after(self._held_out.labels, self._held_out.chances)
        self._contradicting = self._contradictions(overruled)

    def _contradictions(self, overruled: Mapping[str, str]) -> Counter[Pair]:
        """Count the texts that people gave to two categories: the same, nearly the same, or against a machine."""
        counts: Counter[Pair] = Counter(self._desk.overruled)
        counts.update(frozenset((row.category, overruled[row.text])) for row in self._rows if row.text in overruled)
        first: dict[int, str] = {}
        for group, row in zip(dm.groups_of([row.text for row in self._rows]), self._rows, strict=True):
            if first.setdefault(group, row.category) != row.category:
                counts[frozenset((first[group], row.category))] += 1
        return counts

    def _change(self, kind: dm.ChangeKind, categories: tuple[str, ...], rate: float) -> dm.CategoryChange:
        labels = sum(self._labels[name] for name in categories)
        return dm.CategoryChange(kind, categories, (), (), "", rate, 0.0, (0.0, 0.0), labels, 0, (), 0)

    def _gaining(self, change: dm.CategoryChange, after: Sequence[tuple[float, bool]]) -> dm.CategoryChange:
        gain, interval = self._desk.target.gain(self.before, after)
        return change._replace(gain=gain, gain_interval=interval)

    def merges(self) -> Iterator[dm.CategoryChange]:
        """Yield pairs that are taken for each other, by the rate of that and never by its count."""
        labels, chances = self._held_out.labels, self._held_out.chances
        counts, confused = Counter(labels), Counter[Pair]()
        for label, likeliest in zip(labels, chances, strict=True):
            if likeliest and likeliest[0][0] != label and {label, likeliest[0][0]} <= self._open:
                confused[frozenset((label, likeliest[0][0]))] += 1
        least_rates = {
            pair: dm.wilson(number, sum(counts[name] for name in pair))[0]
            for pair, number in confused.items()
            if number > 1
        }
        sought = sorted(least_rates, key=lambda pair: -least_rates[pair])[:MOST_SOUGHT]
        yield from islice(
            filter(None, (self._merge(pair, least_rates[pair], confused[pair]) for pair in sought)), MOST_MERGES
        )

    def _merge(self, pair: Pair, least_rate: float, confused: int) -> dm.CategoryChange | None:
        first, second = sorted(pair, key=lambda name: (-self._labels[name], name))
        both = dm.merged_name(first, second)
        change = self._change(dm.ChangeKind.MERGE, (first, second), 0.0)
        after = dm.answers_after(self._held_out.labels, self._held_out.chances, dict.fromkeys(pair, both))
        change = self._gaining(change, after)
        if least_rate < LEAST_CONFUSED and (change.gain < LEAST_GAIN or change.gain_interval[0] <= 0):
            return None
        held_out = sum(label in pair for label in self._held_out.labels)
        reached, tickets = self._desk.reached, self._desk.tickets
        goes_elsewhere = reached.get(first) != reached.get(second)
        together = dict.fromkeys((*reached.get(first, ()), *reached.get(second, ())))
        return change._replace(
            rate=confused / held_out,
            tickets=min(tickets.get(first, 0), tickets.get(second, 0)) if goes_elsewhere else 0,
            destinations=tuple(together) if goes_elsewhere else (),
            disagreeing=self._contradicting[pair],
        )

    def splits(self, mixtures: Sequence[dm.Mixture]) -> Iterator[dm.CategoryChange]:
        """Yield categories of two topics that are no more alike than two categories usually are."""
        taken = {category.name.casefold() for category in self._categories}
        for mixture in islice((each for each in mixtures if each.category in self._open), MOST_SPLITS):
            names = tuple(dm.topic_name(words, taken) for words in mixture.words)
            change = self._change(dm.ChangeKind.SPLIT, (mixture.category,), mixture.excess)
            yield self._gaining(change, self._answers_of_parts(mixture, names))._replace(
                parts=names,
                texts=tuple(", ".join(words) for words in mixture.words),
                tickets=self._desk.tickets.get(mixture.category, 0),
                disagreeing=self._verdicts[mixture.category],
            )

    def _answers_of_parts(self, mixture: dm.Mixture, names: tuple[str, ...]) -> list[tuple[float, bool]]:
        """Return the held-out answers if those of a category also named one of its topics."""
        trainer = self._make_trainer([dm.Category(name) for name in names])
        numbers = [number for part in mixture.parts for number in part]
        parts = [name for name, part in zip(names, mixture.parts, strict=True) for _ in part]
        rows = [self._rows[n]._replace(category=name) for n, name in zip(numbers, parts, strict=True)]
        held_out = HeldOut.of(trainer, rows, lambda _: None)
        of_parts = dm.answers_after(held_out.labels, held_out.chances)
        answers = {numbers[place]: answer for place, answer in zip(held_out.numbers, of_parts, strict=True)}
        usual = sum(sure for sure, _ in of_parts) / max(len(of_parts), 1)
        after = []
        for number, chances, (sure, right) in zip(
            self._held_out.numbers, self._held_out.chances, self.before, strict=True
        ):
            if chances and chances[0][0] == mixture.category:
                of_part, part_right = answers.get(number, (usual, True))
                after.append((sure * of_part, right and part_right))
            else:
                after.append((sure, right))
        return after

    def drops(self) -> Iterator[dm.CategoryChange]:
        """Yield categories that hardly any label or ticket has."""
        reached = self._desk.reached
        for category in self._categories:
            name, tickets = category.name, self._desk.tickets.get(category.name, 0)
            if name not in self._open or max(tickets, self._labels[name]) >= NEEDED_BY:
                continue
            elsewhere = {to for other, receivers in reached.items() if other != name for to in receivers}
            after = dm.answers_after(self._held_out.labels, self._held_out.chances, dropped=name)
            yield self._gaining(self._change(dm.ChangeKind.DROP, (name,), 0.0), after)._replace(
                tickets=tickets,
                destinations=tuple(to for to in reached.get(name, ()) if to not in elsewhere),
                disagreeing=self._verdicts[name],
            )

    def sharper(self) -> Iterator[dm.CategoryChange]:
        """Yield categories whose description reads like the tickets of another one, by a model of labels alone."""
        described = [category for category in self._categories if category.description]
        if not described:
            return
        trainer = self._make_trainer([dm.Category(category.name) for category in self._categories])
        weights = trainer.fit(self._rows, settings=self._held_out.settings)
        read = zip(
            self._misread(trainer, weights, [(each.name, each.description) for each in described]),
            described,
            strict=True,
        )
        worst = sorted((each for each in read if each[0][0] >= MISLEADS), key=lambda each: -each[0][0])[:MOST_SHARPENED]
        rows = self._rows[:: -(-len(self._rows) // MOST_UNTAUGHT)]
        before = self._untaught(self._categories, rows) if worst else []
        for (rate, other), category in worst:
            texts = [*dm.phrases_of(category.description), *category.examples]
            found = zip(texts, self._misread(trainer, weights, [(category.name, text) for text in texts]), strict=True)
            misleading = tuple(text for text, (rate, name) in found if rate >= MISLEADS and name == other)
            if not any(text not in category.examples for text in misleading):
                misleading = (category.description, *misleading)
            changed = [dm.sharpened(each, misleading) if each == category else each for each in self._categories]
            gain, interval = self._desk.target.gain(before, self._untaught(changed, rows))
            yield self._change(dm.ChangeKind.SHARPEN, (category.name,), rate)._replace(
                texts=misleading, misleads_to=other, gain=gain, gain_interval=interval
            )

    @staticmethod
    def _misread(trainer: Trainer, weights: bytes, named: Sequence[tuple[str, str]]) -> list[tuple[float, str]]:
        """Return for each category and text of it by how much likelier the text is of another one, and of which."""
        read = []
        for (name, _), chances in zip(named, trainer.chances(weights, [text for _, text in named]), strict=True):
            own = next((chance for each, chance in chances if each == name), 0.0)
            chance, other = max(((chance, each) for each, chance in chances if each != name), default=(0.0, ""))
            read.append((chance - own, other))
        return read

    def _untaught(self, categories: Sequence[dm.Category], rows: Sequence[dm.Labelled]) -> list[tuple[float, bool]]:
        """Return the answers about rows of a model that knows the categories' own wording alone."""
        trainer = self._make_trainer(categories)
        chances = trainer.chances(trainer.built_in(), [row.text for row in rows])
        return dm.answers_after([row.category for row in rows], chances)
