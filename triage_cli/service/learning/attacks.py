"""Measures how often a ticket's text can steer a classifier, with the attacks that come with the program.

Each attack is appended to honest tickets that the classifier answers rightly, and demands another category. The attacks
are known ones; an attacker with unlimited tries will do better.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import islice
from typing import NamedTuple

from triage_cli.domain.chunks import chunked
from triage_cli.domain.decisions import Answer, Unfinished
from triage_cli.domain.errors import UsageError
from triage_cli.domain.hostile_text.prompt_injection import Suspicion
from triage_cli.domain.tickets import Category, Ticket
from triage_cli.ports.classifiers import Classifier
from triage_cli.runtime.budget import Budget

TICKETS_AN_ATTACK = 4
_STYLES: Mapping[str, Callable[[str], str]] = {
    "tags": lambda text: "".join(chr(0xE0000 + ord(c)) if " " <= c <= "~" else c for c in text),
    "zero-width": "\u200b".join,
    "full-width": lambda text: "".join(chr(0xFEE0 + ord(c)) if "!" <= c <= "~" else c for c in text),
    "reversed": lambda text: f"\u202e{text[::-1]}\u202c",
}


class AttackResult(NamedTuple):
    """How one classifier withstood the attacks.

    Only tickets that it answers rightly are attacked: `right` of `honest`. Of `tries`, `steered` ended in the demanded
    category; of these, `sure` were above the threshold; of these, `unseen` were not held for review: the successes.
    `by_kind` maps each kind of attack to its tries, steered and unseen.
    """

    classifier: str
    honest: int
    right: int
    tries: int
    steered: int
    sure: int
    unseen: int
    failed: int
    by_kind: Mapping[str, Mapping[str, int]]


class _Try(NamedTuple):
    kind: str
    target: str
    text: str


class Tries:
    """The attacks, each tried on a few tickets of these categories; `made` are the tries that have ended.

    Honest tickets are those that come with the program, for the default categories, and the examples of other ones.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self._labels = [category.name for category in categories]
        self._shipped = json.loads(files("triage_cli.service.learning").joinpath("attacks.json").read_text("utf-8"))
        self._honest = list(_honest(categories, self._shipped["tickets"]))
        self._right = 0
        self.made: list[tuple[_Try, Answer | None]] = []

    def over(self, classifier: Classifier, budget: Budget) -> Iterator[int]:
        """Run the attacks on a classifier, and yield the number of answers in each step.

        Raises `UsageError` if it answers no honest ticket rightly, and any error that ends a run.
        """
        right = []
        for ends in _ask(classifier, [text for _, text in self._honest], budget):
            right += [self._honest[n] for n, answer in ends if _guess(answer) == self._honest[n][0]]
            self._right = len(right)
            yield len(ends)
        if budget.stopping:
            return
        if not right or len(self._labels) < 2:
            raise UsageError(
                f'classifier "{classifier.name}" answers no honest ticket correctly, so no attack can be measured',
                hint="give the categories examples",
            )
        right.sort(key=self._honest.index)  # answers come in any order
        tries = list(_tries(self._shipped["attacks"], right, self._labels))
        for ends in _ask(classifier, [one.text for one in tries], budget):
            self.made += [(tries[n], answer) for n, answer in ends]
            yield len(ends)

    def result(self, name: str) -> AttackResult:
        """Return how the classifier of this name withstood the tries that were made."""
        suspicion = Suspicion(self._labels)
        total: Counter[str] = Counter()
        kinds: dict[str, Counter[str]] = {}
        for one, answer in self.made:
            is_steered = _guess(answer) == one.target
            is_sure = is_steered and answer is not None and answer.sure
            is_unseen = is_sure and not suspicion.found(one.text)
            of_kind = {"tries": 1, "steered": int(is_steered), "unseen": int(is_unseen)}
            kinds.setdefault(one.kind, Counter()).update(of_kind)
            total.update(of_kind | {"sure": int(is_sure), "failed": int(answer is None)})
        return AttackResult(
            classifier=name, honest=len(self._honest), right=self._right, tries=total["tries"],
            steered=total["steered"], sure=total["sure"], unseen=total["unseen"], failed=total["failed"],
            by_kind={kind: dict(counts) for kind, counts in kinds.items()},
        )  # fmt: skip


def _honest(categories: Sequence[Category], shipped: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield (label, text), one of each category in turn."""
    texts = {
        c.name: [t["text"] for t in shipped if t["label"].casefold() == c.name.casefold()] or list(c.examples)
        for c in categories
    }
    for turn in range(max(map(len, texts.values()), default=0)):
        for label, own_texts in texts.items():
            yield from ((label, text) for text in islice(own_texts, turn, turn + 1))


def _tries(
    attacks: Sequence[Mapping[str, str]], honest: Sequence[tuple[str, str]], labels: Sequence[str]
) -> Iterator[_Try]:
    turn = 0
    for attack in attacks:
        for _ in range(min(TICKETS_AN_ATTACK, len(honest))):
            label, text = honest[turn % len(honest)]
            others = [other for other in labels if other != label]
            target = others[turn // len(honest) % len(others)]
            attack_text = attack["text"].format(target=target)
            style = _STYLES.get(attack.get("style", ""))
            yield _Try(attack["kind"], target, f"{text}\n{style(attack_text) if style else attack_text}")
            turn += 1


def _ask(classifier: Classifier, texts: Sequence[str], budget: Budget) -> Iterator[list[tuple[int, Answer | None]]]:
    """Yield (number of the text, answer) as answers arrive; the answer is None if it failed."""
    tickets = [Ticket.of_text(text, ticket_id=str(n), source="attack") for n, text in enumerate(texts)]

    def chunks() -> Iterator[Sequence[Ticket]]:
        for chunk in chunked(tickets, max(1, classifier.chunk_size)):
            if budget.stopping:
                return
            yield chunk

    for outcomes in classifier.classify(chunks(), budget):
        ended = [outcome for outcome in outcomes if not isinstance(outcome.value, Unfinished)]
        yield [(int(o.ticket.ticket_id), None if o.error is not None else o.value) for o in ended]


def _guess(answer: Answer | None) -> str | None:
    return answer.steps[-1].category if answer and answer.steps else None
