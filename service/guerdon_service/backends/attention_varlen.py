"""Attention of all segments in one call: kernels that take many sequences of any length, as on CUDA.

Such a kernel goes through each sequence from its own beginning, so a row's bits do not depend on where in the
packed row its segment lies, nor on the others.
"""

import functools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.placed import placed
from guerdon_service.backends.varlen_plan import VarlenPlan

_LEAST_CAPABILITY, _MOST_HEAD_DIM = (8, 0), 256
"""What flash attention takes; it refuses older devices and larger heads."""


@dataclass(frozen=True, slots=True)
class Varlen:
    """A `VarlenPlan` on the device that computes: the same fields as tensors."""

    queries: Tensor
    keys: Tensor
    num_keys: Tensor
    source: Tensor | None
    longest: int


class VarlenKernel(Protocol):
    """Attention of sequences one after another.

    Queries are the last of their sequence's keys: causal ones see what is at or before their own place. The
    answer to queries of a sequence without keys is 0.
    """

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, varlen: Varlen, rule: Rule) -> Tensor:
        """[T, heads, head_dim] of queries of that shape; keys and values are [K, kv_heads, head_dim].

        Their heads lie densely, their rows need not.
        """


def on_device(plan: VarlenPlan, device: torch.device) -> Varlen:
    """The plan's arrays as tensors of the device."""
    queries, keys, num_keys = (placed(each, device) for each in (plan.queries, plan.keys, plan.num_keys))
    source = None if plan.source is None else placed(plan.source, device)
    return Varlen(queries, keys, num_keys, source, plan.longest)


def attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, varlen: Varlen, rule: Rule, kernel: VarlenKernel
) -> Tensor:
    """What `attention.attend` answers, of the same queries, keys and values; padding rows see nothing."""
    heads = query.permute(1, 0, 2, 3).flatten(1, 2)
    return attend_rows(heads, key.transpose(0, 1), value.transpose(0, 1), varlen, rule, kernel)


def attend_rows(
    query: Tensor, key: Tensor, value: Tensor, varlen: Varlen, rule: Rule, kernel: VarlenKernel
) -> Tensor:
    """The same of rows: queries [T, heads, head_dim], keys and values [T, kv_heads, head_dim]."""
    if varlen.source is not None:
        key, value = key.index_select(0, varlen.source), value.index_select(0, varlen.source)
    return kernel(query, key, value, varlen, rule)


def flash_kernel(query: Tensor, key: Tensor, value: Tensor, varlen: Varlen, rule: Rule) -> Tensor:
    """`VarlenKernel` of flash attention (Dao 2023, arXiv:2307.08691), on CUDA in bfloat16 and float16.

    The operator is the one below `torch.nn.attention.varlen`, whose own signature changes with releases.
    """
    operator = torch.ops.aten._flash_attention_forward
    left = -1 if rule.window is None else rule.window - 1
    right = 0 if rule.causal else left
    # a bound of keys that no batch changes: a window that reaches beyond it would be another kernel
    lengths = (varlen.queries, varlen.keys, varlen.longest, len(query))
    answer: tuple[Tensor, ...] = operator(
        query, key, value, *lengths, 0.0, rule.causal, False, scale=rule.scale,
        window_size_left=left, window_size_right=right, seqused_k=varlen.num_keys, **_one_split(),
    )  # fmt: skip
    return answer[0]


@functools.cache
def _takes_splits() -> bool:
    arguments = torch.ops.aten._flash_attention_forward.default._schema.arguments
    return any(argument.name == "num_splits" for argument in arguments)


def _one_split() -> dict[str, int]:
    """Keys are never split among blocks, which would depend on the batch; older releases never do.

    With one split `torch.nn.attention.varlen` guarantees a sequence the same bits in any batch.
    """
    return {"num_splits": 1} if _takes_splits() else {}


def kernel_for(device: str, dtype: torch.dtype, head_dim: int) -> VarlenKernel | None:
    """The kernel for a device, dtype and size of heads; None where segments are attended to one by one."""
    if device != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None
    is_able = torch.cuda.get_device_capability() >= _LEAST_CAPABILITY
    return flash_kernel if is_able and head_dim <= _MOST_HEAD_DIM and head_dim % 8 == 0 else None


def head_dim_of(config: PreTrainedConfig) -> int:
    """Columns of an attention head."""
    own = getattr(config, "head_dim", None)
    return own or config.hidden_size // config.num_attention_heads  # type: ignore[no-any-return]
