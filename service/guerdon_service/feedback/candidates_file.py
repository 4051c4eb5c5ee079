"""Candidates with their rewards from a file of JSON Lines."""

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from guerdon_service.core.candidate_log import CandidateRecord, LoggedCandidate
from guerdon_service.core.conversation import Conversation, Message, check_conversation
from guerdon_service.core.errors import InvalidInput


def read_candidates(path: Path) -> Iterator[CandidateRecord]:
    """Records ``{prompt: text or [{role, content}], candidates: [{text, reward, std?}], model?}``.

    Raises:
        InvalidInput: the file cannot be read, or a line is no such record; the message names the line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _record(line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as err:
        raise InvalidInput(f"{path} cannot be read: {err}", param="--candidates") from None


def _record(line: str, where: str) -> CandidateRecord:
    try:
        values = json.loads(line)
        prompt = _prompt(values["prompt"])
        candidates = tuple(_candidate(value) for value in values["candidates"])
        for candidate in candidates:
            check_conversation(Conversation(prompt, candidate.text), "prompt", "text")
        model = values.get("model", "")
        if not (candidates and isinstance(model, str)):
            raise ValueError("candidates is empty, or model is no text")
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
        RecursionError,
        InvalidInput,
    ) as err:
        raise InvalidInput(
            f"{where} is no record ({err}); write {{prompt, candidates: [{{text, reward, std}}], model}}",
            param="--candidates",
        ) from None
    return CandidateRecord(where, "", "", "", model, "", prompt, candidates, None, 0.0)


def _prompt(value: Any) -> tuple[Message, ...]:
    turns = [{"role": "user", "content": value}] if isinstance(value, str) else value
    found = tuple(Message(turn["role"], turn["content"]) for turn in turns)
    if not all(isinstance(turn.content, str) for turn in found):
        raise TypeError("a turn's content is no text")
    return found


def _candidate(value: Mapping[str, Any]) -> LoggedCandidate:
    text, reward, std = value["text"], value["reward"], value.get("std", 0.0)
    if not isinstance(text, str):
        raise TypeError("a candidate's text is no text")
    if not all(type(number) in (int, float) and isfinite(number) for number in (reward, std)) or std < 0:
        raise ValueError("reward and std must be finite numbers, std at least 0")
    return LoggedCandidate(text, float(reward), float(std))
