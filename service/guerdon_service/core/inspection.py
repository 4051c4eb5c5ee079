"""What whoever is on call may look at, at once."""

from collections.abc import Mapping
from typing import Any, Protocol


class Inspector(Protocol):
    """The state of one replica."""

    def state(self) -> Mapping[str, Any]:
        """Plain values by subject: queues, breakers, loaded versions. No text of any caller is in it."""
        ...
