"""A whole encoder in one call on AMX: what its modules compute one by one, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig
from transformers.models.xlm_roberta import XLMRobertaConfig

from guerdon_service.backends import torch_backend
from guerdon_service.backends.attention import PACKED, register_packed_attention
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.layout import Segment
from guerdon_service.backends.native.embeddings import TiledEmbeddings
from guerdon_service.backends.native.encoder_trunk import EncoderTrunk, encoder_trunk
from guerdon_service.backends.packed import Inputs, model_rows, run_trunk
from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.threads import on_threads
from guerdon_service.backends.torch_backend import TorchBackend
from tests.backends.artifacts import sequence, tiny_artifact
from tests.backends.exported import ranged
from tests.backends.tiles import needs_tiles

pytestmark = needs_tiles
SIZES: dict[str, Any] = {
    "hidden_size": 96,
    "num_attention_heads": 3,
    "intermediate_size": 160,
    "vocab_size": 50,
}
CONFIGS = {
    "bert": BertConfig(**SIZES, num_hidden_layers=3),
    "xlm-roberta": XLMRobertaConfig(**SIZES, num_hidden_layers=2, type_vocab_size=1),
}
LENGTHS = (5, 40, 64, 300)
SEGMENTS = (Segment(0, 5), Segment(5, 45), Segment(45, 109), Segment(109, 409))


def made(config: BertConfig | XLMRobertaConfig) -> Any:
    """Random, in bf16, with layers for this machine."""
    register_packed_attention()
    torch.manual_seed(0)
    model = AutoModel.from_config(config, attn_implementation=PACKED).eval().bfloat16()
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "LayerNorm.weight")):  # zeros and ones, as they begin, would tell nothing
            parameter.data.normal_(1.0 if "weight" in name else 0.0, 0.3)
    return model


def inputs(types: bool = True) -> Inputs:
    rng = np.random.default_rng(0)
    positions = np.concatenate([np.arange(n) for n in LENGTHS]) + 2
    kinds = rng.integers(0, 2, sum(LENGTHS)) if types else None
    return Inputs(rng.integers(0, 50, sum(LENGTHS)), positions, kinds)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("arch", CONFIGS)
def test_one_call_gives_the_bits_of_the_modules(arch: str, num_threads: int) -> None:
    model, asked = made(CONFIGS[arch]), inputs(types=arch == "bert")
    prepack(model)
    trunk = encoder_trunk(model)
    assert trunk is not None
    with torch.inference_mode(), on_threads(1):
        found = trunk(asked, SEGMENTS)
        assert found is not None
        with on_threads(num_threads):
            rows = {name: torch.from_numpy(row) for name, row in model_rows(asked, len(asked.ids)).items()}
            assert torch.equal(found, run_trunk(model, rows, PackedMasks(SEGMENTS)))
        for segment in SEGMENTS:
            own = slice(segment.start, segment.end)
            kinds = None if asked.types is None else asked.types[own].copy()
            alone = Inputs(asked.ids[own].copy(), asked.positions[own].copy(), kinds)
            lone = trunk(alone, (Segment(0, segment.end - segment.start),))
            assert lone is not None
            assert torch.equal(lone, found[own])


@pytest.mark.parametrize("types", [True, False])
def test_embeddings_are_those_of_transformers(types: bool) -> None:
    own = made(CONFIGS["bert"]).embeddings
    exact = made(CONFIGS["bert"]).embeddings.double()
    asked = {
        name.replace("ids", "ids"): torch.from_numpy(row)
        for name, row in model_rows(inputs(types), 416).items()
    }
    with torch.inference_mode():
        found, expected = TiledEmbeddings(own)(**asked), exact(**asked)
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=2**-8)


@pytest.mark.parametrize(
    ("spoil", "rows"),
    [
        (lambda i: replace(i, ids=i.ids + 1), 50),
        (lambda i: replace(i, ids=i.ids - 1), 50),
        (lambda i: replace(i, positions=i.positions + 500), 512),
        (lambda i: replace(i, types=i.types + 1), 2),
    ],
)
def test_what_no_table_has_is_an_error_and_no_score(spoil: Callable[[Inputs], Inputs], rows: int) -> None:
    model = made(CONFIGS["bert"])
    prepack(model)
    trunk = encoder_trunk(model)
    assert trunk is not None
    with on_threads(1), pytest.raises(IndexError, match=f"has {rows} rows"):
        trunk(spoil(inputs()), SEGMENTS)


def test_other_trunks_and_threads_are_left_to_the_modules() -> None:
    assert encoder_trunk(made(CONFIGS["bert"])) is None, "not prepacked"
    narrow = made(BertConfig(**SIZES | {"num_attention_heads": 6}, num_hidden_layers=1))
    prepack(narrow)
    assert encoder_trunk(narrow) is None, "heads of 16 columns are padded"
    model = made(CONFIGS["bert"])
    prepack(model)
    trunk = encoder_trunk(model)
    with on_threads(2):
        assert trunk is not None
        assert trunk(inputs(), SEGMENTS) is None


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_back_end_scores_by_it_and_as_without(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = ranged("bert") if dtype == "int8" else tiny_artifact("bert")
    batch = [sequence(n, seed=n) for n in (2, 9, 33, 130)]
    calls = []
    call = EncoderTrunk.__call__

    def counted(*args: Any) -> Any:
        calls.append(args)
        return call(*args)

    monkeypatch.setattr(EncoderTrunk, "__call__", counted)
    scores = TorchBackend.load(artifact, dtype).forward(batch)[0]
    assert calls
    monkeypatch.setattr(torch_backend, "encoder_trunk", lambda trunk: None)
    assert TorchBackend.load(artifact, dtype).forward(batch)[0].tobytes() == scores.tobytes()
