"""Multinomial logistic regression over a dense and a sparse part, by L-BFGS in single precision."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, diags_array
from threadpoolctl import ThreadpoolController

from triage_cli.classifiers.embedded.fitted_model import Floats, Integers

NEVER_BIAS = np.float32(-50.0)  # the bias of a label without training texts
MAX_ITERATIONS, USUAL_CORRECTIONS = 200, 10  # of L-BFGS
EQUAL_SHARES = 1e-6  # difference of shares up to which terms are in one proportion: rounding makes a tenth of it
TOLERANCE = 1e-6  # relative gain of the loss below which the solver stops
# From so many texts x labels on, fewer iterations and corrections: the same share right, in a third of the memory.
MANY_SCORES, FEWER_ITERATIONS, FEWER_CORRECTIONS = 1_000_000, 40, 5


class Design(NamedTuple):
    """The design matrix of texts: `vectors` (texts, dimensions), and `terms` (texts, terms) in scipy's CSR format."""

    vectors: Floats
    terms: Any

    def take(self, rows: Integers) -> "Design":
        """Return the design of these rows alone."""
        if np.array_equal(rows, np.arange(len(self.vectors))):
            return self  # a copy of it would take half the memory of a fit
        return Design(self.vectors[rows], self.terms[rows])

    def scores(self, weights: Floats) -> Floats:
        """Return the regression's scores (texts, labels).

        `weights` is (dimensions + terms + 1, labels), its last row the bias.
        """
        width = self.vectors.shape[1]
        scores: Floats = self.vectors @ weights[:width] + self.terms @ weights[width:-1] + weights[-1]
        return scores


@cache
def _blas_threads(imported: str) -> ThreadpoolController:
    """Return what limits the threads of linear algebra once this is imported: numpy and scipy bring a library each.

    Finding them takes as long as a small regression.
    """
    del imported
    return ThreadpoolController()


def rotated_design(design: Design) -> tuple[Design, Floats]:
    """Return a design with as many axes as texts, where solving is fast, and the matrix for `unrotated_weights`.

    Distances between texts are kept, so that the best weights are the same as those of the texts themselves.
    """
    with _blas_threads("numpy").limit(limits=1, user_api="blas"):
        products = design.vectors @ design.vectors.T + (design.terms @ design.terms.T).toarray()
        squares, axes = np.linalg.eigh(products.astype(np.float64))
    kept_axes = squares > squares[-1] * 1e-7
    axis_lengths, axes = np.sqrt(squares[kept_axes]), axes[:, kept_axes]
    rotated = Design((axes * axis_lengths).astype(np.float32), csr_matrix((len(axes), 0), dtype=np.float32))
    return rotated, (axes / axis_lengths).astype(np.float32)


def unrotated_weights(weights: Floats, design: Design, rotation: Floats) -> Floats:
    """Return the weights of the texts' own dimensions and terms from those of a rotated design."""
    text_weights = rotation @ weights[:-1]
    unrotated = np.concatenate([design.vectors.T @ text_weights, design.terms.T @ text_weights, weights[-1:]])
    return unrotated.astype(np.float32)


def merged_terms(terms: Any) -> tuple[Any, Any]:
    """Return texts with one term for all that the same texts have in one proportion, and the matrix that spreads it.

    The n-grams of a rare word are such: two terms of five, and the solver's time goes by their number. Distances
    are kept, as by `rotated_design`.
    """
    columns = terms.tocsc()
    text_marks = np.random.default_rng(0).integers(2**63, size=columns.shape[0], dtype=np.uint64)
    presence = csc_matrix((np.ones(columns.nnz, np.uint64), columns.indices, columns.indptr), columns.shape)
    _, first, group = np.unique(presence.T @ text_marks, return_index=True, return_inverse=True)
    del presence
    term_lengths = np.sqrt(columns.power(2).sum(axis=0, dtype=np.float64)).A1
    term_lengths[term_lengths == 0] = 1  # terms of texts that are left out
    doubles = np.flatnonzero(first[group] != np.arange(len(group)))  # of an earlier term
    term_shares, first_shares = (
        columns[:, some] @ diags_array(1 / term_lengths[some]) for some in (doubles, first[group[doubles]])
    )
    differs_in_share = abs(first_shares - term_shares).max(axis=0).toarray().ravel() > EQUAL_SHARES
    differing = doubles[differs_in_share]
    group[differing] = len(first) + differing
    _, group = np.unique(group, return_inverse=True)
    spread = term_lengths / np.sqrt(np.bincount(group, term_lengths**2))[group]
    spread_matrix = csr_matrix((spread.astype(np.float32), (np.arange(len(group)), group)))
    return terms @ spread_matrix, spread_matrix


