"""Attention by tiles: the formula in fp64 is the oracle."""

import math

import pytest
import torch
from torch import Tensor

from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.layout import Segment
from guerdon_service.backends.native.attention import attend_tiled
from guerdon_service.backends.native.library import takes_tiles
from guerdon_service.backends.threads import on_threads
from tests.backends.tiles import needs_tiles

pytestmark = needs_tiles
WHOLE = (Segment(0, 37), Segment(37, 38), Segment(38, 300))
SPLIT = (Segment(0, 37), Segment(37, 38, (0, 37)), Segment(38, 138, (0, 37)), Segment(138, 300))
RULES = {
    "encoder": (WHOLE, Rule(0.2, causal=False, window=None, softcap=None)),
    "encoder, window": (WHOLE, Rule(0.2, causal=False, window=17, softcap=None)),
    "decoder": (SPLIT, Rule(0.2, causal=True, window=None, softcap=None)),
    "decoder, window": (SPLIT, Rule(0.2, causal=True, window=20, softcap=None)),
    "decoder, capped": (SPLIT, Rule(0.2, causal=True, window=None, softcap=5.0)),
}


def tensors(kv_heads: int, groups: int, head_dim: int, rows: int = 300) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of `rows` rows."""
    torch.manual_seed(0)
    key, value = (torch.randn(kv_heads, rows, head_dim).bfloat16() for _ in range(2))
    return torch.randn(kv_heads, rows, groups, head_dim).bfloat16() * 2, key, value


def attended(query: Tensor, key: Tensor, value: Tensor, segment: Segment, rule: Rule) -> Tensor:
    """The segment's rows in fp64."""
    seen = [*range(*(segment.prompt or (0, 0))), *range(segment.start, segment.end)]
    own = segment.end - segment.start
    query, key, value = (
        query[:, segment.start : segment.end].double(),
        key[:, seen].double(),
        value[:, seen].double(),
    )
    scores = torch.einsum("hngd,hsd->hgns", query, key) * rule.scale
    if rule.softcap is not None:
        scores = torch.tanh(scores / rule.softcap) * rule.softcap
    distance = torch.arange(own)[:, None] + len(seen) - own - torch.arange(len(seen))
    hidden = (distance < 0) & torch.tensor(rule.causal)
    if rule.window is not None:
        hidden |= distance.abs() >= rule.window
    weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
    return torch.einsum("hgns,hsd->nhgd", weights, value).flatten(1, 2)


@pytest.mark.parametrize(
    ("kv_heads", "groups", "head_dim"),
    [(4, 1, 32), (2, 3, 64), (1, 2, 128), (1, 2, 256), (2, 2, 24), (1, 3, 80)],
)
@pytest.mark.parametrize("name", RULES)
def test_answers_are_those_of_the_formula(name: str, kv_heads: int, groups: int, head_dim: int) -> None:
    segments, rule = RULES[name]
    query, key, value = tensors(kv_heads, groups, head_dim)
    assert takes_tiles(query)
    found = attend_tiled(query, key, value, PackedMasks(segments).table, rule)
    for segment in segments:
        expected = attended(query, key, value, segment, rule)
        torch.testing.assert_close(
            found[segment.start : segment.end].double(), expected, atol=0.02, rtol=0.01, msg=str(segment)
        )


@pytest.mark.parametrize("name", RULES)
def test_a_segment_s_bits_depend_on_no_other_nor_on_threads(name: str) -> None:
    segments, rule = RULES[name]
    query, key, value = tensors(3, 2, 64)
    whole = attend_tiled(query, key, value, PackedMasks(segments).table, rule)
    for segment in segments:
        first = segment.prompt[0] if segment.prompt else segment.start
        rows = [*range(*(segment.prompt or (0, 0))), *range(segment.start, segment.end)]
        prompt = segment.prompt and (0, segment.prompt[1] - first)
        begin = len(rows) - (segment.end - segment.start)
        alone = PackedMasks((Segment(begin, len(rows), prompt),)).table
        for num_threads in (1, 2):
            with on_threads(num_threads):
                part = attend_tiled(query[:, rows], key[:, rows], value[:, rows], alone, rule)
            assert torch.equal(part[begin:], whole[segment.start : segment.end]), segment


@pytest.mark.parametrize("size", [1e-3, 40.0, 3000.0])
def test_scores_of_any_size_neither_overflow_nor_vanish(size: float) -> None:
    query, key, value = tensors(2, 1, 32, rows=70)
    query = (query.float() * size).bfloat16()
    rule = Rule(1.0, causal=False, window=None, softcap=None)
    found = attend_tiled(query, key, value, PackedMasks((Segment(0, 70),)).table, rule)
    expected = attended(query, key, value, Segment(0, 70), rule)
    torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.01)


def test_padding_is_zero_and_rows_of_an_earlier_forward_are_seen() -> None:
    query, key, value = tensors(2, 2, 32)
    rule = Rule(0.2, causal=True, window=None, softcap=None)
    segment = Segment(100, 290, (0, 100))
    found = attend_tiled(query[:, 100:], key, value, PackedMasks((segment,)).table, rule)
    expected = attended(query, key, value, segment, rule)
    torch.testing.assert_close(found[:190].double(), expected, atol=0.02, rtol=0.01)
    assert not found[190:].any()
    whole = attend_tiled(query, key, value, PackedMasks((Segment(0, 100), segment)).table, rule)
    assert torch.equal(found, whole[100:])


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_what_is_not_a_number_stays_so_and_in_its_row(softcap: float | None) -> None:
    query, key, value = tensors(2, 1, 32, rows=70)
    query[:, 7] = torch.nan
    rule = Rule(1.0, causal=False, window=None, softcap=softcap)
    spoilt = attend_tiled(query, key, value, PackedMasks((Segment(0, 70),)).table, rule).isnan()
    assert spoilt[7].all()
    assert spoilt.any(-1).any(-1).sum() == 1


@pytest.mark.parametrize("window", [70, 2**31 - 1, 2**32])
def test_a_window_wider_than_a_segment_hides_nothing(window: int) -> None:
    tensor = tensors(2, 1, 32, rows=70)
    table = PackedMasks((Segment(0, 70),)).table
    none, wide = (
        attend_tiled(*tensor, table, Rule(1.0, causal=False, window=each, softcap=None))
        for each in (None, window)
    )
    assert torch.equal(none, wide)
