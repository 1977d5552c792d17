"""Multinomial logistic regression over a dense and a sparse part, by L-BFGS in single precision."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b
from threadpoolctl import threadpool_limits

from triage_cli.classifiers.embedded.weights import Floats, Integers

NEVER = np.float32(-50.0)  # the score of a label without a text
ROUNDS = 200
CLOSE = 1e-6  # of the loss: a relative gain that is not worth another round


class Design(NamedTuple):
    """Texts as numbers: a matrix of their vectors and a sparse one (scipy, CSR) of their terms, a row each."""

    vectors: Floats
    terms: Any

    def take(self, rows: Integers) -> "Design":
        """Return these rows."""
        return Design(self.vectors[rows], self.terms[rows])

    def scores(self, weights: Floats) -> Floats:
        """Return each row's score for each label; the last row of `weights` is the bias."""
        width = self.vectors.shape[1]
        scores: Floats = self.vectors @ weights[:width] + self.terms @ weights[width:-1] + weights[-1]
        return scores


def solve(
    design: Design,
    labels: Integers,
    counts: NDArray[np.float64],
    k: int,
    penalty: float,
    start: Floats | None = None,
    close: float = CLOSE,
) -> Floats:
    """Return the weights (dimensions, terms and bias of each label) of the least loss.

    The loss is the sum of counts times log-loss, and penalty / 2 times the sum of the squared weights but the biases.

    `counts` says how much each row weighs, `start` is where to begin, as an earlier answer for another penalty. A
    label that no row has gets a bias of `NEVER`.
    """
    met, places = np.unique(labels, return_inverse=True)
    width, number = design.vectors.shape[1] + design.terms.shape[1], len(met)
    weights = np.zeros((width + 1, k), np.float32)
    weights[-1] = NEVER
    if number == 1:
        weights[-1, met] = 0
        return weights
    vectors, terms = np.ascontiguousarray(design.vectors, np.float32), design.terms.astype(np.float32)
    turned, rows = terms.T.tocsr(), np.arange(len(places))
    heavy = counts.astype(np.float32)[:, None]
    dimensions = vectors.shape[1]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        guess = flat.reshape(width + 1, number).astype(np.float32)
        scores = vectors @ guess[:dimensions] + terms @ guess[dimensions:-1] + guess[-1]
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores)
        sums = chances.sum(axis=1, keepdims=True)
        missed = counts @ (np.log(sums[:, 0]) - scores[rows, places]).astype(np.float64)
        chances /= sums
        chances[rows, places] -= 1
        chances *= heavy
        slope = np.empty_like(guess)
        slope[:dimensions] = vectors.T @ chances
        slope[dimensions:-1] = turned @ chances
        slope[:-1] += np.float32(penalty) * guess[:-1]
        slope[-1] = chances.sum(axis=0)
        large = flat[:-number]
        return float(missed + penalty / 2 * (large @ large)), slope.ravel().astype(np.float64)

    first = np.zeros((width + 1, number)) if start is None else start[:, met].astype(np.float64)
    precision = close / np.finfo(float).eps
    with threadpool_limits(1, "blas"):  # on a busy machine the threads of such small products wait for each other
        found, _, _ = fmin_l_bfgs_b(loss, first.ravel(), maxiter=ROUNDS, factr=precision, pgtol=1e-3, maxfun=2 * ROUNDS)
    weights[:, met] = found.reshape(width + 1, number)
    return weights
