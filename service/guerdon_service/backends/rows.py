"""The unpadded-row forward, for attention that packing cannot express: each conversation on its own.

Nothing is padded and nothing is shared, so a score cannot depend on its batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from guerdon_service.backends.families import pool_of
from guerdon_service.backends.packed import inputs_of, pooled_logits
from guerdon_service.backends.pooling import pooled_index, pooled_response
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Manifest


def row_logits(model: PreTrainedModel, manifest: Manifest, batch: Sequence[Encoded]) -> tuple[Tensor, int]:
    """Raw logits fp32 [B, H] of a batch, and the rows computed."""
    rows = torch.stack([_pooled_row(model, manifest, encoded) for encoded in batch])
    return pooled_logits(model, rows), sum(e.num_tokens for e in batch)


def _pooled_row(model: PreTrainedModel, manifest: Manifest, encoded: Encoded) -> Tensor:
    inputs = inputs_of(model, manifest, encoded)
    tensors = {"input_ids": inputs.ids, "position_ids": inputs.positions, "token_type_ids": inputs.types}
    hidden = model.base_model(
        **{k: torch.from_numpy(v)[None].to(model.device) for k, v in tensors.items() if v is not None}
    ).last_hidden_state[0]
    if manifest.pooling == "response":
        return pooled_response(hidden[encoded.prefix_len :])
    index = pooled_index(
        encoded.input_ids, model.config.pad_token_id, pool_of(model.config), manifest.pooling
    )
    return hidden[index].float()  # type: ignore[no-any-return]
