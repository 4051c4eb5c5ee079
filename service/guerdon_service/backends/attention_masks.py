"""What each query of a packed row sees: segments, masks, and rows that another forward computed."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.backends.attention_tiles import TileKernel
from guerdon_service.backends.layout import Segment
from guerdon_service.backends.placed import placed
from guerdon_service.backends.tile_plan import plan_tiles, rows_of_tile

KeysAndValues = tuple[Tensor, Tensor]
"""Of one layer: [kv_heads, rows, head_dim] each."""


class PackedMasks:
    """Segments of one forward and their masks, which the layers share.

    Args:
        segments: they tile the packed row; rows after the last one are padding.
        earlier: keys and values of the rows before the first segment, by layer, from a forward of their
            own; None where the first segment begins at 0.
        kept: is filled with what each layer's queries see; None where nobody asks.
        kernel: attends to all segments at once; None: one by one.
        tiles: of the segments, for `kernel`, where they are on the device already.
    """

    def __init__(
        self,
        segments: tuple[Segment, ...],
        earlier: Mapping[nn.Module, KeysAndValues] | None = None,
        kept: dict[nn.Module, KeysAndValues] | None = None,
        kernel: TileKernel | None = None,
        tiles: Tensor | None = None,
    ) -> None:
        self.segments = segments
        self.kernel = kernel
        self._earlier = earlier
        self._kept = kept
        self._masks: dict[tuple[Any, ...], Tensor | None] = {}
        self._tiles = tiles

    def keys_and_values(self, layer: nn.Module, key: Tensor, value: Tensor) -> KeysAndValues:
        """What the layer's queries see: the earlier rows, then its own [kv_heads, T, head_dim]."""
        if self._earlier is not None:
            earlier_key, earlier_value = self._earlier[layer]
            key, value = torch.cat([earlier_key, key], dim=1), torch.cat([earlier_value, value], dim=1)
        if self._kept is not None:
            self._kept[layer] = key, value
        return key, value

    def tiles(self, query: Tensor, groups: int, *, causal: bool) -> Tensor:
        """The segments for `kernel`, int32 [N, 6] as `plan_tiles` has them.

        Args:
            query: its last but two axis is T.
            groups: query heads that share a key's.
        """
        if self._tiles is None:
            rows = rows_of_tile(groups)
            plan = plan_tiles(self.segments, query.shape[-3], rows=rows, causal=causal)
            self._tiles = placed(plan, query.device)
        return self._tiles

    @functools.cached_property
    def table(self) -> Tensor:
        """int32 [N, 4]: begin and end of each segment, then of the prompt that it sees, or zeros."""
        return torch.tensor(
            [(s.start, s.end, *(s.prompt or (0, 0))) for s in self.segments], dtype=torch.int32
        )

    def mask(self, like: Tensor, sight: "Sight", queries: int, keys: int) -> Tensor | None:
        """Additive mask [queries, keys] in the dtype of `like`, or None where every key is seen.

        One row [1, keys] where all queries see the same.
        """
        key = (like.dtype, sight, queries, keys)
        if key not in self._masks:
            self._masks[key] = _mask(like, sight, queries, keys)
        return self._masks[key]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a segment's queries see.

    first: position of the first query among the keys.
    seen: keys; those after are padding.
    window: the first distance out of sight, as `transformers` passes it (`sliding_window`; ModernBERT's is
        half + 1), or None.
    """

    first: int
    seen: int
    causal: bool
    window: int | None


def _mask(like: Tensor, sight: Sight, queries: int, keys: int) -> Tensor | None:
    key = torch.arange(keys, device=like.device)
    if not sight.causal and sight.window is None:
        return None if keys == sight.seen else _additive(like, (key >= sight.seen)[None])
    distance = torch.arange(sight.first, sight.first + queries, device=like.device)[:, None] - key
    hidden = (key >= sight.seen).expand_as(distance)
    if sight.causal:
        hidden = hidden | (distance < 0)
    if sight.window is not None:
        hidden = hidden | (distance.abs() >= sight.window)
    return _additive(like, hidden) if hidden.any() else None


def _additive(like: Tensor, hidden: Tensor) -> Tensor:
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))
