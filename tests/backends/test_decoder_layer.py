"""Decoders' own layers: which models get them, and their bits on any number of threads."""

import functools

import pytest
import torch
from transformers import PreTrainedModel

from guerdon_service.backends.decoder_layer import DecoderLayer
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.packed import packed_logits
from guerdon_service.backends.prepacked import prepack
from guerdon_service.core.encoded import Encoded
from tests.backends.artifacts import answers, sequence, tiny_artifact
from tests.tiny import DECODERS

BATCH = [sequence(n, seed=n) for n in (2, 3, 9, 17, 64, 130, 300)]
BATCH += [*answers(200, (1, 2, 3, 7, 40)), sequence(420, 1, prefix_len=30)]


@functools.cache
def model(arch: str, dtype: torch.dtype) -> PreTrainedModel:
    loaded = load_classifier(tiny_artifact(arch, 2), dtype, "cpu")
    prepack(loaded.base_model)
    return loaded


@torch.inference_mode()
def scored(arch: str, dtype: torch.dtype, batch: list[Encoded], num_threads: int) -> torch.Tensor:
    torch.set_num_threads(num_threads)
    return packed_logits(model(arch, dtype), tiny_artifact(arch, 2).manifest, batch, None)[0]


@pytest.mark.parametrize("arch", DECODERS)
def test_every_layer_of_every_decoder_is_replaced(arch: str) -> None:
    loaded = model(arch, torch.float32)
    layers = [m for m in loaded.base_model.modules() if isinstance(m, DecoderLayer)]
    assert len(layers) == loaded.config.num_hidden_layers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("arch", DECODERS)
def test_bits_are_the_same_on_any_number_of_threads(arch: str, dtype: torch.dtype) -> None:
    expected = scored(arch, dtype, BATCH, 1)
    for num_threads in (2, 3, 8):
        assert torch.equal(scored(arch, dtype, BATCH, num_threads), expected), num_threads
    for i in (0, 1, 6, 7, 9, 12):
        for num_threads in (1, 8):
            assert torch.equal(scored(arch, dtype, [BATCH[i]], num_threads)[0], expected[i]), (i, num_threads)
