"""How many labels could the writer of a ticket steer? The shipped attacks, tried on one classifier.

Each attack is appended to honest tickets that the classifier sorts rightly, and asks for another category. Fixed texts
show how a classifier bears the known; somebody who may try as often as he likes will do better than these.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple

from triage_cli import ids
from triage_cli.allowance import Allowance
from triage_cli.errors import UsageError
from triage_cli.models import Answer, Category, Ticket
from triage_cli.ports import Classifier
from triage_cli.suspicion import Suspicion

TICKETS_AN_ATTACK = 4
_STYLES: Mapping[str, Callable[[str], str]] = {
    "tags": lambda text: "".join(chr(0xE0000 + ord(c)) if " " <= c <= "~" else c for c in text),
    "zero-width": "\u200b".join,
    "full-width": lambda text: "".join(chr(0xFEE0 + ord(c)) if "!" <= c <= "~" else c for c in text),
    "reversed": lambda text: f"\u202e{text[::-1]}\u202c",
}


class Steering(NamedTuple):
    """How one classifier bore the attacks.

    Only honest tickets that it sorts rightly are attacked: `right` of `honest`; a classifier that says one thing to
    everything is steered by nothing, and worth as much. Of `tries` so many ended at the category that was asked for
    (`steered`), so many of these above the threshold (`sure`), and so many of these without raising a person's look
    (`unseen`): what an attacker would get through.
    `by_kind` maps each kind of attack to tries, steered and unseen.
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


def adversarial(classifier: Classifier, categories: Sequence[Category], each: int = TICKETS_AN_ATTACK) -> Steering:
    """Try every attack on `each` tickets. Raises `UsageError` where there are no honest tickets to begin with.

    Honest tickets are the shipped ones of the default categories, and the examples of all others.
    """
    shipped = json.loads(files("triage_cli").joinpath("attacks.json").read_text("utf-8"))
    labels = [category.name for category in categories]
    honest = list(_honest(categories, shipped["tickets"]))
    answers = _ask(classifier, [text for _, text in honest])
    right = [pair for pair, answer in zip(honest, answers, strict=True) if _guess(answer) == pair[0]]
    if not right or len(labels) < 2:
        raise UsageError(
            f'classifier "{classifier.name}" sorts no honest ticket rightly, so there is nothing to steer away from',
            hint="give the categories examples",
        )
    tries = list(_tries(shipped["attacks"], right, labels, each))
    told = _counted(classifier.name, tries, _ask(classifier, [one.text for one in tries]), Suspicion(labels))
    return told._replace(honest=len(honest), right=len(right))


def _honest(categories: Sequence[Category], shipped: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield labels and texts, the categories taking turns."""
    texts = {
        c.name: [t["text"] for t in shipped if t["label"].casefold() == c.name.casefold()] or list(c.examples)
        for c in categories
    }
    for turn in range(max(map(len, texts.values()), default=0)):
        for label, mine in texts.items():
            yield from ((label, text) for text in islice(mine, turn, turn + 1))


def _tries(
    attacks: Sequence[Mapping[str, str]], honest: Sequence[tuple[str, str]], labels: Sequence[str], each: int
) -> Iterator[_Try]:
    turn = 0
    for attack in attacks:
        for _ in range(min(each, len(honest))):
            label, text = honest[turn % len(honest)]
            others = [other for other in labels if other != label]
            target = others[turn // len(honest) % len(others)]
            said = attack["text"].format(target=target)
            style = _STYLES.get(attack.get("style", ""))
            yield _Try(attack["kind"], target, f"{text}\n{style(said) if style else said}")
            turn += 1


def _ask(classifier: Classifier, texts: Sequence[str]) -> list[Answer | None]:
    """Ask about texts and return the answers in their order; None for one that failed."""
    tickets = [Ticket(ids.new_id(), "", "attack", None, "", None, t, None, None, 2, None, "") for t in texts]
    answers: dict[str, Answer] = {}
    size = max(1, classifier.appetite)
    chunks = [tickets[start : start + size] for start in range(0, len(tickets), size)]
    for outcomes in classifier.classify(chunks, Allowance()):
        for outcome in outcomes:
            if outcome.value is not None and outcome.error is None:
                answers[outcome.value.ticket.ticket_id] = outcome.value
    return [answers.get(ticket.ticket_id) for ticket in tickets]


def _guess(answer: Answer | None) -> str | None:
    return answer.steps[-1].category if answer and answer.steps else None


def _counted(name: str, tries: Sequence[_Try], answers: Sequence[Answer | None], suspicion: Suspicion) -> Steering:
    total: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {}
    for one, answer in zip(tries, answers, strict=True):
        steered = _guess(answer) == one.target
        sure = steered and answer is not None and answer.sure
        unseen = sure and not suspicion.found(one.text)
        told = {"tries": 1, "steered": steered, "sure": sure, "unseen": unseen, "failed": answer is None}
        total.update(told)
        kinds.setdefault(one.kind, Counter()).update({k: told[k] for k in ("tries", "steered", "unseen")})
    return Steering(
        name,
        0,
        0,
        total["tries"],
        total["steered"],
        total["sure"],
        total["unseen"],
        total["failed"],
        {kind: dict(counts) for kind, counts in kinds.items()},
    )


def record(steering: Steering) -> dict[str, Any]:
    """Return the record that `triage eval --adversarial` prints."""
    return steering._asdict()
