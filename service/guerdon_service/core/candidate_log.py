"""Candidates of best-of-n, kept for training."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from guerdon_service.core.conversation import Message


@dataclass(frozen=True, slots=True)
class LoggedCandidate:
    """One response with its reward and the spread of ensemble members behind it, as `core.result.Score`.

    deviations: empty also where they are not known: what an earlier version kept, or a file of candidates.
    """

    text: str
    reward: float
    std: float
    deviations: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """The candidates of one query, in the order of their indices, and which of them was chosen.

    id: of this record alone; `request_id` is the caller's and may repeat.
    model: ``NAME@VERSION`` that gave the rewards; `digest` is its artifact's.
    chosen: place in `candidates`; None when it abstained.
    at: Unix seconds.
    """

    id: str
    request_id: str
    tenant: str
    policy: str
    model: str
    digest: str
    prompt: tuple[Message, ...]
    candidates: tuple[LoggedCandidate, ...]
    chosen: int | None
    at: float


class CandidateStore(Protocol):
    """Durable records. Blocking; every method is one transaction."""

    def add(self, record: CandidateRecord) -> None:
        """Store it; the same id again changes nothing."""
        ...

    def read(self, tenant: str | None = None) -> Iterator[CandidateRecord]:
        """All of it, oldest first, in bounded memory."""
        ...

    def prune(self, before: float) -> int:
        """Remove some of the records from before a time (Unix seconds); how many, 0 once none is left."""
        ...
