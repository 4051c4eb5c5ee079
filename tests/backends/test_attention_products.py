"""Attention by two products against the softmax in fp64: right at every size of its logits."""

import pytest
import torch
from torch import Tensor

from guerdon_service.backends.attention import attend
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.layout import Segment

HEADS, HEAD_DIM = 3, 16
LENGTHS = (50, 64, 131)


def rows(size: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(HEADS, sum(LENGTHS), HEAD_DIM, generator=generator)
    return (drawn * size).bfloat16()


def segments() -> tuple[Segment, ...]:
    ends = torch.tensor(LENGTHS).cumsum(0).tolist()
    return tuple(Segment(end - length, end) for end, length in zip(ends, LENGTHS, strict=True))


def exact(query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
    """fp64 [T, heads, head_dim]."""
    q, k, v = (t.double() for t in (query, key, value))
    out = []
    for s in segments():
        logits = q[:, s.start : s.end] @ k[:, s.start : s.end].transpose(1, 2) * HEAD_DIM**-0.5
        if window is not None:
            at = torch.arange(s.end - s.start)
            logits[:, (at[:, None] - at).abs() >= window] = float("-inf")
        out.append(torch.softmax(logits, -1) @ v[:, s.start : s.end])
    return torch.cat(out, dim=1).transpose(0, 1)


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("size", [0.1, 1.0, 4.0, 30.0, 300.0])
def test_right_whatever_the_size_of_logits(size: float, window: int | None) -> None:
    query, key, value = rows(size, 1), rows(1.0, 2), rows(1.0, 3)
    rule = Rule(HEAD_DIM**-0.5, causal=False, window=window, softcap=None)
    found = attend(query[:, :, None], key, value, PackedMasks(segments()), rule)
    error = (found.double() - exact(query, key, value, window)).abs()
    # a logit of 1,000 is known to 4 in bf16, so some rows of the largest sizes choose another key
    share_right = (error < 0.05).double().mean()
    assert share_right == 1 if size <= 1 else share_right > 0.9
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("shift", [-120.0, 120.0])
def test_logits_that_are_all_far_from_zero_change_nothing(shift: float) -> None:
    query, key, value = rows(1.0, 1), rows(1.0, 2), rows(1.0, 3)
    query[..., 0], key[..., 0] = 1.0, 0.0
    far = key.clone()
    far[..., 0] = shift * HEAD_DIM**0.5  # the same in every logit of a row: its softmax stays
    rule = Rule(HEAD_DIM**-0.5, causal=False, window=None, softcap=None)
    near, found = (attend(query[:, :, None], k, value, PackedMasks(segments()), rule) for k in (key, far))
    error = (found.float() - near.float()).abs()
    assert error.mean() < 0.1, "logits near 120 are known to 0.5 in bf16"
    assert torch.isfinite(found).all()


def test_a_segment_of_large_logits_leaves_its_mates_alone() -> None:
    query, key, value = rows(1.0, 1), rows(1.0, 2), rows(1.0, 3)
    rule = Rule(HEAD_DIM**-0.5, causal=False, window=None, softcap=None)
    before = attend(query[:, :, None], key, value, PackedMasks(segments()), rule)
    query[:, : LENGTHS[0]] *= 300
    after = attend(query[:, :, None], key, value, PackedMasks(segments()), rule)
    assert not torch.equal(after[: LENGTHS[0]], before[: LENGTHS[0]])
    assert torch.equal(after[LENGTHS[0] :], before[LENGTHS[0] :])
