"""Where scores come from: the seam that a local artifact and a running service share."""

from collections.abc import Mapping, Sequence
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
