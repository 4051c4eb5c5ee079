"""A classifier whose head reads what the manifest's `pooling` says, as the service's back ends do."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from guerdon_service.core.manifest import RESPONSE_MAX_WEIGHT, Pooling


class Pooled(nn.Module):
    """Whole-model forward for measuring: called like the classifier that it wraps.

    Args:
        model: ``BertForSequenceClassification``, bare or with adapters.
    """

    def __init__(self, model: Any, pooling: Pooling) -> None:
        super().__init__()
        self._model = model
        self._pooling = pooling

    def forward(self, **inputs: Tensor) -> SequenceClassifierOutput:
        """`logits` [B, H] of the rows of `forward.collate`."""
        if self._pooling == "model":
            return self._model(**inputs)  # type: ignore[no-any-return]
        model = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        states = model.base_model(**inputs).last_hidden_state
        rows = pooled_responses(states, inputs["token_type_ids"].bool())
        return SequenceClassifierOutput(logits=model.classifier(model.base_model.pooler(rows[:, None])))


def pooled_responses(states: Tensor, of_response: Tensor) -> Tensor:
    """Pooled rows [B, D] of ``pooling: response``: the mean plus `RESPONSE_MAX_WEIGHT` of the maximum.

    Args:
        states: [B, T, D]. of_response: bool [B, T], at least one in each row.
    """
    kept = of_response.unsqueeze(-1)
    mean = states.masked_fill(~kept, 0.0).sum(1) / kept.sum(1)
    maximum = states.masked_fill(~kept, -torch.inf).amax(1)
    return mean + RESPONSE_MAX_WEIGHT * maximum
