"""How a batch lies in one packed row: the plan of the packed forward. Pure numpy.

Decoders use the canonical split form: a prompt segment, and a response segment whose queries attend to
[prompt; own] keys. Conversations whose prompt tokens are equal share one prompt segment, and since the
split is made for a lone conversation too, sharing changes no bit of any score.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows ``start:end`` of the packed row.

    prompt: rows of the prompt segment that its queries see as well, or None.
    """

    start: int
    end: int
    prompt: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where one conversation lies: first rows of its prompt and of its response, and the row after it."""

    prompt: int
    response: int
    end: int
    prefix_len: int

    def row(self, token: int) -> int:
        """Packed row of the conversation's `token`."""
        return self.prompt + token if token < self.prefix_len else self.response + token - self.prefix_len


@dataclass(frozen=True, slots=True)
class Layout:
    """A packed batch of T rows, padding not counted.

    segments: they tile rows 0 to T.
    source: int64 [T], where each row's token is in the concatenation of all conversations.
    places: one per conversation.
    """

    segments: tuple[Segment, ...]
    source: NDArray[np.int64]
    places: tuple[Place, ...]


def plan_layout(batch: Sequence[Encoded], *, split: bool) -> Layout:
    """Lay out a batch; with `split`, in the canonical split form."""
    starts = np.concatenate([[0], np.cumsum([e.num_tokens for e in batch])])
    return _plan_split(batch, starts) if split else _plan_whole(batch, starts)


def _plan_whole(batch: Sequence[Encoded], starts: NDArray[np.int64]) -> Layout:
    bounds = [int(start) for start in starts]
    return Layout(
        tuple(Segment(start, end) for start, end in itertools.pairwise(bounds)),
        np.arange(bounds[-1]),
        tuple(
            Place(start, start + e.prefix_len, end, e.prefix_len)
            for (start, end), e in zip(itertools.pairwise(bounds), batch, strict=True)
        ),
    )


def _plan_split(batch: Sequence[Encoded], starts: NDArray[np.int64]) -> Layout:
    segments: list[Segment] = []
    source: list[NDArray[np.int64]] = []
    places: dict[int, Place] = {}
    at = 0
    for members in _by_prompt(batch):
        prefix_len = batch[members[0]].prefix_len
        prompt = (at, at + prefix_len)
        segments.append(Segment(*prompt))
        source.append(np.arange(prefix_len) + starts[members[0]])
        at += prefix_len
        for i in members:
            size = batch[i].num_tokens - prefix_len
            segments.append(Segment(at, at + size, prompt))
            source.append(np.arange(prefix_len, prefix_len + size) + starts[i])
            places[i] = Place(prompt[0], at, at + size, prefix_len)
            at += size
    return Layout(tuple(segments), np.concatenate(source), tuple(places[i] for i in range(len(batch))))


def _by_prompt(batch: Sequence[Encoded]) -> list[list[int]]:
    """Indices of conversations with equal prompt tokens, in order of first appearance."""
    groups: dict[bytes, list[int]] = {}
    for i, encoded in enumerate(batch):
        groups.setdefault(encoded.input_ids[: encoded.prefix_len].tobytes(), []).append(i)
    return list(groups.values())


def split_batch(batch: Sequence[Encoded], max_rows: int | None, *, shared: bool) -> list[Sequence[Encoded]]:
    """The batch in order, cut before the conversation that would need more than `max_rows` packed rows.

    Args:
        shared: equal prompts of one part are counted once.
    """
    if max_rows is None:
        return [batch]
    parts: list[list[Encoded]] = []
    prompts: set[bytes] = set()
    rows = 0
    for encoded in batch:
        prompt = encoded.input_ids[: encoded.prefix_len].tobytes()
        more = encoded.num_tokens - (encoded.prefix_len if shared and prompt in prompts else 0)
        if not parts or rows + more > max_rows:
            parts.append([])
            prompts.clear()
            rows, more = 0, encoded.num_tokens
        parts[-1].append(encoded)
        prompts.add(prompt)
        rows += more
    return list(parts)


def share_out(batch: Sequence[Encoded], num_parts: int, *, shared: bool) -> list[list[int]]:
    """Indices of the batch in at most `num_parts` parts of about equal rows, none empty.

    Longest first into the lightest part (Graham 1969).

    Args:
        shared: equal prompts are computed once, and so stay in one part.
    """
    groups = _by_prompt(batch) if shared else [[i] for i in range(len(batch))]
    sizes = [_rows_of(batch, group) for group in groups]
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    rows = [0] * num_parts
    for g in sorted(range(len(groups)), key=lambda g: -sizes[g]):
        lightest = rows.index(min(rows))
        parts[lightest].extend(groups[g])
        rows[lightest] += sizes[g]
    return [part for part in parts if part]


def _rows_of(batch: Sequence[Encoded], group: Sequence[int]) -> int:
    """Rows of conversations with one prompt, or of a single one."""
    prompt = batch[group[0]].prefix_len
    return prompt + sum(batch[i].num_tokens - prompt for i in group)
