"""How sure a model was of its label, from the log-probabilities of its tokens."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple


class Token(NamedTuple):
    """One token of an answer: its text, and what could have stood there with which log-probability."""

    text: str
    options: tuple[tuple[str, float], ...]


def likelihoods(tokens: Sequence[Token], labels: Sequence[str]) -> dict[str, float]:
    """Return how likely each label was, from the tokens at the place where the answer has its label.

    At each of its tokens the probabilities of those options are compared that continue a label; the label's is the
    product of its shares. The others are known where the label parted from them, as far as one option stands for one.
    Empty where the label is not found or no option is given.
    """
    text = "".join(token.text for token in tokens)
    place = re.search(r'"category"\s*:\s*"', text)
    start = place.end() if place else len(text) - len(text.lstrip())
    low = text[start:].casefold()
    chosen = max((x for x in labels if low.startswith(x.casefold())), key=len, default=None)
    if chosen is None:
        return {}
    chances: dict[str, float] = {}
    share, at = 1.0, 0
    for token in tokens:
        begin, at = at, at + len(token.text)
        if at <= start or begin >= start + len(chosen):
            continue
        lead = token.text[: max(0, start - begin)]  # what stands before the label within its first token
        known = text[start : max(begin, start)]
        leads: dict[str, set[str]] = {}
        for option, _ in token.options:
            if option.startswith(lead) and option != lead:
                leads[option] = {x for x in labels if _continues(known + option[len(lead) :], x)}
        # What is above 0 is no log-probability, and would be more than a float can hold.
        mass = {o: math.exp(min(lp, 0.0)) for o, lp in token.options if leads.get(o)}
        total = sum(mass.values())
        if len(token.options) == 1 and total > 0:  # nothing to compare it with: it is as likely as it is
            total = 1.0
        if token.text not in mass or not 0 < total < math.inf:  # nor NaN
            return {}
        for option, weight in mass.items():
            if chosen not in leads[option] and len(leads[option]) == 1:
                (label,) = leads[option]
                chances[label] = chances.get(label, 0.0) + share * weight / total
        share *= sum(weight for option, weight in mass.items() if chosen in leads[option]) / total
    return {label: round(p, 4) for label, p in {**chances, chosen: share}.items()}


def _continues(text: str, label: str) -> bool:
    """Tell whether an answer that begins so may become this label, or has become it and gone on."""
    ended = f'{label}"'
    return ended.startswith(text) or text.startswith(ended) or text == label
