"""Confidence intervals and bounds of shares."""

import math
from collections.abc import Sequence

from triage_cli.domain.evaluation.binomial import at_most

Z = 1.959964  # of a 95 % confidence interval


def upper_bound(k: int, n: int, risk: float) -> float:
    """Return the upper Clopper-Pearson bound of a share, after `k` successes in `n` trials.

    The true share lies above it with a probability of at most `risk` (Clopper & Pearson 1934).
    """
    low, upper = k / n if n else 0.0, 1.0
    if k >= n:
        return 1.0
    for _ in range(60):
        middle = (low + upper) / 2
        low, upper = (middle, upper) if at_most(k, n, middle) > risk else (low, middle)
    return upper


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson 1927); (0, 1) if `n` is 0."""
    if not n:
        return 0.0, 1.0
    share, z_squared = right / n, Z * Z
    center = (share + z_squared / (2 * n)) / (1 + z_squared / n)
    half_width = Z / (1 + z_squared / n) * math.sqrt(share * (1 - share) / n + z_squared / (4 * n * n))
    # At its ends the interval is exact, without rounding errors.
    return 0.0 if not right else center - half_width, 1.0 if right == n else center + half_width


def paired_interval(differences: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the mean of paired differences and its 95 % confidence interval; at least one is needed."""
    n, mean = len(differences), sum(differences) / len(differences)
    half_width = Z * math.sqrt(sum((d - mean) ** 2 for d in differences) / max(1, n - 1) / n)
    return mean, (mean - half_width, mean + half_width)
