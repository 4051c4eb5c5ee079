"""A BERT-like encoder in two parts: frozen lower layers that run once, upper layers that train."""

import functools
import platform
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.nn.functional import scaled_dot_product_attention

from guerdon_service.core.manifest import Pooling
from guerdon_training.encode import PairTokens
from guerdon_training.forward import collate, row_batches
from guerdon_training.pooled import pooled_responses

KEPT_IN = torch.bfloat16
"""What states of frozen layers are kept in; its rounding is far below the noise of the labels."""


@dataclass(frozen=True, slots=True)
class LowerStates:
    """What the frozen layers make of one row: [T, D]; its response begins at `prefix_len`."""

    hidden: Tensor
    prefix_len: int

    def __len__(self) -> int:
        return self.hidden.shape[0]


class SplitEncoder:
    """Lower layers' outputs of given rows, kept, and the forward from there on.

    Whatever is *measured* or served goes through the whole model in float32 instead.

    Args:
        model: ``*ForSequenceClassification`` (no PEFT wrapper) whose layers below `first_layer` are frozen;
            None: all of them; -1: all but the last, of which `features` then runs the pooled tokens alone.
        dtype: of the kept outputs and, where the CPU multiplies it, of the matrix products. bfloat16 halves
            the time there, and its rounding is far below the noise of the labels.
    """

    def __init__(
        self,
        model: Any,
        first_layer: int | None,
        pad_token_id: int,
        dtype: torch.dtype = KEPT_IN,
        pooling: Pooling = "model",
    ) -> None:
        self.dtype = dtype
        self._products = dtype if has_native_bf16() else torch.float32
        self._model = model
        self._encoder = model.base_model
        layers = [_kept_in(layer, self._products) for layer in model.base_model.encoder.layer]
        self._frozen = layers[:first_layer]
        self._trained = layers[len(self._frozen) :]
        self._pad_token_id = pad_token_id
        self._pooling = pooling
        self._some_tokens = functools.partial(_some_tokens, layers[-1])

    def shard(self, mesh: DeviceMesh) -> None:
        """Leave each process of `mesh` its part of whatever trains; a layer gathers itself while it runs.

        The frozen ones, which run once, stay whole.
        """
        for module in (*self._trained, self._encoder.pooler, self._model.classifier):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        for layer in self._trained[-1:]:
            layer.some_tokens = MethodType(_some_tokens, layer)
            register_fsdp_forward_method(layer, "some_tokens")
            self._some_tokens = layer.some_tokens

    def lower(self, tokens: Sequence[PairTokens], max_batch_tokens: int, label: str) -> list[LowerStates]:
        """States below `first_layer`, row by row."""
        states = [LowerStates(torch.empty(0), t.prefix_len) for t in tokens]
        for batch, found in row_batches(self._lower, tokens, max_batch_tokens, label):
            for i, state in zip(batch, found, strict=True):
                states[i] = LowerStates(state.hidden.clone(), state.prefix_len)
        return states

    def all_features(self, tokens: Sequence[PairTokens], max_batch_tokens: int, label: str) -> Tensor:
        """`features` of many rows, from their tokens: float32 [R, D], without gradient."""
        features = torch.empty(len(tokens), self._model.classifier.in_features)
        for batch, found in row_batches(self._features, tokens, max_batch_tokens, label):
            features[batch] = found
        return features

    @torch.inference_mode()
    def _lower(self, tokens: Sequence[PairTokens]) -> list[LowerStates]:
        """States of one batch, as views of what is computed."""
        inputs = collate(tokens, self._pad_token_id)
        mask = inputs.pop("attention_mask")[:, None, None, :].bool()
        with self._autocast():
            hidden = self._encoder.embeddings(**inputs)
            for layer in self._frozen:
                hidden = layer(hidden, mask)
        rows = hidden.to(self.dtype)
        return [LowerStates(r[: len(t.input_ids)], t.prefix_len) for r, t in zip(rows, tokens, strict=True)]

    @torch.inference_mode()
    def _features(self, tokens: Sequence[PairTokens]) -> Tensor:
        """`features` of one batch."""
        return self.features(self._lower(tokens))

    def upper(self, states: Sequence[LowerStates]) -> Tensor:
        """Head outputs of rows given by their lower states: float32 [B, H], with gradient."""
        logits: Tensor = self._model.classifier(self.features(states))
        return logits

    def features(self, states: Sequence[LowerStates]) -> Tensor:
        """What the head reads of these rows: float32 [B, D], with gradient.

        The last layer runs for the pooled tokens alone; of the others it needs keys and values.
        """
        hidden, real = _padded([s.hidden for s in states])
        mask = real[:, None, None, :]
        starts = [s.prefix_len if self._pooling == "response" else 0 for s in states]
        ends = [len(s) if self._pooling == "response" else 1 for s in states]
        with self._autocast():
            for layer in self._trained[:-1]:
                hidden = layer(hidden, mask)
            pooled, kept = _padded([h[a:b] for h, a, b in zip(hidden, starts, ends, strict=True)])
            if self._trained:
                pooled = self._some_tokens(pooled, hidden, mask)
        pooled = pooled.float()
        if self._pooling == "response":
            pooled = pooled_responses(pooled, kept)[:, None]
        features: Tensor = self._encoder.pooler(pooled)
        return features

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._products == torch.bfloat16)


@functools.cache
def has_native_bf16() -> bool:
    """Whether this CPU multiplies bf16 itself; imitated, it takes longer than float32.

    As the service's back ends ask, which training does not import.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported()
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _kept_in(layer: Any, dtype: torch.dtype) -> Any:
    """The layer, or where none of it trains a copy with its matrices in `dtype`: autocast would cast them for
    each batch.
    """
    if dtype == torch.float32 or any(p.requires_grad for p in layer.parameters()):
        return layer
    copied = deepcopy(layer)
    for module in copied.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
    return copied


def _padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows [T_i, D] side by side: float32 [B, T, D], and where they are: bool [B, T]."""
    padded = torch.nn.utils.rnn.pad_sequence([row.float() for row in rows], batch_first=True)
    lengths = torch.tensor([row.shape[0] for row in rows])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]


def _some_tokens(layer: Any, queries: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
    """Output [B, Q, D] of a BERT layer for some of its tokens.

    Args:
        queries: [B, Q, D], the layer's input at these tokens. hidden: [B, T, D], at all of them.
    """
    attention = layer.attention.self

    def split(states: Tensor) -> Tensor:
        heads: Tensor = states.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
        return heads

    query, key, value = attention.query(queries), attention.key(hidden), attention.value(hidden)
    context = scaled_dot_product_attention(split(query), split(key), split(value), attn_mask=mask)
    found = layer.attention.output(context.transpose(1, 2).flatten(2), queries)
    output: Tensor = layer.output(layer.intermediate(found), found)
    return output
