"""The beta distribution, and those that are beta in other variables: binomial and Student's t."""

from math import exp, lgamma, log, log1p, pi, sqrt

from guerdon_service.core.statistics.normal import normal_quantile

_TINY = 1e-300
_EPSILON = 1e-15
_BISECTIONS = 200


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) for X ~ Beta(a, b), a and b > 0: the regularised incomplete beta function.

    Continued fraction by Lentz's method (Press et al., Numerical Recipes, 6.4), in about sqrt(max(a, b))
    steps, so that counts in the millions cost milliseconds. Relative error about 1e-12, in both tails.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = exp(a * log(x) + b * log1p(-x) - _log_beta(a, b))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def beta_quantile(probability: float, a: float, b: float) -> float:
    """x with P(X <= x) = probability, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if beta_cdf(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def binomial_cdf(successes: int, n: int, rate: float) -> float:
    """P(X <= successes) for X ~ Binomial(n, rate)."""
    if successes < 0:
        return 0.0
    return 1.0 if successes >= n else beta_cdf(1.0 - rate, n - successes, successes + 1)


def student_tail(t: float, df: float) -> float:
    """P(T > t) for Student's t with `df` > 0 degrees of freedom, not necessarily whole."""
    if t == 0.0:
        return 0.5
    tail = 0.5 * beta_cdf(df / (df + t * t), df / 2.0, 0.5)
    return tail if t > 0.0 else 1.0 - tail


def student_quantile(probability: float, df: float) -> float:
    """t with P(T <= t) = probability.

    Newton's method from the normal quantile, which is nearer to zero; the distribution function is concave
    beyond zero, so every step falls short of the solution and none overshoots.
    """
    if probability < 0.5:
        return -student_quantile(1.0 - probability, df)
    log_scale = -_log_beta(df / 2.0, 0.5) - 0.5 * log(df)
    t = normal_quantile(probability)
    for _ in range(_BISECTIONS):
        density = exp(log_scale - (df + 1.0) / 2.0 * log1p(t * t / df))
        step = (student_tail(t, df) - (1.0 - probability)) / density
        t += step
        if abs(step) <= 1e-14 * t:
            break
    return t


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    h = d
    for m in range(1, 200 + 10 * int(sqrt(max(a, b)))):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / _away_from_zero(1.0 + numerator * d)
            c = _away_from_zero(1.0 + numerator / c)
            h *= c * d
        if abs(c * d - 1.0) < _EPSILON:
            break
    return h


def _away_from_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY


def _log_beta(a: float, b: float) -> float:
    """Log of the beta function, without the cancellation of three large log-gammas."""
    p, q = min(a, b), max(a, b)
    if q < 10.0:
        return lgamma(p) + lgamma(q) - lgamma(p + q)
    rest = _stirling_error(q) - _stirling_error(p + q)
    if p < 10.0:
        return lgamma(p) + rest + p - p * log(p + q) + (q - 0.5) * log1p(-p / (p + q))
    rest += _stirling_error(p)
    return -0.5 * log(q) + 0.5 * log(2 * pi) + rest + (p - 0.5) * log(p / (p + q)) + q * log1p(-p / (p + q))


def _stirling_error(x: float) -> float:
    """Log-gamma less Stirling's formula, x >= 10."""
    y = 1.0 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188 - y * 691 / 360360))))) / x
