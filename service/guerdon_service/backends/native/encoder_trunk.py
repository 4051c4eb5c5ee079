"""A BERT-shaped encoder on AMX, embeddings and all layers in one call."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.layout import Segment
from guerdon_service.backends.native.attention import HEAD_MULTIPLE, Attention, Heads, coded_rule
from guerdon_service.backends.native.embeddings import TiledEmbeddings
from guerdon_service.backends.native.encoder_layer import TiledEncoderLayer
from guerdon_service.backends.native.library import library
from guerdon_service.backends.packed import Inputs

_BYTES = 2


def encoder_trunk(trunk: nn.Module) -> "EncoderTrunk | None":
    """A prepacked trunk's, where all of it is made of tiles; else None."""
    embeddings = getattr(trunk, "embeddings", None)
    layers = getattr(getattr(trunk, "encoder", None), "layer", ())
    are_tiled = all(isinstance(layer, TiledEncoderLayer) for layer in layers)
    if not (isinstance(embeddings, TiledEmbeddings) and layers and are_tiled):
        return None
    its = layers[0].attend
    if its.head_dim % HEAD_MULTIPLE or its.num_heads * its.head_dim != embeddings.size:
        return None
    return EncoderTrunk(embeddings, list(layers))


class EncoderTrunk:
    """A `packed.Trunk` that needs Python's lock once, where each call of each layer would wait for it."""

    def __init__(self, embeddings: TiledEmbeddings, layers: Sequence[TiledEncoderLayer]) -> None:
        self._embeddings = embeddings
        self._layers = layers

    def __call__(self, inputs: Inputs, segments: Sequence[Segment]) -> Tensor | None:
        """bf16 [T, hidden]; None on several threads, which the layers share out one by one.

        Raises:
            IndexError: as `TiledEmbeddings.coded`.
            MemoryError: what a segment's scores or a chunk of rows take is not to be had.
        """
        if torch.get_num_threads() > 1:
            return None
        num_rows, size = len(inputs.ids), self._embeddings.size
        kept = torch.empty(6, num_rows, size, dtype=torch.bfloat16)  # three of them hold qkv
        qkv, seen, rows, out = (kept[i].data_ptr() for i in (0, 3, 4, 5))
        entering = self._embeddings.coded(inputs.ids, inputs.positions, inputs.types, rows)
        table = PackedMasks(tuple(segments)).table
        made, number = [], ctypes.c_int64
        for layer in self._layers:
            made.append(_Coded.of(layer, {"rows": rows, "qkv": qkv, "seen": seen, "out": out}))
            rows, out = out, rows
        code = (_Layer * len(made))(*(each.code for each in made))
        asked = self._attention(qkv, seen, table)
        if library().guerdon_encode(
            ctypes.byref(entering), code, number(len(code)), ctypes.byref(asked), number(num_rows)
        ):
            raise MemoryError("no memory for the scores of a segment or a chunk of rows")
        return kept[4 + len(self._layers) % 2]

    def _attention(self, qkv: int, seen: int, table: Tensor) -> Attention:
        its, size = self._layers[0].attend, self._embeddings.size
        parts = (Heads(qkv + i * size * _BYTES, 3 * size, its.head_dim, 0) for i in range(3))
        out = Heads(seen, size, its.head_dim, 0)
        sizes = (len(table), 1, its.head_dim, 0, 0, its.num_heads)
        return Attention(*parts, out, table.data_ptr(), *sizes, *coded_rule(its.rule))


class _Layer(ctypes.Structure):
    """`Layer` of trunk.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("before", "after", "before_rows", "after_rows")),
        *((f"num_{name}", ctypes.c_int64) for name in ("before", "after", "before_rows", "after_rows")),
    )


@dataclass(frozen=True, slots=True)
class _Coded:
    code: _Layer
    kept: tuple[Any, ...]
    """What the code's addresses point to."""

    @staticmethod
    def of(layer: TiledEncoderLayer, addresses: Mapping[str, int]) -> "_Coded":
        """Its steps, on rows that begin at these addresses."""
        steps = (layer.before, layer.after)
        kept: tuple[Any, ...] = (*(s.code for s in steps), *(s.given(addresses) for s in steps))
        return _Coded(_Layer(*map(ctypes.addressof, kept), *map(len, kept)), kept)
