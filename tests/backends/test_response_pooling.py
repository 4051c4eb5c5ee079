"""`pooling: response` and `num_layers`: right, pure, and the same in every forward."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from guerdon_service.app.export_graph import export_graph
from guerdon_service.backends.onnx_backend import OnnxBackend
from guerdon_service.backends.pooling import pooled_response
from guerdon_service.backends.reference import reference_scores
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import RESPONSE_MAX_WEIGHT
from tests.backends.artifacts import answers, sequence, tiny_artifact
from tests.tiny import DECODERS, tiny

ARCHS = ("bert", "deberta_v2", "modernbert", "llama")
BATCH = [sequence(n, seed=n) for n in (2, 7, 8, 33, 130)] + answers(40, (1, 5, 30, 200))


def scored(artifact: Artifact, batch: list[Encoded], dtype: str = "float32") -> np.ndarray:
    backend = TorchBackend.load(artifact, dtype=dtype)
    try:
        return backend.forward(batch)[0]
    finally:
        backend.close()


def test_it_is_the_mean_and_half_the_maximum_of_each_channel() -> None:
    states = torch.tensor([[1.0, -4.0], [3.0, -2.0]], dtype=torch.bfloat16)
    weight = RESPONSE_MAX_WEIGHT
    assert pooled_response(states).tolist() == [2.0 + weight * 3.0, -3.0 - weight * 2.0]
    assert pooled_response(states).dtype == torch.float32


def test_bert_reads_the_response_and_nothing_else() -> None:
    """By hand: the whole model of `transformers`, its pooler and classifier on the pooled states."""
    artifact = tiny_artifact("bert", 2, pooling="response")
    model = AutoModelForSequenceClassification.from_pretrained(tiny("bert", num_labels=2)).eval()
    encoded = sequence(20, 3)
    types = (torch.arange(20) >= encoded.prefix_len).long()[None]
    with torch.inference_mode():
        states = model.bert(torch.from_numpy(encoded.input_ids.astype(np.int64))[None], token_type_ids=types)
        response = states.last_hidden_state[0, encoded.prefix_len :]
        row = response.mean(0) + RESPONSE_MAX_WEIGHT * response.amax(0)
        expected = model.classifier(model.bert.pooler(row[None, None]))
    np.testing.assert_allclose(scored(artifact, [encoded]), expected, atol=1e-5)
    np.testing.assert_allclose(reference_scores(artifact, [encoded]), expected, atol=1e-5)


@pytest.mark.parametrize("arch", ARCHS)
def test_every_forward_agrees_with_the_reference(arch: str) -> None:
    artifact = tiny_artifact(arch, 2, pooling="response")
    expected = reference_scores(artifact, BATCH)
    np.testing.assert_allclose(scored(artifact, BATCH), expected, atol=1e-5)
    assert np.abs(expected - reference_scores(tiny_artifact(arch, 2), BATCH)).max() > 1e-2


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("arch", ARCHS)
def test_alone_packed_and_permuted_are_equal_bits(arch: str, dtype: str, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    backend = TorchBackend.load(tiny_artifact(arch, 2, pooling="response"), dtype=dtype)
    singles = [backend.forward([encoded])[0].tobytes() for encoded in BATCH]
    assert [row.tobytes() for row in backend.forward(BATCH)[0]] == singles
    assert [row.tobytes() for row in backend.forward(BATCH[::-1])[0]] == singles[::-1]
    assert len(set(singles)) == len(BATCH)
    backend.close()


@pytest.mark.parametrize("arch", ["bert", "llama"])
def test_the_exported_graph_agrees(arch: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny(arch, num_labels=2), tmp_path / "model"))
    artifact = replace(
        tiny_artifact(arch, 2, pooling="response", num_layers=1), folder=folder, base_folder=folder
    )
    (folder / "onnx").mkdir()
    export_graph(artifact, folder / "onnx" / "fp32.onnx")
    backend = OnnxBackend.load(artifact, num_threads=1)
    scores, _ = backend.forward(BATCH)
    backend.close()
    np.testing.assert_allclose(scores, reference_scores(artifact, BATCH), atol=1e-4)


@pytest.mark.parametrize("arch", ["bert", "modernbert", "qwen2", "gemma3"])
def test_a_trunk_of_one_layer(arch: str) -> None:
    """The states after layer one, as the whole model shows them, are what the head reads."""
    one, whole = tiny_artifact(arch, num_layers=1), tiny_artifact(arch)
    np.testing.assert_allclose(scored(one, BATCH), reference_scores(one, BATCH), atol=1e-5)
    assert np.abs(scored(one, BATCH) - scored(whole, BATCH)).max() > 1e-3
    backend = TorchBackend.load(one)
    assert backend._model is not None
    assert backend._model.config.num_hidden_layers == 1
    backend.close()


@pytest.mark.parametrize("arch", ["bert", *DECODERS[:1]])
def test_more_layers_than_the_base_has_are_refused(arch: str) -> None:
    with pytest.raises(InvalidInput, match="num_layers is 99, but the base has"):
        TorchBackend.load(tiny_artifact(arch, num_layers=99))
