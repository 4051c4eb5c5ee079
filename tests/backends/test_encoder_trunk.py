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
from guerdon_service.backends.native.int8_layer import tiled_int8_layer
from guerdon_service.backends.packed import Inputs, model_rows, run_trunk
from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.threads import on_threads
from guerdon_service.backends.torch_backend import TorchBackend
from tests.backends.artifacts import sequence, tiny_artifact
from tests.backends.exported import ranged
from tests.backends.tiles import SIZES, needs_tiles

pytestmark = needs_tiles
CONFIGS = {
    "bert": BertConfig(**SIZES, num_hidden_layers=3),
    "xlm-roberta": XLMRobertaConfig(**SIZES, num_hidden_layers=2, type_vocab_size=1),
}
LENGTHS = (5, 40, 64, 300)
SEGMENTS = (Segment(0, 5), Segment(5, 45), Segment(45, 109), Segment(109, 409))


def made(config: BertConfig | XLMRobertaConfig) -> Any:
    """Random, in bf16."""
    register_packed_attention()
    torch.manual_seed(0)
    model = AutoModel.from_config(config, attn_implementation=PACKED).eval().bfloat16()
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "LayerNorm.weight")):  # zeros and ones, as they begin, would tell nothing
            parameter.data.normal_(1.0 if "weight" in name else 0.0, 0.3)
    return model


def trunk_of(model: Any) -> EncoderTrunk:
    """A prepacked model's, which has one."""
    trunk = encoder_trunk(model)
    assert trunk is not None
    return trunk


def prepacked(config: BertConfig | XLMRobertaConfig) -> Any:
    """As `made`, with layers for this machine."""
    model = made(config)
    prepack(model)
    return model


def inputs(types: bool = True) -> Inputs:
    rng = np.random.default_rng(0)
    positions = np.concatenate([np.arange(n) for n in LENGTHS]) + 2
    kinds = rng.integers(0, 2, sum(LENGTHS)) if types else None
    return Inputs(rng.integers(0, 50, sum(LENGTHS)), positions, kinds)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("arch", CONFIGS)
def test_one_call_gives_the_bits_of_the_modules(arch: str, num_threads: int) -> None:
    model, asked = prepacked(CONFIGS[arch]), inputs(types=arch == "bert")
    trunk = trunk_of(model)
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
    asked = {name: torch.from_numpy(row) for name, row in model_rows(inputs(types), 416).items()}
    with torch.inference_mode():
        found, expected = TiledEmbeddings(own)(**asked), exact(**asked)
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=2**-8)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda i: replace(i, ids=i.ids + 1), "has 50 rows and 50 was"),
        (lambda i: replace(i, ids=i.ids - 1), "has 50 rows and -1 was"),
        (lambda i: replace(i, positions=i.positions + 500), "has 512 rows and 801 was"),
        (lambda i: replace(i, types=i.types + 1), "has 2 rows and 2 was"),
    ],
)
def test_what_no_table_has_is_an_error_and_no_score(spoil: Callable[[Inputs], Inputs], said: str) -> None:
    trunk = trunk_of(prepacked(CONFIGS["bert"]))
    with on_threads(1), pytest.raises(IndexError, match=said):
        trunk(spoil(inputs()), SEGMENTS)


def test_a_table_of_types_without_rows_is_an_error_where_all_are_0() -> None:
    trunk = trunk_of(prepacked(BertConfig(**SIZES, num_hidden_layers=1, type_vocab_size=0)))
    with on_threads(1), pytest.raises(IndexError, match="has 0 rows and 0 was"):
        trunk(inputs(types=False), SEGMENTS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda i: replace(i, ids=np.repeat(i.ids, 2)[::2]),
        lambda i: replace(i, positions=i.positions.astype(np.int32)),
        lambda i: replace(i, types=i.types[1:]),
    ],
)
def test_numbers_that_do_not_lie_as_they_are_read_are_refused(spoil: Callable[[Inputs], Inputs]) -> None:
    trunk = trunk_of(prepacked(CONFIGS["bert"]))
    with on_threads(1), pytest.raises(AssertionError):
        trunk(spoil(inputs()), SEGMENTS)


@pytest.mark.parametrize("as_int8", [False, True])
def test_what_is_not_a_number_stays_and_spoils_no_other_conversation(as_int8: bool) -> None:
    model, asked = made(CONFIGS["bert"]), inputs()
    asked.ids[asked.ids == 7] = 8
    if as_int8:
        in_int8(model.float())
    else:
        prepack(model)
    trunk = trunk_of(model)
    with torch.inference_mode(), on_threads(1):
        sound = trunk(asked, SEGMENTS)
        model.embeddings._tables[0][7] = torch.nan
        asked.ids[60] = 7
        found = trunk(asked, SEGMENTS)
    assert sound is not None
    assert found is not None
    its = slice(SEGMENTS[2].start, SEGMENTS[2].end)
    assert found[60].isnan().all()
    assert torch.equal(found[: its.start], sound[: its.start])
    assert torch.equal(found[its.stop :], sound[its.stop :])


def in_int8(model: Any) -> None:
    """As `load_int8`, with ranges that are none of anything measured."""
    size, inner = SIZES["hidden_size"], SIZES["intermediate_size"]
    spans = {"hidden": (size, 3.0), "context": (size, 1.0), "middle": (size, 3.0), "active": (inner, 2.0)}
    ranges = {name: torch.tensor([[-most], [most]]).repeat(1, n) for name, (n, most) in spans.items()}
    for i, layer in enumerate(model.encoder.layer):
        model.encoder.layer[i] = tiled_int8_layer(layer, ranges)
    model.embeddings = TiledEmbeddings(model.embeddings)


def test_other_trunks_and_threads_are_left_to_the_modules() -> None:
    assert encoder_trunk(made(CONFIGS["bert"])) is None, "not prepacked"
    narrow = prepacked(BertConfig(**SIZES | {"num_attention_heads": 6}, num_hidden_layers=1))
    assert encoder_trunk(narrow) is None, "heads of 16 columns are padded"
    # transformers lets `embedding_size` pass heads that leave columns over: nothing would write those
    sizes = SIZES | {"hidden_size": 1088, "num_attention_heads": 33, "embedding_size": 1088}
    fewer = prepacked(BertConfig(**sizes, num_hidden_layers=1))
    assert encoder_trunk(fewer) is None, "heads do not make up the hidden size"
    with on_threads(2):
        assert trunk_of(prepacked(CONFIGS["bert"]))(inputs(), SEGMENTS) is None


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
