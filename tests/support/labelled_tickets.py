"""Labelled tickets for tests, made up by rule: each category has words of its own, which no built-in example has."""

import random
from collections.abc import Sequence

WORDS = {
    "Billing": ["florin", "ducat", "talent", "groat"],
    "Technical": ["sprocket", "gasket", "flange", "bushing"],
    "General": ["heron", "bittern", "egret", "stork"],
}
CATEGORIES = """\
categories:
- {name: Billing, examples: [I was charged twice this month, a refund please]}
- {name: Technical, description: Errors and crashes, examples: [the app crashes, login fails with an error]}
- {name: General, examples: [what are your opening hours, where is your office]}
"""
FILLER = ["about", "my", "with", "please", "the", "today", "a", "question", "that", "one", "again", "was", "there"]


def rows(each: int, seed: int = 0, noise: float = 0.0) -> list[tuple[str, str]]:
    """Return so many texts of each category, no two the same; a share of `noise` has another category's label."""
    chance = random.Random(seed)
    made = []
    for label, words in WORDS.items():
        for n in range(each):
            filler = chance.sample(FILLER, 5)
            text = f"{' '.join(filler)} {chance.choice(words)} {chance.choice(words)} {_name(seed, n, label)}"
            wrong = chance.random() < noise
            made.append((text, chance.choice([other for other in WORDS if other != label]) if wrong else label))
    return made


def _name(seed: int, n: int, label: str) -> str:
    return "".join(chr(97 + (ord(c) * 7 + n * 3) % 26) for c in f"{seed}{n}{label}")


def csv(labelled: Sequence[tuple[str, str]], column: str = "label") -> str:
    """Return rows as a CSV file."""
    return f"id,description,{column}\n" + "".join(f"L-{n},{text},{label}\n" for n, (text, label) in enumerate(labelled))
