"""Encoders' own layers: which models get them, and what they compute beside `transformers`' own."""

import functools
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedModel

from guerdon_service.backends.attention import PACKED, register_packed_attention
from guerdon_service.backends.encoder_layer import EncoderLayer
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.packed import packed_logits
from guerdon_service.backends.prepacked import prepack
from guerdon_service.core.encoded import Encoded
from tests.backends.artifacts import sequence, tiny_artifact

ARCHS = ("bert", "xlm_roberta")
BATCH = [sequence(n, seed=n) for n in (2, 3, 9, 17, 60, 64, 130, 200)]
DTYPES = (torch.float32, torch.bfloat16)


@functools.cache
def model(arch: str, dtype: torch.dtype, *, prepacked: bool) -> PreTrainedModel:
    loaded = load_classifier(tiny_artifact(arch, 2), dtype, "cpu")
    if prepacked:
        prepack(loaded.base_model)
    return loaded


@torch.inference_mode()
def scored(
    arch: str, dtype: torch.dtype, batch: list[Encoded], num_threads: int = 1, *, prepacked: bool = True
) -> torch.Tensor:
    torch.set_num_threads(num_threads)
    found = model(arch, dtype, prepacked=prepacked)
    return packed_logits(found, tiny_artifact(arch, 2).manifest, batch, None)[0]


@pytest.mark.parametrize("arch", ARCHS)
def test_every_layer_is_replaced(arch: str) -> None:
    loaded = model(arch, torch.float32, prepacked=True)
    layers = [m for m in loaded.base_model.modules() if isinstance(m, EncoderLayer)]
    assert len(layers) == loaded.config.num_hidden_layers
    assert not [m for m in loaded.base_model.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("arch", ARCHS)
def test_scores_are_those_of_the_models_own_layers(arch: str, dtype: torch.dtype, tolerance: float) -> None:
    expected = scored(arch, dtype, BATCH, prepacked=False)
    torch.testing.assert_close(scored(arch, dtype, BATCH), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", ARCHS)
def test_bits_depend_neither_on_threads_nor_on_others(arch: str, dtype: torch.dtype) -> None:
    expected = scored(arch, dtype, BATCH)
    for num_threads in (2, 3, 8):
        assert torch.equal(scored(arch, dtype, BATCH, num_threads), expected), num_threads
    for i in range(len(BATCH)):
        assert torch.equal(scored(arch, dtype, [BATCH[i]])[0], expected[i]), i


def test_layers_with_another_activation_are_left() -> None:
    register_packed_attention()
    small: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    small |= {"num_hidden_layers": 2, "hidden_act": "relu", "attn_implementation": PACKED}
    config = BertConfig(**small)
    trunk = BertModel(config, add_pooling_layer=False).eval()
    prepack(trunk)
    assert not [m for m in trunk.modules() if isinstance(m, EncoderLayer)]
