"""The order in which scored candidates count, and the early stop."""

from math import inf

from guerdon_service.bestofn.choose import value
from guerdon_service.core.best_of_n import BestOfNQuery, ScoredCandidate


class Tally:
    """Candidates that count so far.

    Without patience each counts when it is scored. With it they count in the order of their indices, whatever
    the order of arrival, because short responses arrive first and a rule that looked at arrivals would stop
    on them. Then the rule guarantees this: candidates are exchangeable, so the next one after k beats all of
    them with probability at most ``1 / (k + 1)``, however the k came about (records are independent: Renyi,
    1962); and it stops at k > patience. More samples could still pay by much, if rarely. What it saves are
    the tokens of the candidates that were not finished.
    """

    def __init__(self, query: BestOfNQuery) -> None:
        self.counted: list[ScoredCandidate] = []
        self.num_asked = query.n
        self.stopped_early = False
        self._query = query
        self._held: dict[int, ScoredCandidate | None] = {}
        self._next = 0
        self._best = -inf
        self._streak = 0

    def add(self, index: int, candidate: ScoredCandidate | None) -> list[ScoredCandidate]:
        """Take one more; None is a response that cannot be scored and so raises nothing.

        Returns:
            Those that count now and did not before.
        """
        if self._query.patience == 0:
            return self._count([candidate])
        self._held[index] = candidate
        released: list[ScoredCandidate] = []
        while self._next in self._held and not self.stopped_early:
            found = self._held.pop(self._next)
            self._next += 1
            self._watch(found)
            released += self._count([found])
        return released

    def flush(self) -> list[ScoredCandidate]:
        """No more will come before the deadline: what was held back counts after all."""
        held = [self._held.pop(index) for index in sorted(self._held)]
        return self._count(held)

    def _watch(self, candidate: ScoredCandidate | None) -> None:
        found = -inf if candidate is None else value(candidate, self._query.conservatism)
        self._streak = 0 if found > self._best else self._streak + 1
        self._best = max(self._best, found)
        more = self._next < self._query.n
        self.stopped_early = more and self._best > -inf and self._streak >= self._query.patience

    def _count(self, candidates: list[ScoredCandidate | None]) -> list[ScoredCandidate]:
        found = [c for c in candidates if c is not None]
        self.counted += found
        return found
