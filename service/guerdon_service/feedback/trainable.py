"""Records that training can read."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from guerdon_service.core.candidate_log import CandidateRecord
from guerdon_service.core.feedback import Feedback

T = TypeVar("T", Feedback, CandidateRecord)


def trainable(records: Iterable[T]) -> Iterator[T]:
    """Those with a user's turn: training refuses a whole file for one prompt without."""
    return (record for record in records if any(turn.role == "user" for turn in record.prompt))
