"""Attacks on classifiers: measures how often a ticket's text can steer one.

Each attack is appended to honest tickets that the classifier answers rightly, and demands another category. The attacks
are known ones; an attacker with unlimited tries will do better.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Classifier
from triage_cli.runtime import Budget
from triage_cli.service import ask_classifier

TICKETS_AN_ATTACK = 4


def shipped_attacks() -> Any:
    """Return the attacks, and honest tickets of the default categories."""
    return json.loads(Path(__file__).with_name("attacks.json").read_text("utf-8"))


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


class _AttackTry(NamedTuple):
    kind: str
    target: str
    text: str


class AttackTries:
    """The attacks, each tried on a few tickets of these categories; `ended` are the tries that have ended.

    Honest tickets are those beside the attacks, for the default categories, and the examples of other ones.
    """

    def __init__(self, categories: Sequence[dm.Category]) -> None:
        self._labels = [category.name for category in categories]
        self._shipped = shipped_attacks()
        self._honest_tickets = list(_honest_tickets(categories, self._shipped["tickets"]))
        self._right = 0
        self.ended: list[tuple[_AttackTry, dm.Answer | None]] = []

    def over(self, classifier: Classifier, budget: Budget) -> Iterator[int]:
        """Ask a classifier about the honest tickets, attack it, and yield the number of answers in each step.

        Raises `UsageError` if it answers no honest ticket rightly, and any error that ends a run.
        """
        honest, right = self._honest_tickets, []
        for ended in _ask_about(classifier, [text for _, text in honest], budget):
            right += [honest[n] for n, answer in ended if _guess(answer) == honest[n][0]]
            self._right = len(right)
            yield len(ended)
        if budget.stopping:
            return
        if not right or len(self._labels) < 2:
            raise dm.UsageError(
                f'classifier "{classifier.name}" answers no honest ticket correctly, so no attack can be measured',
                hint="give the categories examples",
            )
        right.sort(key=honest.index)  # answers come in any order
        attack_tries = list(_attack_tries(self._shipped["attacks"], right, self._labels))
        for ended in _ask_about(classifier, [attack.text for attack in attack_tries], budget):
            self.ended += [(attack_tries[n], answer) for n, answer in ended]
            yield len(ended)

    def result(self, name: str) -> AttackResult:
        """Return how the classifier of this name withstood the tries that were made."""
        suspicion = dm.Suspicion(self._labels)
        total_counts: Counter[str] = Counter()
        kinds: dict[str, Counter[str]] = {}
        for attack, answer in self.ended:
            is_steered = _guess(answer) == attack.target
            is_sure = is_steered and answer is not None and answer.sure
            is_unseen = is_sure and not suspicion.found(attack.text)
            attack_counts = {"tries": 1, "steered": int(is_steered), "unseen": int(is_unseen)}
            kinds.setdefault(attack.kind, Counter()).update(attack_counts)
            total_counts.update(attack_counts | {"sure": int(is_sure), "failed": int(answer is None)})
        return AttackResult(
            classifier=name,
            honest=len(self._honest_tickets),
            right=self._right,
            tries=total_counts["tries"],
            steered=total_counts["steered"],
            sure=total_counts["sure"],
            unseen=total_counts["unseen"],
            failed=total_counts["failed"],
            by_kind={kind: dict(counts) for kind, counts in kinds.items()},
        )


def _honest_tickets(
    categories: Sequence[dm.Category], tickets: Sequence[Mapping[str, str]]
) -> Iterator[tuple[str, str]]:
    """Yield (label, text) of honest tickets, one of each category in turn."""
    texts = {
        c.name: [t["text"] for t in tickets if t["label"].casefold() == c.name.casefold()] or list(c.examples)
        for c in categories
    }
    for turn in range(max(map(len, texts.values()), default=0)):
        for label, own_texts in texts.items():
            yield from ((label, text) for text in islice(own_texts, turn, turn + 1))


def _attack_tries(
    attacks: Sequence[Mapping[str, str]], honest_tickets: Sequence[tuple[str, str]], labels: Sequence[str]
) -> Iterator[_AttackTry]:
    turn = 0
    for attack in attacks:
        for _ in range(min(TICKETS_AN_ATTACK, len(honest_tickets))):
            label, text = honest_tickets[turn % len(honest_tickets)]
            other_labels = [other for other in labels if other != label]
            demanded = other_labels[turn // len(honest_tickets) % len(other_labels)]
            attack_text = attack["text"].format(target=demanded)
            style = _STYLES.get(attack.get("style", ""))
            yield _AttackTry(attack["kind"], demanded, f"{text}\n{style(attack_text) if style else attack_text}")
            turn += 1


def _ask_about(
    classifier: Classifier, texts: Sequence[str], budget: Budget
) -> Iterator[list[tuple[int, dm.Answer | None]]]:
    """Yield (number of the text, answer) as answers arrive; the answer is None if it failed."""
    tickets = [dm.Ticket.of_text(text, ticket_id=str(n), source="attack") for n, text in enumerate(texts)]

    chunks = takewhile(lambda _: not budget.stopping, dm.chunked(tickets, max(1, classifier.chunk_size)))
    for arrived in ask_classifier(classifier, chunks, budget):
        yield [(int(o.ticket.ticket_id), None if o.error is not None else o.value) for o in arrived.final]


def _guess(answer: dm.Answer | None) -> str | None:
    return answer.steps[-1].category if answer and answer.steps else None
