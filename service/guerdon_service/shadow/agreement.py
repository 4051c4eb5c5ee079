"""How far a candidate's rewards agree with the champion's on the same traffic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guerdon_service.core.statistics.correlation import kendall


@dataclass(frozen=True, slots=True)
class Agreement:
    """Running totals; `add` gives the next one. A group is the responses of one request to one prompt.

    num_groups: groups of two responses and more; the figures on order rest on them.
    sum_tau: of Kendall's tau-b in each group. num_same_best: groups with the same best response.
    num_pairs, num_flips: pairs within groups that the champion orders, and those that the candidate reverses.
    champion_s, candidate_s: seconds that the requests took.
    num_failed: requests that the candidate could not score. num_skipped: left out, it was too far behind.
    """

    num_items: int = 0
    num_groups: int = 0
    sum_tau: float = 0.0
    num_same_best: int = 0
    num_pairs: int = 0
    num_flips: int = 0
    sum_champion: float = 0.0
    sum_candidate: float = 0.0
    sum_champion_squared: float = 0.0
    sum_product: float = 0.0
    champion_s: float = 0.0
    candidate_s: float = 0.0
    num_failed: int = 0
    num_skipped: int = 0

    def add(
        self,
        groups: Sequence[tuple[Sequence[float], Sequence[float]]],
        champion_s: float = 0.0,
        candidate_s: float = 0.0,
    ) -> "Agreement":
        """After one more request: (champion's rewards, candidate's rewards) of each group."""
        ordered = [_order(a, b) for a, b in groups if len(a) > 1]
        champion = np.array([r for a, _ in groups for r in a], dtype=np.float64)
        candidate = np.array([r for _, b in groups for r in b], dtype=np.float64)
        return Agreement(
            self.num_items + len(champion),
            self.num_groups + len(ordered),
            self.sum_tau + sum(o.tau for o in ordered),
            self.num_same_best + sum(o.same_best for o in ordered),
            self.num_pairs + sum(o.num_pairs for o in ordered),
            self.num_flips + sum(o.num_flips for o in ordered),
            self.sum_champion + float(champion.sum()),
            self.sum_candidate + float(candidate.sum()),
            self.sum_champion_squared + float(champion @ champion),
            self.sum_product + float(champion @ candidate),
            self.champion_s + champion_s,
            self.candidate_s + candidate_s,
            self.num_failed,
            self.num_skipped,
        )

    @property
    def tau(self) -> float:
        """Mean Kendall's tau-b over groups; nan without any."""
        return self.sum_tau / self.num_groups if self.num_groups else float("nan")

    @property
    def same_best_share(self) -> float:
        """Share of groups with the same best response; nan without any."""
        return self.num_same_best / self.num_groups if self.num_groups else float("nan")

    @property
    def flip_share(self) -> float:
        """Share of pairs that the candidate orders the other way; nan without any."""
        return self.num_flips / self.num_pairs if self.num_pairs else float("nan")

    @property
    def scale(self) -> float:
        """Slope of the least-squares line from the champion's rewards to its own; nan when unknown."""
        spread = self.num_items * self.sum_champion_squared - self.sum_champion**2
        shared = self.num_items * self.sum_product - self.sum_champion * self.sum_candidate
        return shared / spread if spread > 0.0 else float("nan")

    @property
    def offset(self) -> float:
        """Intercept of that line."""
        slope = self.scale
        return (self.sum_candidate - slope * self.sum_champion) / self.num_items if slope == slope else slope

    @property
    def time_ratio(self) -> float:
        """Candidate's time over the champion's; nan when unknown."""
        return self.candidate_s / self.champion_s if self.champion_s > 0.0 else float("nan")


@dataclass(frozen=True, slots=True)
class _Order:
    tau: float
    same_best: bool
    num_pairs: int
    num_flips: int


def _order(champion: Sequence[float], candidate: Sequence[float]) -> _Order:
    first, second = np.array(champion, dtype=np.float64), np.array(candidate, dtype=np.float64)
    upper = np.triu_indices(len(first), k=1)
    ours = np.sign(first[:, None] - first[None, :])[upper]
    theirs = np.sign(second[:, None] - second[None, :])[upper]
    return _Order(
        kendall(first, second),
        int(first.argmax()) == int(second.argmax()),
        int((ours != 0).sum()),
        int((ours * theirs < 0).sum()),
    )
