"""The probabilities of labels, from the log-probabilities of the tokens of an answer."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple


class Token(NamedTuple):
    """One token of an answer: its text, and the options at its position as (text, log-probability)."""

    text: str
    options: tuple[tuple[str, float], ...]


def likelihoods(tokens: Sequence[Token], labels: Sequence[str]) -> dict[str, float]:
    """Return the probability of each label, from the tokens of the label in the answer.

    At each token, only options that continue some label are compared. The probability of the answered label is the
    product of its shares over its tokens. That of another label is known if one option continues it alone, at the token
    where it differs. The result is empty if the label is not found or has no options.
    """
    text = "".join(token.text for token in tokens)
    key = re.search(r'"category"\s*:\s*"', text)
    start = key.end() if key else len(text) - len(text.lstrip())
    folded = text[start:].casefold()
    chosen = max((label for label in labels if folded.startswith(label.casefold())), key=len, default=None)
    if chosen is None:
        return {}
    chances: dict[str, float] = {}
    share, position = 1.0, 0
    for token in tokens:
        token_start, position = position, position + len(token.text)
        if position <= start or token_start >= start + len(chosen):
            continue
        prefix = token.text[: max(0, start - token_start)]  # the part of the first token before the label
        known = text[start : max(token_start, start)]
        continued: dict[str, set[str]] = {}
        for option, _ in token.options:
            if option.startswith(prefix) and option != prefix:
                continued[option] = {label for label in labels if _continues(known + option[len(prefix) :], label)}
        # Log-probabilities are never above 0; larger values could overflow.
        mass = {o: math.exp(min(lp, 0.0)) for o, lp in token.options if continued.get(o)}
        total = sum(mass.values())
        if len(token.options) == 1 and total > 0:  # without other options, its own probability counts
            total = 1.0
        if token.text not in mass or not 0 < total < math.inf:  # excludes NaN too
            return {}
        for option, weight in mass.items():
            if chosen not in continued[option] and len(continued[option]) == 1:
                (label,) = continued[option]
                chances[label] = chances.get(label, 0.0) + share * weight / total
        share *= sum(weight for option, weight in mass.items() if chosen in continued[option]) / total
    return {label: round(p, 4) for label, p in {**chances, chosen: share}.items()}


def _continues(text: str, label: str) -> bool:
    """Return whether a text is a beginning of this label, or this label with what follows."""
    ended = f'{label}"'
    return ended.startswith(text) or text.startswith(ended) or text == label
