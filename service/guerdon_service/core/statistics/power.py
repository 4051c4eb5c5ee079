"""What a paired comparison of two binary scorers can detect.

On one item the difference of correctness is +1, 0 or -1, with mean `effect` and variance
``discordance - effect ** 2``, discordance being the share of items on which the two differ; everything
follows from the normal approximation of its mean (Connor, 1987). A non-inferiority margin is detected like an
effect: put the distance from the true difference to the margin in its place.
"""

from math import sqrt

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import check_open_share
from guerdon_service.core.statistics.normal import normal_cdf, normal_quantile


def minimum_detectable_effect(discordance: float, n: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true difference that a two-sided test at `alpha` finds with probability `power`.

    A difference takes items that differ: where those seen are too few for any that would be found, it is the
    one that the fewest discordant items could show, all of them to one side.

    Args:
        discordance: share of items on which the two differ, 0 to 1.
        n: items; with dependent items, their number over the design effect.

    Raises:
        InvalidInput: an argument out of its range.
    """
    _check(discordance, n)
    squared = _z_sum(power, alpha) ** 2
    fewest = squared / (n + squared)
    return sqrt(fewest * max(discordance, fewest))


def pairs_needed(discordance: float, effect: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Items with which a true difference of `effect` is found with probability `power`, to the nearest item.

    Raises:
        InvalidInput: an argument out of its range, or an effect above the discordance.
    """
    _check(discordance, 1.0)
    if not 0.0 < abs(effect) <= discordance:
        raise InvalidInput(
            f"effect of {effect}: it cannot be 0, nor exceed the discordance of {discordance}", param="effect"
        )
    return max(1, round(_z_sum(power, alpha) ** 2 * (discordance - effect**2) / effect**2))


def paired_power(discordance: float, effect: float, n: float, alpha: float = 0.05) -> float:
    """Probability that a two-sided test at `alpha` finds a true difference of `effect` on its right side.

    Raises:
        InvalidInput: an argument out of its range, or an effect not below the discordance.
    """
    _check(discordance, n)
    check_open_share(alpha, "alpha")
    if abs(effect) >= discordance:
        raise InvalidInput(f"effect must be below the discordance of {discordance}", param="effect")
    shift = abs(effect) * sqrt(n / (discordance - effect**2))
    return normal_cdf(shift - normal_quantile(1.0 - alpha / 2.0))


def _z_sum(power: float, alpha: float) -> float:
    check_open_share(power, "power")
    check_open_share(alpha, "alpha")
    return normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)


def _check(discordance: float, n: float) -> None:
    if not 0.0 <= discordance <= 1.0:
        raise InvalidInput(f"discordance of {discordance} must lie between 0 and 1", param="discordance")
    if n <= 0:
        raise InvalidInput(f"n of {n} must be positive", param="n")
