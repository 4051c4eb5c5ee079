"""A test that may be looked at after every observation."""

from dataclasses import dataclass
from math import exp, lgamma, log, log1p

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import check_open_share

PRIOR = 0.5
"""Beta(1/2, 1/2) over the rate betted on (Krichevsky and Trofimov, 1981): its wealth stays within a factor of
about sqrt(num) of the best bet in hindsight."""


@dataclass(frozen=True, slots=True)
class EProcess:
    """Evidence against "outcomes have mean `null`", two-sided, valid at every look.

    The wealth of a gambler who starts with 1 and bets on each outcome in [0, 1] at the odds of `null`, by a
    Beta mixture of rates. Under the null it is a supermartingale, so it ever reaches 1 / alpha with
    probability at most alpha (Ville, 1939): stop as soon as `rejects(alpha)`, or never. Outcomes may depend
    on the past so long as their mean given it is `null`.

    num: outcomes so far. total: their sum.
    """

    null: float = 0.5
    num: int = 0
    total: float = 0.0

    def __post_init__(self) -> None:
        check_open_share(self.null, "null")

    def observe(self, outcome: float) -> "EProcess":
        """The process after one more outcome: 1 a win, 0 a loss, 0.5 a tie.

        Raises:
            InvalidInput: an outcome outside [0, 1].
        """
        if not 0.0 <= outcome <= 1.0:
            raise InvalidInput(f"outcome of {outcome} must lie between 0 and 1", param="outcome")
        return EProcess(self.null, self.num + 1, self.total + outcome)

    @property
    def log_wealth(self) -> float:
        """Log of the e-value: of B(1/2 + wins, 1/2 + losses) / B(1/2, 1/2) over the null's likelihood."""
        losses = self.num - self.total
        mixed = _log_beta(PRIOR + self.total, PRIOR + losses) - _log_beta(PRIOR, PRIOR)
        return mixed - self.total * log(self.null) - losses * log1p(-self.null)

    @property
    def e_value(self) -> float:
        """The wealth: how strongly the outcomes speak against the null. Infinite beyond e ** 700."""
        return exp(self.log_wealth) if self.log_wealth < 700.0 else float("inf")

    def rejects(self, alpha: float) -> bool:
        """Whether the null is refuted at level `alpha`, at this look or any other."""
        return self.log_wealth >= -log(alpha)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
