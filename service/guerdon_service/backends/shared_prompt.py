"""Many responses to one prompt on several threads: the prompt is computed once, then parts of the responses.

Responses see the prompt and never each other, so parts of them need nothing of one another; and a row's bits
are the same in a forward of its own (see `packed`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from guerdon_service.backends.attention_masks import KeysAndValues, PackedMasks
from guerdon_service.backends.layout import Segment, plan_layout
from guerdon_service.backends.packed import packed_inputs, pooled, pooled_logits, trunk_states
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Manifest


@dataclass(frozen=True, slots=True)
class SharedPrompt:
    """A prompt of P tokens after its forward.

    layers: its keys and values [kv_heads, P, head_dim], by layer.
    hidden: [P, hidden], last hidden states.
    computed: rows of the forward.
    """

    layers: dict[nn.Module, KeysAndValues]
    hidden: Tensor
    computed: int


def shared_prompt(model: PreTrainedModel, manifest: Manifest, one: Encoded) -> SharedPrompt:
    """The prompt of a conversation, through a decoder that runs packed."""
    length = one.prefix_len
    layers: dict[nn.Module, KeysAndValues] = {}
    packed = PackedMasks((Segment(0, length),), kept=layers)
    hidden = trunk_states(model, packed_inputs(model, manifest, [one], np.arange(length)), packed, None)
    own = {layer: (key[:, :length], value[:, :length]) for layer, (key, value) in layers.items()}
    return SharedPrompt(own, hidden[:length], len(hidden))


def response_logits(
    model: PreTrainedModel, manifest: Manifest, batch: Sequence[Encoded], prompt: SharedPrompt
) -> tuple[Tensor, int]:
    """Raw logits fp32 [B, H] of conversations that begin with this prompt, and the rows computed for them."""
    layout = plan_layout(batch, split=True)
    first, *responses = layout.segments
    packed = PackedMasks(tuple(responses), earlier=prompt.layers)
    inputs = packed_inputs(model, manifest, batch, layout.source[first.end :])
    hidden = trunk_states(model, inputs, packed, None)
    whole = torch.cat([prompt.hidden, hidden])
    return pooled_logits(model, pooled(model, manifest, batch, layout, whole)), len(hidden)
