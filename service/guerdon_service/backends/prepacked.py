"""A trunk on CPU with layers made for it in the places of `transformers`' own."""

from typing import Any

import torch
from torch import nn

from guerdon_service.backends.attention import PACKED
from guerdon_service.backends.decoder_layer import DecoderLayer
from guerdon_service.backends.decoder_parts import is_decoder_layer
from guerdon_service.backends.encoder_layer import EncoderLayer, is_encoder_layer, is_exact_gelu
from guerdon_service.backends.native.decoder_layer import TiledDecoderLayer, is_tiled_decoder
from guerdon_service.backends.native.embeddings import TiledEmbeddings, is_tiled_embeddings
from guerdon_service.backends.native.encoder_layer import is_tiled_encoder, tiled_encoder_layer
from guerdon_service.backends.prepacked_linear import linear_of


def prepack(trunk: nn.Module) -> None:
    """Put a layer of our own in the place of each decoder's or encoder's whose attention is packed, by tiles
    where this machine has them, embeddings too, and one of `linear_of` in that of each other linear layer;
    the old weights are freed.

    Layers in a dtype that this machine's oneDNN does not multiply stay as they are.
    """
    dtypes = _dtypes()
    attention = getattr(getattr(trunk, "config", None), "_attn_implementation", None)
    for module in list(trunk.modules()):
        fuses_gelu = _is_gelu_after_dense(module)
        for name, child in list(module.named_children()):
            if attention == PACKED and is_decoder_layer(child, dtypes):
                tiled = is_tiled_decoder(child)
                setattr(module, name, TiledDecoderLayer(child) if tiled else DecoderLayer(child))
            elif attention == PACKED and is_encoder_layer(child, dtypes):
                tiled = is_tiled_encoder(child)
                setattr(module, name, tiled_encoder_layer(child) if tiled else EncoderLayer(child))
            elif attention == PACKED and is_tiled_embeddings(child):
                setattr(module, name, TiledEmbeddings(child))
            elif isinstance(child, nn.Linear) and child.weight.dtype in dtypes:
                fused = fuses_gelu and name == "dense"
                setattr(module, name, linear_of(child, after="gelu" if fused else "none"))
                if fused:
                    module.intermediate_act_fn = nn.Identity()


def _dtypes() -> tuple[torch.dtype, ...]:
    if not torch.backends.mkldnn.is_available():
        return ()
    has_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if has_bf16 else (torch.float32,)


def _is_gelu_after_dense(module: Any) -> bool:
    """BERT's `intermediate`, and its descendants': `intermediate_act_fn(dense(x))` with the exact GELU."""
    return is_exact_gelu(getattr(module, "intermediate_act_fn", None))
