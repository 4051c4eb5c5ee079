"""Logged candidates for tests, and a database of them."""

from collections.abc import Sequence
from pathlib import Path

from guerdon_service.core.candidate_log import CandidateRecord, LoggedCandidate
from guerdon_service.core.conversation import Message
from guerdon_service.core.feedback import Feedback
from guerdon_service.state.candidate_store import SqlCandidateStore
from guerdon_service.state.database import open_database
from guerdon_service.state.feedback_store import SqlFeedbackStore

PROMPT = (Message("system", "Be kind."), Message("user", "Name a prime."))


def record(
    id: str,
    *candidates: tuple[str, float] | tuple[str, float, float] | tuple[str, float, float, tuple[float, ...]],
    prompt: tuple[Message, ...] = PROMPT,
    chosen: int | None = 0,
    tenant: str = "team",
) -> CandidateRecord:
    """Of candidates ``(text, reward[, std[, deviations]])``."""
    logged = tuple(LoggedCandidate(c[0], c[1], *c[2:] or (0.0,)) for c in candidates)
    return CandidateRecord(id, f"request-{id}", tenant, "p", "m@1", "f" * 64, prompt, logged, chosen, 1.5)


def stored(folder: Path, records: Sequence[CandidateRecord], judgements: Sequence[Feedback] = ()) -> str:
    """URL of a database with these."""
    url = f"sqlite:///{folder / 'state.db'}"
    database = open_database(url)
    for each in records:
        SqlCandidateStore(database).add(each)
    for judgement in judgements:
        SqlFeedbackStore(database).add(judgement)
    database.close()
    return url
