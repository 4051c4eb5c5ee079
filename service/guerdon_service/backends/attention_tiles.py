"""Attention of all segments in one call: kernels that take a packed row's tiles, as on CUDA."""

import logging
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from guerdon_service.backends.attention_rule import Rule

log = logging.getLogger(__name__)

_LEAST_CAPABILITY = (8, 0)
"""Of devices that multiply bfloat16."""


class TileKernel(Protocol):
    """Attention of the tiles of `tile_plan.plan_tiles`.

    It goes through each tile's keys from the conversation's beginning, so a row's bits depend neither on
    where its segment lies in the packed row nor on the others. Queries that see nothing are answered 0.
    """

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, tiles: Tensor, rule: Rule) -> Tensor:
        """[T, heads, head_dim] of queries of that shape; keys and values are [T, kv_heads, head_dim].

        Their heads lie densely, their rows need not.
        """


def attend_tiles(
    query: Tensor, key: Tensor, value: Tensor, tiles: Tensor, rule: Rule, kernel: TileKernel
) -> Tensor:
    """What `attention.attend` answers, of the same queries, keys and values; padding rows see nothing."""
    heads = query.permute(1, 0, 2, 3).flatten(1, 2)
    keys, values = (rows.transpose(0, 1).contiguous() for rows in (key, value))
    return kernel(heads, keys, values, tiles, rule)


def kernel_for(device: str, dtype: torch.dtype, head_dim: int) -> TileKernel | None:
    """The kernel for a device, dtype and size of heads; None where segments are attended to one by one.

    Where Triton cannot compile, the log says so and there is none.
    """
    if device != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None
    if torch.cuda.get_device_capability() < _LEAST_CAPABILITY:
        return None
    try:
        from guerdon_service.backends.triton_attention import (  # torch for CUDA brings Triton
            attended,
            is_able,
        )

        return attended if is_able(dtype, head_dim) else None
    except Exception as err:  # of a compiler, a file system or a device, under many types
        log.warning("forwards are slow: %r; Triton needs gcc, Python.h and a folder to build in", err)
        return None


def head_dim_of(config: PreTrainedConfig) -> int:
    """Columns of an attention head."""
    own = getattr(config, "head_dim", None)
    return own or config.hidden_size // config.num_attention_heads  # type: ignore[no-any-return]


def groups_of(config: PreTrainedConfig) -> int:
    """Query heads that share a head of keys."""
    return int(
        config.num_attention_heads // getattr(config, "num_key_value_heads", config.num_attention_heads)
    )
