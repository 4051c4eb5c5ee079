"""Intervals of a rate whose items are independent."""

from math import sqrt

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import check_open_share
from guerdon_service.core.statistics.beta import beta_quantile
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.normal import normal_quantile


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Wilson (1927) score interval; half successes (ties) and effective sizes are allowed.

    Raises:
        InvalidInput: not ``0 <= successes <= n`` with n > 0.
    """
    _check(successes, n, confidence)
    z = normal_quantile((1.0 + confidence) / 2.0)
    rate, z2 = successes / n, z * z
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = z * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 and 1 an end is the rate itself, but for rounding.
    return Interval(rate, max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half)))


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Clopper-Pearson (1934) interval: it covers at least as often as it says, whatever the rate.

    Raises:
        InvalidInput: not ``0 <= successes <= n`` with n > 0.
    """
    each = (1.0 + confidence) / 2.0
    return Interval(
        successes / max(n, 1), lower_bound(successes, n, each), 1.0 - lower_bound(n - successes, n, each)
    )


def lower_bound(successes: int, n: int, confidence: float = 0.95) -> float:
    """One-sided Clopper-Pearson bound: the rate is at least this, for a floor that must be guaranteed.

    With no failure it is ``(1 - confidence) ** (1 / n)``, about ``1 - 3 / n`` at 95 % (the rule of three).

    Raises:
        InvalidInput: not ``0 <= successes <= n`` with n > 0.
    """
    _check(successes, n, confidence)
    if successes == 0:
        return 0.0
    if successes == n:
        return float((1.0 - confidence) ** (1.0 / n))
    return beta_quantile(1.0 - confidence, successes, n - successes + 1)


def _check(successes: float, n: float, confidence: float) -> None:
    if not 0 <= successes <= n or n <= 0:
        raise InvalidInput(
            f"successes of {successes} out of {n}: give 0 <= successes <= n and n > 0", param="n"
        )
    check_open_share(confidence, "confidence")
