"""Reward models with random weights: what a forward costs does not depend on what it says."""

import copy

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from guerdon_service.backends.attention import PACKED, register_packed_attention
from guerdon_service.backends.attention_tiles import head_dim_of
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Head, Manifest, Profile

SHAPES: dict[str, PreTrainedConfig] = {
    "Qwen3-0.6B": Qwen3Config(
        vocab_size=151_936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128, max_position_embeddings=40_960,
        tie_word_embeddings=True, pad_token_id=151_643,
    ),
    "Llama-3.1-8B": LlamaConfig(
        vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131_072,
        rms_norm_eps=1e-5, pad_token_id=128_001,
    ),
}  # fmt: skip
"""The configurations of those models, as their `config.json` has them."""

MAX_TOKENS = 4096
"""Of a conversation, and so rows of every forward on CUDA."""


def random_backend(config: PreTrainedConfig, device: str) -> TorchBackend:
    """A bfloat16 back end of a model with this configuration, as it is when it is loaded."""
    return random_backends(config, device)[0]


def random_backends(config: PreTrainedConfig, device: str) -> tuple[TorchBackend, TorchBackend]:
    """Two of one model: as it is loaded, its forwards recorded on CUDA, and with none recorded."""
    model = _random_model(config, device)
    manifest = Manifest(
        "random", "1", (Head("reward", "reward"),), {"default": Profile({"reward": 1.0})}, MAX_TOKENS
    )
    recorded, eager = (TorchBackend.over(model, manifest, "bfloat16", records=r) for r in (True, False))
    return recorded, eager


def _random_model(config: PreTrainedConfig, device: str) -> PreTrainedModel:
    """In bfloat16, its head in fp32."""
    config = copy.deepcopy(config)
    config.num_labels = 1
    register_packed_attention()
    with torch.device(device):
        model = AutoModelForSequenceClassification.from_config(
            config, dtype=torch.bfloat16, attn_implementation=PACKED
        )
    model.eval().requires_grad_(False)
    model.score.float()
    return model  # type: ignore[no-any-return]


def conversations(count: int, length: int, vocab_size: int, seed: int) -> list[Encoded]:
    """Random conversations of `length` tokens, the first half of them prompt."""
    ids = np.random.default_rng(seed).integers(0, vocab_size, (count, length), dtype=np.int32)
    return [Encoded(row, length // 2, truncated=False) for row in ids]


def responses(count: int, prompt: int, response: int, vocab_size: int, seed: int) -> list[Encoded]:
    """Random responses to one random prompt, lengths in tokens."""
    rng = np.random.default_rng(seed)
    shared = rng.integers(0, vocab_size, prompt, dtype=np.int32)
    own = rng.integers(0, vocab_size, (count, response), dtype=np.int32)
    return [Encoded(np.concatenate([shared, row]), prompt, truncated=False) for row in own]


def decoder_flops(config: PreTrainedConfig, lengths: list[int]) -> float:
    """Operations of conversations of these lengths: two a weight and token, and attention's products.

    Embeddings, norms, activations and the head are left out; causal attention counts what is seen.
    """
    head_dim = head_dim_of(config)
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    attention = config.hidden_size * (2 * queries + 2 * keys)
    weights = config.num_hidden_layers * (attention + 3 * config.hidden_size * config.intermediate_size)
    seen = sum(n * (n + 1) / 2 for n in lengths)
    return float(2 * weights * sum(lengths) + 4 * config.num_hidden_layers * queries * seen)
