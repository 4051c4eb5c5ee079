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
    audit`` measures their agreement and each annotator's reliability. Ids are a tenant's own, but training
    refuses a file with one of them twice: the later one becomes ``TENANT/ID``.
    """
    taken: set[str] = set()
    for judgement in judgements:
        record = to_record(judgement)
        while record["id"] in taken:
            record["id"] = f"{judgement.tenant}/{record['id']}"
        taken.add(record["id"])
        yield json.dumps(record, ensure_ascii=False) + "\n"


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
