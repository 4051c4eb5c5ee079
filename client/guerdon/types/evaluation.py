"""What an evaluation gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ReportFormat = Literal["html", "markdown", "plain"]
"""In which form people read a finished evaluation."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation, whatever its state.

    candidate, baseline: ``NAME@VERSION``, pinned when it was started.
    done, total: items scored, over both models.
    created_at: Unix seconds.
    accuracy: of the candidate; None until it is done.
    num_items: that it was measured on; None until it is done.
    verdict: ``better``, ``not worse``, ``worse`` or ``inconclusive``; None without a baseline.
    delta: the candidate's accuracy less the baseline's.
    report: everything that was found; None until it is done, and in lists.
    """

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    candidate: str
    candidate_digest: str
    baseline: str | None
    baseline_digest: str | None
    dataset: str
    dataset_sha256: str
    done: int
    total: int
    created_at: float
    error: str | None
    accuracy: Interval | None
    num_items: int | None
    verdict: str | None
    delta: Interval | None
    report: Mapping[str, Any] | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "failed", "cancelled")
