"""Stored feedback as the preference records that training reads."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from guerdon_service.core.feedback import Feedback

SOURCE = "feedback"
"""What an exported record says of where it came from."""


def to_lines(judgements: Iterable[Feedback]) -> Iterator[str]:
    """One line of JSON each, in order; a tie has ``label`` for evaluation and ``votes`` for training.

    Judgements stay apart, even where several people judged the same two answers, because ``guerdon data
    audit`` measures their agreement and each annotator's reliability.
    """
    return (json.dumps(to_record(judgement), ensure_ascii=False) + "\n" for judgement in judgements)


def to_record(judgement: Feedback) -> dict[str, Any]:
    """``{id, prompt, chosen, rejected, source, annotator, ...}``."""
    record: dict[str, Any] = {
        "id": judgement.id,
        "prompt": [asdict(message) for message in judgement.prompt],
        "chosen": judgement.chosen,
        "rejected": judgement.rejected,
        "source": SOURCE,
        "annotator": judgement.annotator,
        "tenant": judgement.tenant,
        "tags": dict(judgement.tags),
        "shown": list(judgement.shown),
        "model": judgement.model,
        "at": judgement.at,
    }
    return record | {"label": "tie", "votes": {"tie": 1}} if judgement.is_tie else record
