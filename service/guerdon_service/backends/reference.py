"""The oracle: what `transformers` computes in fp32 for one unpadded sequence at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from guerdon_service.backends.families import head_logits, lift_pooler
from guerdon_service.backends.load import load_reference
from guerdon_service.backends.pooling import pooled_response
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded


def reference_scores(artifact: Artifact, batch: Sequence[Encoded]) -> NDArray[np.float32]:
    """Raw logits float32 [B, H]: the model's own forward, eager attention, no packing of any kind.

    Unless ``manifest.pooling == "model"``, the head reads what the manifest says of the trunk's states.

    Raises:
        InvalidInput: as `load_classifier`.
    """
    model = load_reference(artifact)
    pooling = artifact.manifest.pooling
    if pooling != "model":
        lift_pooler(model)
    scores = []
    with torch.inference_mode():
        for encoded in batch:
            inputs = _inputs(artifact, model.config, encoded)
            if pooling == "model":
                logits = model(**inputs).logits
            else:
                states = model.base_model(**inputs).last_hidden_state[0]
                row = states[-1] if pooling == "last" else pooled_response(states[encoded.prefix_len :])
                logits = head_logits(model, row[None])
            scores.append(logits[0].float().numpy())
    return np.stack(scores)


def _inputs(artifact: Artifact, config: Any, encoded: Encoded) -> dict[str, torch.Tensor]:
    ids = torch.from_numpy(encoded.input_ids.astype(np.int64))[None]
    if artifact.manifest.encoding != "pair" or getattr(config, "type_vocab_size", 0) < 2:
        return {"input_ids": ids}
    types = (torch.arange(ids.shape[1]) >= encoded.prefix_len).long()[None]
    return {"input_ids": ids, "token_type_ids": types}
