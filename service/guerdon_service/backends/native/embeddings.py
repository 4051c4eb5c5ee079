"""Embeddings of a BERT-shaped encoder on AMX, to bf16."""

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertEmbeddings
from transformers.models.roberta.modeling_roberta import RobertaEmbeddings
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaEmbeddings

from guerdon_service.backends.native.library import in_parts, library, takes_tiles
from guerdon_service.backends.native.weight import BLOCK

Numbers = NDArray[np.int64]


def is_tiled_embeddings(module: Any) -> bool:
    """Whether `TiledEmbeddings` takes a module in this dtype and of this size."""
    if not isinstance(module, BertEmbeddings | RobertaEmbeddings | XLMRobertaEmbeddings):
        return False
    words: Tensor = module.word_embeddings.weight
    return takes_tiles(words) and not words.shape[1] % BLOCK


class TiledEmbeddings(nn.Module):
    """The sum of a token's, a place's and a type's row, and its layer norm, in fp32, rounded once to bf16.

    Args:
        own: of BERT, RoBERTa or XLM-R; tables are rounded to bf16 where they are not.
    """

    def __init__(self, own: Any) -> None:
        super().__init__()
        tables = (own.word_embeddings, own.position_embeddings, own.token_type_embeddings)
        self._tables = [table.weight.data.bfloat16().contiguous() for table in tables]
        self._norm = [tensor.data.float() for tensor in (own.LayerNorm.weight, own.LayerNorm.bias)]
        self._epsilon = own.LayerNorm.eps
        self.size = self._tables[0].shape[1]

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None = None, **_: Any
    ) -> Tensor:
        """bf16 [1, T, hidden] of int64 [1, T].

        Raises:
            IndexError: as `coded`.
        """
        out = torch.empty(*input_ids.shape, self.size, dtype=torch.bfloat16)
        types = None if token_type_ids is None else token_type_ids.numpy()
        code = self.coded(input_ids.numpy(), position_ids.numpy(), types, out.data_ptr())

        def run(begin: int, end: int) -> None:
            library().guerdon_embed(ctypes.byref(code), ctypes.c_int64(begin), ctypes.c_int64(end))

        in_parts(input_ids.numel(), run)
        return out

    def coded(self, ids: Numbers, positions: Numbers, types: Numbers | None, out: int) -> "Embeddings":
        """For int64 [T] each, side by side in memory, and bf16 rows that begin at `out`; types None: all 0.

        Raises:
            IndexError: a table has no such row.
        """
        for numbers, table in zip((ids, positions, types), self._tables, strict=True):
            most = np.uint64(0) if numbers is None else _most(numbers, ids.size)
            if most >= len(table):
                raise IndexError(
                    f"an embedding has {len(table)} rows and {most.astype(np.int64)} was asked for"
                )
        numbered = (None if numbers is None else numbers.ctypes.data for numbers in (ids, positions, types))
        addresses = (tensor.data_ptr() for tensor in (*self._tables, *self._norm))
        return Embeddings(*numbered, *addresses, out, self.size, self._epsilon)


def _most(numbers: Numbers, size: int) -> np.uint64:
    """The greatest of `size` numbers, negative ones above all others."""
    assert numbers.dtype == np.int64 and numbers.flags.c_contiguous and numbers.size == size
    return numbers.view(np.uint64).max(initial=0)  # type: ignore[no-any-return]


class Embeddings(ctypes.Structure):
    """`Embeddings` of embeddings.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("ids", "positions", "types", "words", "places", "kinds")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "out")),
        ("size", ctypes.c_int64),
        ("epsilon", ctypes.c_double),
    )
