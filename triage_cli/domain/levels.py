"""Levels: the tree that slashes make of a list of names, and the level of it at which an answer is sure.

In `Billing/Refund` the slash is a level where `Billing` is a name of the list, too. The probability of a name is its
own and that of all below it, so it never falls on the way up. An answer has a guess: the name that is found by going
from the likeliest first level down to the likeliest below it. It is sure at the lowest level of that path that reaches
its threshold.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, Self

from triage_cli.domain.classifications import Classification
from triage_cli.domain.json_values import compact
from triage_cli.domain.tickets import Category

# Returns the probability of a guess, or of a level above it (True), from the classifier's own confidence.
LevelCalibration = Callable[[float, bool], float]
# Behind the fingerprint of a question: what is calibrated are the levels above guesses.
ABOVE = "/above"


def parents_of(names: Iterable[str]) -> dict[str, str]:
    """Return of each name that is below another one of the list which it is directly below."""
    listed = tuple(names)
    known, parents = set(listed), {}
    for name in listed:
        above = (name[:end].rstrip() for end in range(len(name) - 1, 0, -1) if name[end] == "/")
        if parent := next((each for each in above if each in known), ""):
            parents[name] = parent
    return parents


class Judgeable(Protocol):
    """An answer with probabilities: a `Classification`, or what is stored of one."""

    @property
    def category(self) -> str | None:
        """The category that it names."""

    @property
    def raw_confidence(self) -> float | None:
        """The classifier's own confidence in that."""

    @property
    def chances(self) -> Mapping[str, float]:
        """The probabilities that are stored with it."""


class Levels(frozenset[str]):
    """The names of a list, with the tree that they make; `parents` is empty where none is below another one.

    `former` maps former names to present ones, which stored probabilities may still have.
    """

    parents: Mapping[str, str]
    former: Mapping[str, str]

    def __new__(cls, names: Iterable[str], parents: Mapping[str, str], former: Mapping[str, str] | None = None) -> Self:
        """Return the names with their tree; each parent is one of the names."""
        levels = super().__new__(cls, names)
        levels.parents = parents
        levels.former = former or {}
        return levels

    @classmethod
    def of(cls, categories: Sequence[Category]) -> Self:
        """Return the names of categories, with the tree that the configuration has made of them."""
        parents = {category.name: category.parent for category in categories if category.parent}
        former = {old: category.name for category in categories for old in category.was} if parents else None
        return cls((category.name for category in categories), parents, former)

    def path(self, name: str) -> Iterator[str]:
        """Yield a name and all that it is below, up to the first level."""
        while name:
            yield name
            name = self.parents.get(name, "")

    def depth(self, name: str) -> int:
        """Return at which level a name is; 1 is the first one."""
        return sum(1 for _ in self.path(name))

    def at(self, name: str, level: int) -> str | None:
        """Return the name of a level at which, or below which, a name is; None if it is above."""
        path = [*self.path(name)]
        return path[-level] if level <= len(path) else None

    def is_within(self, name: str | None, above: str | None) -> bool:
        """Return whether a name is another one, or below it; so an answer `above` is right for a label `name`."""
        if name is None or above is None or not self.parents:
            return name == above
        return above in self.path(name)

    def refines(self, name: str | None, other: str | None) -> bool:
        """Return whether a name is below another one."""
        return name != other and self.is_within(name, other)

    def chances(self, answer: Judgeable) -> Mapping[str, float]:
        """Return the stored probabilities of an answer by present names, the guess first."""
        return {self.former.get(name, name): chance for name, chance in answer.chances.items()}

    def guess(self, answer: Judgeable) -> str | None:
        """Return the best guess of an answer, which may be below the level at which it is sure."""
        if not self.parents or answer.category is None:
            return answer.category
        guess = next(iter(self.chances(answer)), None)
        return guess if self.is_within(guess, answer.category) else answer.category

    def is_guessed(self, answer: Judgeable, label: str | None) -> bool:
        """Return whether the guess of an answer is a label, or below it, where nobody has said more."""
        return self.is_within(self.guess(answer), label)

    def below(self, answer: Judgeable) -> str | None:
        """Return the guess of an answer that is sure at a level above it; else None."""
        guess = self.guess(answer)
        return None if guess == answer.category else guess

    def steps(self, answer: Judgeable) -> list[tuple[str, float]]:
        """Return the path of an answer's guess with the classifier's own probability of each level, the guess first.

        Where the classifier gave no probabilities, a parent has its child's confidence.
        """
        guess, confidence, chances = self.guess(answer), answer.raw_confidence, self.chances(answer)
        if guess is None or confidence is None:
            return []
        if guess == answer.category and guess not in chances:
            chances = {**chances, guess: confidence}
        steps: list[tuple[str, float]] = []
        for name in self.path(guess):
            confidence = max(chances.get(name, 0.0), steps[-1][1] if steps else 0.0)
            steps.append((name, confidence))
        return steps

    def settled(
        self,
        answer: Classification,
        threshold_of: Callable[[str], float | None],
        calibrated: LevelCalibration | None = None,
    ) -> Classification:
        """Return an answer at the level at which it is sure by these thresholds; if at none, its guess."""
        steps = self.steps(answer)
        if not steps:
            return answer
        candidates, least = [], 0.0
        for name, chance in steps:
            least = max(least, chance if calibrated is None else calibrated(chance, name != steps[0][0]))
            raw = None if calibrated is None else chance
            candidates.append(answer._replace(category=name, confidence=least, raw=raw, threshold=threshold_of(name)))
        best = next((candidate for candidate in candidates if candidate.is_sure), candidates[0])
        if best is not candidates[0] and not answer.probabilities:
            return best._replace(probabilities=compact(dict(steps)))
        return best

    def sums(self, own: Mapping[str, float]) -> dict[str, float]:
        """Return the probability of each name from the own ones: with that of all below it."""
        sums = dict.fromkeys(self, 0.0)
        for name, chance in own.items():
            for above in self.path(name):
                sums[above] += chance
        return sums

    def nested(self, own: Mapping[str, float], guess: str) -> dict[str, float]:
        """Return the probabilities to store with an answer: those of its guess and of what that is below come first."""
        sums = self.sums(own)
        path = {name: sums[name] for name in self.path(guess)}
        return path | {name: chance for name, chance in sums.items() if name in own or chance > 0}


FLAT = Levels((), {})


def levels_sentence(categories: Sequence[Category]) -> str:
    """Return the message that a list has levels, for those who wrote it before there were any; else nothing."""
    below = [category for category in categories if category.parent]
    if not below:
        return ""
    more = f", and {len(below) - 1} more so" if len(below) > 1 else ""
    return (
        f"{below[0].name} is below {below[0].parent}{more}: where only the upper one is sure, a ticket gets that, and "
        "rules for it take what is below; levels: false keeps names flat"
    )
