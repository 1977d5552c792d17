"""Calibration: curves from a classifier's confidence to a probability, fitted to labelled answers."""

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

from triage_cli.domain.levels import ABOVE, LevelCalibration

CalibrationPair = tuple[float, bool]  # confidence, right

LEAST = 30  # labelled answers that the fit of a curve needs
_FOLDS = 5
EDGE = 1e-4
MARGIN = 0.98  # isotonic curves overfit easily, so their loss must be below this share of the sigmoid curve's
CURVE_GRID = [EDGE, 0.001, 0.005, *(n / 50 for n in range(1, 50)), 0.99, 0.995, 0.999, 1 - EDGE]


class Calibration(NamedTuple):
    """A curve from a classifier's confidence to a probability: a JSON list of points (confidence, share that is right).

    It is valid for one fingerprint: the same model, prompt and categories. It was fitted to `n` labelled answers.
    `error_before` and `error_after` are expected calibration errors, the latter on held-out answers.
    """

    fingerprint: str
    classifier: str
    curve: str
    method: str
    n: int
    error_before: float
    error_after: float
    at: str

    @property
    def is_better(self) -> bool:
        """Return whether confidences are nearer to the share of right answers with the curve than without it."""
        return self.error_after < self.error_before


class Curve(NamedTuple):
    """A rising piecewise linear curve through points (confidence, share that is right), and how it was fitted."""

    points: tuple[tuple[float, float], ...]
    method: str

    @classmethod
    def of(cls, calibration: Calibration) -> Self:
        """Return the curve of a stored calibration."""
        return cls(
            tuple((confidence, share) for confidence, share in json.loads(calibration.curve)), calibration.method
        )

    def __call__(self, confidence: float) -> float:
        """Return the probability that an answer of this confidence is right."""
        point_index = bisect_right(self.points, (confidence, math.inf))
        if point_index == 0:
            return self.points[0][1]
        if point_index == len(self.points):
            return self.points[-1][1]
        (left, low), (right, high) = self.points[point_index - 1], self.points[point_index]
        return low + (high - low) * (confidence - left) / (right - left)


def fit(pairs: Sequence[CalibrationPair]) -> Curve:
    """Return a sigmoid curve (Platt 1999, on the logit), or an isotonic one if that is better on held-out answers."""
    sigmoid_loss, isotonic_loss = (_held_out_loss(pairs, method) for method in (sigmoid, isotonic))
    return isotonic(pairs) if isotonic_loss < MARGIN * sigmoid_loss else sigmoid(pairs)


def held_out(
    pairs: Sequence[CalibrationPair], method: Callable[[Sequence[CalibrationPair]], Curve] = fit
) -> list[CalibrationPair]:
    """Return each answer with the confidence from a curve that was fitted to the other folds (cross-validation)."""
    by_confidence = sorted(range(len(pairs)), key=lambda pair_index: pairs[pair_index])
    calibrated = list(pairs)
    for fold in range(_FOLDS):
        held_out_pairs = by_confidence[fold::_FOLDS]
        curve = method([pairs[pair_index] for pair_index in set(range(len(pairs))) - set(held_out_pairs)])
        for pair_index in held_out_pairs:
            calibrated[pair_index] = (curve(pairs[pair_index][0]), pairs[pair_index][1])
    return calibrated


def _held_out_loss(pairs: Sequence[CalibrationPair], method: Callable[[Sequence[CalibrationPair]], Curve]) -> float:
    calibrated = held_out(pairs, method)
    return -sum(math.log(min(max(p if right else 1 - p, 0.01), 0.99)) for p, right in calibrated)


def sigmoid(pairs: Sequence[CalibrationPair]) -> Curve:
    """Return a logistic curve over the confidence's logit, fitted by Newton's method to Platt's smoothed targets."""
    right = sum(r for _, r in pairs)
    high, low = (right + 1) / (right + 2), 1 / (len(pairs) - right + 2)
    logit_targets = [(_logit(c), high if r else low) for c, r in pairs]
    slope, intercept = 1.0, 0.0
    for _ in range(50):
        g0 = g1 = h00 = h01 = 0.0
        h11 = 1e-3
        for x, target in logit_targets:
            p = _logistic(slope * x + intercept)
            error, w = p - target, p * (1 - p)
            g0, g1 = g0 + error, g1 + error * x
            h00, h01, h11 = h00 + w, h01 + w * x, h11 + w * x * x
        g1 += 1e-3 * (slope - 1)
        h00 += 1e-6
        determinant = h00 * h11 - h01 * h01
        if determinant <= 1e-12:
            break
        intercept_step, slope_step = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
        largest_step = max(abs(intercept_step), abs(slope_step))
        scale = min(1.0, 2 / largest_step) if largest_step else 0.0
        intercept, slope = intercept - scale * intercept_step, slope - scale * slope_step
        if largest_step < 1e-6:
            break
    if slope <= 0:  # a higher confidence was right less often, so it means nothing
        return Curve(((0.0, right / len(pairs)),), "constant")
    return Curve(tuple((x, _logistic(slope * _logit(x) + intercept)) for x in CURVE_GRID), "sigmoid")


def isotonic(pairs: Sequence[CalibrationPair]) -> Curve:
    """Return an isotonic curve (pool adjacent violators), its shares smoothed towards one half."""
    by_confidence: dict[float, list[float]] = {}
    for confidence, right in pairs:
        sums = by_confidence.setdefault(confidence, [0.0, 0.0, 0.0])
        by_confidence[confidence] = [sums[0] + confidence, sums[1] + right, sums[2] + 1]
    blocks: list[list[float]] = []  # sum of confidences, right, n
    for _, block in sorted(by_confidence.items()):
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2][1] / blocks[-2][2] >= blocks[-1][1] / blocks[-1][2]:
            violator = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], violator, strict=True)]
    block_points = [(total / n, (right + 1) / (n + 2)) for total, right, n in blocks]
    rising_points, highest = [], 0.0
    for confidence, height in block_points:
        highest = max(highest, height)
        rising_points.append((confidence, highest))
    return Curve(tuple(rising_points), "isotonic")


def _logit(p: float) -> float:
    p = min(max(p, EDGE), 1 - EDGE)
    return math.log(p / (1 - p))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def level_calibration(calibration_of: Callable[[str], Calibration | None], fingerprint: str) -> LevelCalibration | None:
    """Return the calibration of a question's answers, of their guesses and above them; None if there is none."""
    calibration = calibration_of(fingerprint)
    if calibration is None:
        return None
    above = calibration_of(fingerprint + ABOVE)
    curve = Curve.of(calibration)
    curve_above = curve if above is None else Curve.of(above)
    return lambda confidence, is_above: round((curve_above if is_above else curve)(confidence), 4)
