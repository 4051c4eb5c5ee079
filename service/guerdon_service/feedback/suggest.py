"""What to label next: the pairs of candidates about whose order an ensemble's members disagree most."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from guerdon_service.core.candidate_log import CandidateRecord, LoggedCandidate
from guerdon_service.core.conversation import Message
from guerdon_service.core.statistics.arrays import Floats, Ints
from guerdon_service.core.statistics.disagreement import information_nats
from guerdon_service.feedback.question import question_key


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two responses to one prompt whose order is worth asking for.

    information: what the answer is expected to tell about the members, see `information_nats`.
    margin: distance of the two rewards, at least 0.
    """

    prompt: tuple[Message, ...]
    responses: tuple[str, str]
    model: str
    information: float
    margin: float


def suggest(
    records: Iterable[CandidateRecord], num: int, labelled: Collection[bytes] = frozenset()
) -> list[Suggestion]:
    """The `num` pairs with the most `information_nats`, of equal ones those with the smallest margin.

    One unit of reward counts as one logit. Where no model had an ensemble all information is 0, and the pairs
    with P closest to 1/2 come first. One pair per prompt at most, because answers about one prompt tell much
    of the same. Memory grows with `num`, not with the records.

    Args:
        labelled: `question_key` of pairs that need no label.
    """
    best: dict[tuple[Message, ...], Suggestion] = {}
    for record in records:
        found = _best_pair(record, labelled)
        if found is None:
            continue
        known = best.get(found.prompt)
        if known is None or _order(found) < _order(known):
            best[found.prompt] = found
        if len(best) > 2 * num + 1000:
            best = _first(best, num)
    return list(_first(best, num).values())


def to_task_lines(suggestions: Sequence[Suggestion], seed: int) -> list[str]:
    """``{messages, shown, model}``, a line of JSON each: feedback that lacks chosen, rejected and annotator.

    The order of lines, and of the two responses, is random by `seed`: it tells an annotator nothing.
    """
    generator = np.random.default_rng(seed)
    lines = []
    for place in generator.permutation(len(suggestions)):
        found = suggestions[place]
        task = {
            "messages": [asdict(message) for message in found.prompt],
            "shown": [found.responses[i] for i in generator.permutation(2)],
            "model": found.model,
        }
        lines.append(json.dumps(task, ensure_ascii=False) + "\n")
    return lines


def _best_pair(record: CandidateRecord, labelled: Collection[bytes]) -> Suggestion | None:
    by_text: dict[str, LoggedCandidate] = {c.text: c for c in record.candidates}
    candidates = list(by_text.values())
    rewards = np.array([c.reward for c in candidates], dtype=np.float64)
    left, right = np.triu_indices(len(candidates), k=1)
    margins = np.abs(rewards[left] - rewards[right])
    told = information_nats(margins, _margin_stds(candidates, left, right))
    for pair in np.lexsort((margins, -told)):
        a, b = candidates[left[pair]].text, candidates[right[pair]].text
        if question_key(record.prompt, a, b) not in labelled:
            return Suggestion(record.prompt, (a, b), record.model, float(told[pair]), float(margins[pair]))
    return None


def _margin_stds(candidates: list[LoggedCandidate], left: Ints, right: Ints) -> Floats:
    """Spread of the members' margins, as `core.preference` has it: float64 [pairs].

    Where only each response's own spread is known, as if members erred on each response on its own.
    """
    num_members = {len(c.deviations) for c in candidates}
    if len(num_members) == 1 and num_members != {0}:
        members = np.array([c.deviations for c in candidates], dtype=np.float64)
        found: Floats = np.linalg.norm(members[left] - members[right], axis=1)
        return found
    stds = np.array([c.std for c in candidates], dtype=np.float64)
    return np.hypot(stds[left], stds[right])


def _order(suggestion: Suggestion) -> tuple[float, float]:
    return -suggestion.information, suggestion.margin


def _first(best: dict[tuple[Message, ...], Suggestion], num: int) -> dict[tuple[Message, ...], Suggestion]:
    return dict(sorted(best.items(), key=lambda entry: _order(entry[1]))[:num])
