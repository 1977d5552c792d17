"""Confidence intervals and bounds of shares, and the exact tails of the binomial distribution that bounds are made of.

The tails are values of the regularised incomplete beta function (DLMF 8.17.5). That is computed by its continued
fraction (Press et al., Numerical Recipes, 6.4; DLMF 8.17.22), whose relative error is about 1e-10 here.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

TINY = 1e-300
FRACTION_STEPS = 10_000  # the continued fraction converges within about the square root of the larger parameter


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the continued fraction converges quickly below this point only
        return 1 - incomplete_beta(b, a, 1 - x)
    log_factor = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_factor) * _continued_fraction(a, b, x) / a


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, FRACTION_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return fraction


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY


def at_most(k: int, n: int, p: float) -> float:
    """Return the probability of at most `k` successes in `n` trials that each succeed with probability `p`."""
    return 0.0 if k < 0 else 1.0 if k >= n else incomplete_beta(n - k, k + 1, 1 - p)


def at_least(k: int, n: int, p: float) -> float:
    """Return the probability of at least `k` successes in `n` trials that each succeed with probability `p`."""
    return 1.0 if k <= 0 else 0.0 if k > n else incomplete_beta(k, n - k + 1, p)


Z = 1.959964  # of a 95 % confidence interval


@lru_cache(1_000)  # by bisection; the same few counts are asked about again and again
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