def fit_weights(
    design: Design,
    labels: Integers,
    counts: NDArray[np.float64],
    label_count: int,
    penalty: float,
    start: Floats | None = None,
    tolerance: float = TOLERANCE,
) -> Floats:
    """Return the regression's weights (dimensions + terms + 1, labels) of least loss; the last row is the bias.

    The loss is the sum of the log-losses, weighted by `counts` (one per row), plus penalty / 2 times the sum of the
    squared weights without the biases. `start` are initial weights, such as those for another penalty. A label without
    rows gets the bias `NEVER_BIAS`.
    """
    if not design.terms.shape[1]:
        return _fit_merged(design, labels, counts, label_count, penalty, start, tolerance)
    terms, spread_matrix = merged_terms(design.terms)
    width = design.vectors.shape[1]

    def spread(weights: Floats, matrix: Any) -> Floats:
        return np.concatenate([weights[:width], matrix @ weights[width:-1], weights[-1:]])

    start = None if start is None else spread(start, spread_matrix.T)
    merged_design = design._replace(terms=terms)
    return spread(_fit_merged(merged_design, labels, counts, label_count, penalty, start, tolerance), spread_matrix)


def _fit_merged(
    design: Design,
    labels: Integers,
    counts: NDArray[np.float64],
    label_count: int,
    penalty: float,
    start: Floats | None,
    tolerance: float,
) -> Floats:
    from scipy.optimize import fmin_l_bfgs_b  # the order of review needs none of it

    present, label_indexes = np.unique(labels, return_inverse=True)
    width, present_count = design.vectors.shape[1] + design.terms.shape[1], len(present)
    weights = np.zeros((width + 1, label_count), np.float32)
    weights[-1] = NEVER_BIAS
    if present_count == 1:
        weights[-1, present] = 0
        return weights
    vectors, terms = np.ascontiguousarray(design.vectors, np.float32), design.terms.astype(np.float32, copy=False)
    terms_transposed, text_rows = terms.T.tocsr(), np.arange(len(label_indexes))
    has_terms = terms.shape[1] > 0  # a rotated design has none; to multiply nothing takes time too
    row_weights = counts.astype(np.float32)[:, None]
    dimensions = vectors.shape[1]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        trial_weights = flat.reshape(width + 1, present_count).astype(np.float32)
        scores = vectors @ trial_weights[:dimensions]
        if has_terms:
            scores += terms @ trial_weights[dimensions:-1]
        scores += trial_weights[-1]
        scores -= scores.max(axis=1, keepdims=True)
        label_chances = np.exp(scores)
        chance_sums = label_chances.sum(axis=1, keepdims=True)
        log_loss = counts @ (np.log(chance_sums[:, 0]) - scores[text_rows, label_indexes]).astype(np.float64)
        label_chances /= chance_sums
        label_chances[text_rows, label_indexes] -= 1
        label_chances *= row_weights
        gradient = np.empty_like(trial_weights)
        gradient[:dimensions] = (label_chances.T @ vectors).T  # the same as vectors.T @ label_chances, in half the time
        if has_terms:
            gradient[dimensions:-1] = terms_transposed @ label_chances
        gradient[:-1] += np.float32(penalty) * trial_weights[:-1]
        gradient[-1] = label_chances.sum(axis=0)
        penalised_weights = flat[:-present_count]
        penalised_loss = log_loss + penalty / 2 * (penalised_weights @ penalised_weights)
        return float(penalised_loss), gradient.ravel().astype(np.float64)

    initial_weights = np.zeros((width + 1, present_count)) if start is None else start[:, present].astype(np.float64)
    precision = tolerance / np.finfo(float).eps
    is_large = len(label_indexes) * present_count > MANY_SCORES
    iterations = FEWER_ITERATIONS if is_large else MAX_ITERATIONS
    # For such small products, threads wait for each other on a busy machine.
    with _blas_threads("scipy").limit(limits=1, user_api="blas"):
        solution, _, _ = fmin_l_bfgs_b(
            loss,
            initial_weights.ravel(),
            m=FEWER_CORRECTIONS if is_large else USUAL_CORRECTIONS,
            maxiter=iterations,
            factr=precision,
            pgtol=1e-3,
            maxfun=2 * iterations,
        )
    weights[:, present] = solution.reshape(width + 1, present_count)
    return weights
