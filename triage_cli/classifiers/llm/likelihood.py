"""The probabilities of labels, from the log-probabilities of the tokens of an answer."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple


class AnswerToken(NamedTuple):
    """One token of a model's answer: its text, and the options at its position as (text, log-probability)."""

    text: str
    options: tuple[tuple[str, float], ...]


def likelihoods(tokens: Sequence[AnswerToken], labels: Sequence[str], question: str = "category") -> dict[str, float]:
    """Return the probability of each label, from the tokens of the label in the answer to a question.

    At each token, only options that continue some label are compared. The probability of the answered label is the
    product of its shares over its tokens. That of another label is known if one option continues it alone, at the token
    where it differs. The result is empty if the label is not found or has no options.
    """
    answer_text = "".join(token.text for token in tokens)
    key = re.search(rf'"{re.escape(question)}"\s*:\s*"', answer_text)
    # A category may be answered alone, without JSON.
    start = key.end() if key else len(answer_text) - len(answer_text.lstrip())
    folded_answer = answer_text[start:].casefold()
    answer_labels = [label for label in labels if folded_answer.startswith(label.casefold())]
    if not answer_labels:
        return {}
    answered_label = max(answer_labels, key=len)
    label_likelihoods: dict[str, float] = {}
    answered_likelihood, position = 1.0, 0
    for token in tokens:
        token_start, position = position, position + len(token.text)
        if position <= start or token_start >= start + len(answered_label):
            continue
        before_label = token.text[: max(0, start - token_start)]  # the part of the first token before the label
        label_so_far = answer_text[start : max(token_start, start)]
        labels_of_option: dict[str, set[str]] = {}
        for option, _ in token.options:
            if option.startswith(before_label) and option != before_label:
                beginning = label_so_far + option[len(before_label) :]
                labels_of_option[option] = {label for label in labels if _continues_label(beginning, label)}
        # Log-probabilities are never above 0; larger values could overflow.
        option_masses = {
            option: math.exp(min(logprob, 0.0)) for option, logprob in token.options if labels_of_option.get(option)
        }
        total_mass = sum(option_masses.values())
        if len(token.options) == 1 and total_mass > 0:  # without other options, its own probability counts
            total_mass = 1.0
        if token.text not in option_masses or not 0 < total_mass < math.inf:  # excludes NaN too
            return {}
        for option, option_mass in option_masses.items():
            if answered_label not in labels_of_option[option] and len(labels_of_option[option]) == 1:
                (label,) = labels_of_option[option]
                label_likelihoods.setdefault(label, 0.0)
                label_likelihoods[label] += answered_likelihood * option_mass / total_mass
        answered_masses = [mass for option, mass in option_masses.items() if answered_label in labels_of_option[option]]
        answered_likelihood *= sum(answered_masses) / total_mass
    label_likelihoods[answered_label] = answered_likelihood
    return {label: round(likelihood, 4) for label, likelihood in label_likelihoods.items()}


def _continues_label(text: str, label: str) -> bool:
    """Return whether a token's text is a beginning of this label, or this label with what follows."""
    ended_label = f'{label}"'
    return ended_label.startswith(text) or text.startswith(ended_label) or text == label
