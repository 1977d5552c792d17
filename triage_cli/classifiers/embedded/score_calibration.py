"""Calibration of the embedded model's scores: probabilities that say how often the best label is right."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
HeldOutScores = Sequence[tuple[Floats, Integers]]  # of each fold: the scores (texts, labels), and the labels

TEMPERATURES: list[float] = np.geomspace(0.2, 3, 60).round(3).tolist()
# With labelled texts the calibration is fitted to them, and drawn to what was right for many sets of labels: few
# labelled texts say little. Each figure is the precision (1 / variance) of a normal prior: of the logarithm of the
# temperature, and of the curve's slope and offset around the curve that changes nothing.
TEMPERATURE_PRIOR, SLOPE_PRIOR, OFFSET_PRIOR = 20.0, 10.0, 30.0
SLOPES, OFFSETS = (0.2, 3.0), (-2.0, 2.0)  # bounds of the curve, which has to rise
# Where held-out texts are told hardly better than by how often each label occurs, most of what a model of few labelled
# texts is sure of is chance, which the held-out texts share. So the temperature rises: the more, the fewer texts there
# are beside `CHANCE_TEXTS`, and the more of the loss is left. Measured on four hand-labelled questions and five sets.
CHANCE_TEXTS, TEXTS_POWER, LOSS_POWER = 24.0, 1.5, 6
LOGIT_EDGE = 1e-4  # bounds a probability whose logit is taken
LEAST_REMAINDER = np.float32(1e-12)  # bounds what the labels behind the best one share
BEST_LABEL_LEAD = 1e-6  # how far the best label stays above the second one at least; float32 rounds less than that


USUAL_WORDS = 12  # distinct words of a text, from which on it is longer than an example or a description
USUAL_SMALL_WORDS = 0.3  # share of small words (the, with, please) below which a text is no prose: code, logs, keywords
PROSE_WORDS = 10  # distinct words of a text from which on that share is known


class Distance(NamedTuple):
    """What a text that is far from all that was taught loses of its log-odds.

    `length` for each e-fold of `USUAL_WORDS`, since most of a long letter is about something else; `code` for each
    small word in a text of a hundred words that is missing, since descriptions are prose.
    """

    length: float = 0.0
    code: float = 0.0

    def shifts(self, word_counts: Integers, small_words: Integers) -> Floats | None:
        """Return what is added to the log-odds of texts with so many distinct words, so many of them small ones."""
        if self == NEAR:
            return None
        missing_share = np.maximum(USUAL_SMALL_WORDS - small_words / word_counts, 0)
        missing_share *= np.minimum(word_counts / PROSE_WORDS, 1) ** 2
        excess_length = np.log(np.maximum(word_counts / USUAL_WORDS, 1))
        shifts: Floats = (-self.length * excess_length - 100 * self.code * missing_share).astype(np.float32)
        return shifts


NEAR = Distance()


class ScoreCalibration(NamedTuple):
    """A temperature of the scores, and a sigmoid curve over the logit of the best label's probability (Platt 1999).

    The temperature fits all probabilities of a text at once. The curve is for the best one alone, which a threshold
    looks at: in hard sets, after the temperature, it is often too low where it is low and too high where it is high.
    """

    temperature: float
    slope: float = 1.0
    offset: float = 0.0

    def chances(self, scores: Floats, shifts: Floats | None = None) -> Floats:
        """Return scores (texts, labels) as calibrated probabilities; the order of a text's labels does not change.

        `shifts` are added to the log-odds of each text's best label.
        """
        chances = softmax(scores, self.temperature)
        if (shifts is None and (self.slope, self.offset) == (1.0, 0.0)) or scores.shape[1] == 1:
            return chances
        text_rows, best_labels = np.arange(len(chances)), chances.argmax(axis=1)
        best_chances = chances[text_rows, best_labels]
        np.maximum(chances, LEAST_REMAINDER, out=chances)
        chances[text_rows, best_labels] = 0
        other_chances = chances.sum(axis=1)
        second_share = chances.max(axis=1) / other_chances  # its share of what the best label leaves
        log_odds = self.slope * logit(best_chances) + self.offset
        if shifts is not None:
            log_odds += shifts
        curved = 1 / (1 + np.exp(-log_odds))
        # Above the second label's.
        curved_best = np.maximum(curved, second_share / (1 + second_share) + BEST_LABEL_LEAD).astype(np.float32)
        chances *= ((1 - curved_best) / other_chances)[:, None]
        chances[text_rows, best_labels] = curved_best
        return chances


# That of a model that knows names and descriptions alone.
DESCRIPTIONS_CALIBRATION = ScoreCalibration(0.5, 0.8)
# That of examples in earlier releases, by which a stored model is known for one of them.
EARLIER_EXAMPLES_CALIBRATION = ScoreCalibration(0.6, 1.15, 0.6)


def softmax(scores: Floats, temperature: float) -> Floats:
    """Return scores (texts, labels) as probabilities; a higher temperature makes them more even."""
    exponentials: Floats = np.exp((scores - scores.max(axis=1, keepdims=True)) / np.float32(temperature))
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials


def logit(chances: Floats) -> Floats:
    """Return the logarithms of the odds of probabilities."""
    bounded_chances = np.clip(chances, LOGIT_EDGE, 1 - LOGIT_EDGE)
    log_odds: Floats = np.log(bounded_chances / (1 - bounded_chances))
    return log_odds


def fitted_calibration(held_out_scores: HeldOutScores, prior: ScoreCalibration) -> ScoreCalibration:
    """Return the calibration that is best on held-out texts; it is drawn to `prior`."""
    from scipy.optimize import fmin_l_bfgs_b  # answering needs no scipy

    if not held_out_scores:
        return prior
    _, temperature = best_temperature(held_out_scores, prior.temperature)
    scores, labels = _all_folds(held_out_scores)
    chances = softmax(scores, temperature)
    logits, sign = logit(chances.max(axis=1)), np.where(chances.argmax(axis=1) == labels, -1.0, 1.0)

    def loss(curve: NDArray[np.float64]) -> float:
        slope, offset = curve
        log_loss = np.logaddexp(0, sign * (slope * logits + offset)).sum()
        priors = SLOPE_PRIOR / 2 * (slope - prior.slope) ** 2 + OFFSET_PRIOR / 2 * (offset - prior.offset) ** 2
        return float(log_loss + priors)

    (slope, offset), _, _ = fmin_l_bfgs_b(loss, prior[1:], approx_grad=True, bounds=[SLOPES, OFFSETS])
    temperature = min(temperature * _caution(chances, labels), TEMPERATURES[-1])
    return ScoreCalibration(temperature, float(slope), float(offset))


def _caution(chances: Floats, labels: Integers) -> float:
    """Return by how much the temperature rises because these held-out texts may be told right by chance."""
    text_count, label_count = chances.shape
    frequencies = np.bincount(labels, minlength=label_count)[labels] / (text_count - 1 + label_count)  # of the others
    told = np.maximum(chances[np.arange(text_count), labels], 1e-6)
    share_left = float(np.log(told).sum() / np.log(frequencies).sum()) if label_count > 1 else 0.0
    rise: float = (CHANCE_TEXTS / text_count) ** TEXTS_POWER * min(share_left, 1.0) ** LOSS_POWER
    return 1 + rise


def best_temperature(held_out_scores: HeldOutScores, prior_temperature: float) -> tuple[float, float]:
    """Return the mean loss on held-out texts with the best temperature, and that one, drawn to `prior_temperature`."""
    if not held_out_scores:  # all texts are near-duplicates of each other, so none could be held out
        return 0.0, prior_temperature
    scores, labels = _all_folds(held_out_scores)

    def loss(temperature: float) -> float:
        chances = softmax(scores, temperature)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chances, 1e-6)).sum())

    def penalised_loss(temperature: float) -> float:
        return loss(temperature) + TEMPERATURE_PRIOR / 2 * float(np.log(temperature / prior_temperature)) ** 2

    best = min(TEMPERATURES, key=penalised_loss)
    return loss(best) / len(labels), best


class Judged(NamedTuple):
    """How good held-out scores are once they are calibrated: mean losses in nats.

    `loss` is about the probability of each text's label; `confidence_loss` about that of its best label, being right.
    """

    loss: float
    confidence_loss: float


def judged(held_out_scores: HeldOutScores, prior: ScoreCalibration) -> Judged:
    """Return how good held-out scores are."""
    if not held_out_scores:
        return Judged(0.0, 0.0)
    scores, labels = _all_folds(held_out_scores)
    chances = fitted_calibration(held_out_scores, prior).chances(scores)
    is_right, log_odds = chances.argmax(axis=1) == labels, logit(chances.max(axis=1))
    confidence_loss = float(np.logaddexp(0, np.where(is_right, -log_odds, log_odds)).mean())
    return Judged(best_temperature(held_out_scores, prior.temperature)[0], confidence_loss)


def _all_folds(held_out_scores: HeldOutScores) -> tuple[Floats, Integers]:
    all_scores = np.concatenate([scores for scores, _ in held_out_scores])
    return all_scores, np.concatenate([labels for _, labels in held_out_scores])
