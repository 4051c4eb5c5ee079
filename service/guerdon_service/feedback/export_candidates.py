"""Logged candidates of best-of-n as the records that training reads."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from guerdon_service.core.candidate_log import CandidateRecord

SOURCE = "best-of-n"
"""What an exported record says of where it came from."""


def to_ranking_lines(records: Iterable[CandidateRecord]) -> Iterator[str]:
    """``{id, prompt, responses, ranks, ...}``, a line of JSON each, for ``guerdon train reward``.

    Ranks are by the reward, 1 the best, equal rewards tie: a model's opinion, not a person's. Left out are
    records without two different responses, and those whose line would repeat one.
    """
    return _lines(map(_ranking, records), ("prompt", "responses", "ranks"))


def to_demonstration_lines(records: Iterable[CandidateRecord]) -> Iterator[str]:
    """``{id, prompt, response, ...}``, a line of JSON each, for ``guerdon train sft``: the chosen response.

    Left out are records that abstained, prompts that end with the assistant's turn, which leave no turn to
    imitate, and what would repeat a line.
    """
    return _lines(map(_demonstration, records), ("prompt", "response"))


def _ranking(record: CandidateRecord) -> dict[str, Any] | None:
    rewards: dict[str, float] = {}
    for candidate in record.candidates:
        rewards.setdefault(candidate.text, candidate.reward)
    if len(rewards) < 2:
        return None
    ranks = [1 + sum(other > reward for other in rewards.values()) for reward in rewards.values()]
    return _about(record) | {"responses": list(rewards), "ranks": ranks, "rewards": list(rewards.values())}


def _demonstration(record: CandidateRecord) -> dict[str, Any] | None:
    if record.chosen is None or record.prompt[-1].role == "assistant":
        return None
    chosen = record.candidates[record.chosen]
    return _about(record) | {"response": chosen.text, "reward": chosen.reward}


def _about(record: CandidateRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "prompt": [asdict(message) for message in record.prompt],
        "source": SOURCE,
        "tenant": record.tenant,
        "policy": record.policy,
        "model": record.model,
        "at": record.at,
    }


def _lines(records: Iterable[dict[str, Any] | None], keys: tuple[str, ...]) -> Iterator[str]:
    """Each record whose `keys` no earlier one has: a seed that is asked again teaches nothing new."""
    seen: set[bytes] = set()
    for record in records:
        if record is None:
            continue
        digest = sha256(json.dumps([record[key] for key in keys]).encode()).digest()
        if digest not in seen:
            seen.add(digest)
            yield json.dumps(record, ensure_ascii=False) + "\n"
