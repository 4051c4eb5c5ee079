"""Several artifacts as one reward that distrusts what they disagree on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from guerdon_service.core.conversation import Conversation
from guerdon_training.ppo.local_reward import LocalReward, Spread


@dataclass(frozen=True, slots=True)
class EnsembleReward:
    """`RewardSource`: ``mean - k * std`` over the members' rewards (Coste et al., arXiv 2310.02743, UWO).

    The spread joins the sample standard deviation between members with the members' own, as independent: what
    a service gives whose model is the ensemble of the same artifacts. A conversation that one member refuses
    is refused.

    members: at least two. conservatism: k >= 0.
    """

    members: tuple[LocalReward, ...]
    conservatism: float

    @property
    def identity(self) -> Mapping[str, str]:
        """Of every member, keys numbered."""
        named = {f"{k}.{i}": v for i, m in enumerate(self.members) for k, v in m.identity.items()}
        return named | {"conservatism": str(self.conservatism)}

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """See `RewardSource.score`."""
        columns = zip(*(m.spread(conversations) for m in self.members), strict=True)
        return [conservative([s for s in column if s is not None], self) for column in columns]


def conservative(scores: Sequence[Spread], ensemble: EnsembleReward) -> float | None:
    """One conversation's reward; None where a member gave none."""
    count = len(ensemble.members)
    if len(scores) < count:
        return None
    mean = sum(s.reward for s in scores) / count
    between = sum((s.reward - mean) ** 2 for s in scores) / (count - 1)
    std = sqrt(between + sum(s.std**2 for s in scores) / count**2)
    return mean - ensemble.conservatism * std
