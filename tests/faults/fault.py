"""One fault: what is done to the service, and what its callers may see of it."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.faults.load import RIGHT, WRONG, Tally


@dataclass(frozen=True)
class Fault:
    """`run` does it under load and gives the tally; its argument is how many answers each phase lasts.

    may_see: codes of errors that are clear answers to this fault; with none, nobody notices it.
    """

    name: str
    tried: str
    run: Callable[[int], Coroutine[Any, Any, Tally]]
    may_see: frozenset[str] = frozenset()

    def complaint(self, tally: Tally) -> str:
        """Empty when the promise was kept: one right answer or one clear error for each request."""
        if tally.outcomes[WRONG]:
            return f"{tally.outcomes[WRONG]} wrong scores"
        if tally.num_stuck:
            return f"{tally.num_stuck} requests without an answer"
        if unclear := set(tally.errors) - self.may_see:
            return f"callers saw {', '.join(sorted(unclear))}"
        return "" if tally.outcomes[RIGHT] else "nothing was answered"
