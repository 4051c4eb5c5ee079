"""A BERT-like encoder in two parts: frozen lower layers that run once, upper layers that train."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from tqdm import tqdm

from guerdon_training.encode import PairTokens
from guerdon_training.forward import by_budget, collate


class SplitEncoder:
    """Lower layers' outputs of given rows, kept, and the forward from there on.

    Whatever is *measured* or served goes through the whole model in float32 instead.

    Args:
        model: ``*ForSequenceClassification`` (no PEFT wrapper) whose layers below `first_layer` are frozen.
        dtype: of the matrix products and the kept outputs. bfloat16 halves the time on a CPU, and its
            rounding is far below the noise of the labels.
    """

    def __init__(
        self, model: Any, first_layer: int, pad_token_id: int, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        self._dtype = dtype
        self._model = model
        self._encoder = model.base_model
        self._first_layer = first_layer
        self._pad_token_id = pad_token_id

    @torch.inference_mode()
    def lower(self, tokens: Sequence[PairTokens], max_batch_tokens: int, label: str) -> list[Tensor]:
        """States below `first_layer`: one [T_i, D] per row."""
        lengths = [len(t.input_ids) for t in tokens]
        order = sorted(range(len(tokens)), key=lengths.__getitem__)
        states: list[Tensor] = [torch.empty(0)] * len(tokens)
        with tqdm(total=len(tokens), desc=label, unit="row") as progress, self._autocast():
            for batch in by_budget(lengths, order, max_batch_tokens):
                inputs = collate([tokens[i] for i in batch], self._pad_token_id)
                mask = inputs.pop("attention_mask")[:, None, None, :].bool()
                hidden = self._encoder.embeddings(**inputs)
                for layer in self._encoder.encoder.layer[: self._first_layer]:
                    hidden = layer(hidden, mask)
                for i, row in zip(batch, hidden.to(self._dtype), strict=True):
                    states[i] = row[: lengths[i]].clone()
                progress.update(len(batch))
        return states

    def upper(self, states: Sequence[Tensor]) -> Tensor:
        """Head outputs of rows given by their lower states: float32 [B, H], with gradient."""
        width = max(s.shape[0] for s in states)
        hidden = states[0].new_zeros((len(states), width, states[0].shape[1]), dtype=torch.float32)
        mask = torch.zeros((len(states), 1, 1, width), dtype=torch.bool)
        for i, state in enumerate(states):
            hidden[i, : state.shape[0]] = state
            mask[i, ..., : state.shape[0]] = True
        with self._autocast():
            for layer in self._encoder.encoder.layer[self._first_layer : -1]:
                hidden = layer(hidden, mask)
            first = _first_token(self._encoder.encoder.layer[-1], hidden, mask)
            logits: Tensor = self._model.classifier(self._encoder.pooler(first))
        return logits.float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._dtype == torch.bfloat16)


def _first_token(layer: Any, hidden: Tensor, mask: Tensor) -> Tensor:
    """Output of a BERT layer for the first token alone, the one that is pooled: [B, 1, D].

    Only keys and values are needed of the others, a sixth of the layer's arithmetic.
    """
    attention = layer.attention.self

    def split(states: Tensor) -> Tensor:
        heads: Tensor = states.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
        return heads

    first = hidden[:, :1]
    query, key, value = attention.query(first), attention.key(hidden), attention.value(hidden)
    context = scaled_dot_product_attention(split(query), split(key), split(value), attn_mask=mask)
    first = layer.attention.output(context.transpose(1, 2).flatten(2), first)
    output: Tensor = layer.output(layer.intermediate(first), first)
    return output
