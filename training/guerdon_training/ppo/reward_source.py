"""Where scores come from: the seam that a local artifact and a running service share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

from guerdon_service.core.conversation import Conversation


class RewardSource(Protocol):
    """Scores conversations, one at a time as far as the numbers go: no score depends on its neighbours."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What the scores depend on besides the text, e.g. name, version and digest."""
        ...

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Reward of each conversation, in order; None where the model refuses it (empty, or too long)."""
        ...


@dataclass(frozen=True, slots=True)
class EnsembleReward:
    """``mean - k * std`` over several sources, the uncertainty-weighted objective of Coste et al.

    (arXiv 2310.02743, UWO), with the sample standard deviation, as an ensemble that the service holds.
    A conversation that one member refuses is refused.

    conservatism: k >= 0.
    """

    members: tuple[RewardSource, ...]
    conservatism: float

    @property
    def identity(self) -> Mapping[str, str]:
        """Of every member, keys numbered."""
        named = {f"{k}.{i}": v for i, m in enumerate(self.members) for k, v in m.identity.items()}
        return named | {"conservatism": str(self.conservatism)}

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """See `RewardSource.score`."""
        by_member = [m.score(conversations) for m in self.members]
        return [
            self._combine([s for s in scores if s is not None]) for scores in zip(*by_member, strict=True)
        ]

    def _combine(self, scores: Sequence[float]) -> float | None:
        n = len(scores)
        if n < len(self.members):
            return None
        mean = sum(scores) / n
        variance = sum((s - mean) ** 2 for s in scores) / (n - 1) if n > 1 else 0.0
        return mean - self.conservatism * sqrt(variance)
