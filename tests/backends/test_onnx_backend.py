"""onnxruntime gives what `transformers` gives, with the same bits in any batch."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.backends.onnx_backend import OnnxBackend
from guerdon_service.backends.reference import reference_scores
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from tests.backends.artifacts import sequence, tiny_artifact
from tests.backends.exported import exported
from tests.tiny import ARCHS, MAX_POSITIONS, SLIDING_WINDOW

LENGTHS = (2, 3, 7, SLIDING_WINDOW - 1, SLIDING_WINDOW, SLIDING_WINDOW + 1, 40, 40, 130, MAX_POSITIONS)
BATCH = [sequence(length, seed) for seed, length in enumerate(LENGTHS)]
DTYPES = ("float32", "int8")


@contextmanager
def loaded(artifact: Artifact, dtype: str = "float32", num_threads: int = 1) -> Iterator[OnnxBackend]:
    backend = OnnxBackend.load(artifact, dtype, num_threads=num_threads)
    try:
        yield backend
    finally:
        backend.close()


@pytest.mark.parametrize("arch", ARCHS)
def test_fp32_is_within_1e_4_of_transformers(arch: str) -> None:
    artifact = exported(arch)
    with loaded(artifact) as backend:
        scores, stats = backend.forward(BATCH)
    expected = reference_scores(artifact, BATCH)
    assert scores.dtype == np.float32
    assert scores.shape == (len(BATCH), 2)
    assert np.abs(scores - expected).max() <= 1e-4
    assert np.ptp(expected, axis=0).min() > 0.1  # else anything would be close
    assert stats.num_tokens == stats.num_computed == sum(LENGTHS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", ARCHS)
def test_bits_are_the_same_alone_in_any_batch_and_on_any_number_of_threads(arch: str, dtype: str) -> None:
    with loaded(exported(arch), dtype) as one, loaded(exported(arch), dtype, num_threads=2) as two:
        alone = np.concatenate([one.forward([encoded])[0] for encoded in BATCH])
        assert np.isfinite(alone).all()
        assert one.forward(BATCH)[0].tobytes() == alone.tobytes()
        assert two.forward(BATCH[::-1])[0][::-1].tobytes() == alone.tobytes()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(range(len(BATCH) - 2)), min_size=1, max_size=12))
def test_bits_are_the_same_in_random_mixes(rows: list[int]) -> None:
    for dtype in DTYPES:
        with loaded(exported("bert"), dtype, num_threads=2) as backend:
            mixed, _ = backend.forward([BATCH[i] for i in rows])
            alone = [backend.forward([BATCH[i]])[0][0] for i in rows]
        assert mixed.tobytes() == np.stack(alone).tobytes()


@pytest.mark.parametrize("arch", ARCHS)
def test_int8_keeps_the_order_of_fp32(arch: str) -> None:
    rows = [sequence(length, seed) for seed, length in enumerate(range(10, 60))]
    with loaded(exported(arch)) as fp32, loaded(exported(arch), "int8") as int8:
        scores, rounded = fp32.forward(rows)[0], int8.forward(rows)[0]
    margins = [(s[:, None] - s[None])[np.triu_indices(len(rows), 1)] for s in (scores, rounded)]
    agreement = (np.sign(margins[0]) == np.sign(margins[1])).mean(axis=0)
    assert agreement.min() >= 0.96  # random weights have no structure that would keep errors small
    assert (scores != rounded).any()


@pytest.mark.parametrize("arch", ARCHS)
def test_int8_quantises_the_trunk_per_token_and_leaves_the_head(arch: str) -> None:
    folder = exported(arch).folder / "onnx"
    fp32, int8 = (
        Counter(node.op_type for node in onnx.load(folder / f"{name}.onnx").graph.node)
        for name in ("fp32", "int8")
    )
    assert int8["MatMulNBits"] >= 8
    assert int8["MatMul"] + int8["Gemm"] == fp32["MatMul"] + fp32["Gemm"] - int8["MatMulNBits"]
    assert not {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger"} & set(int8)
    head = onnx.load(folder / "int8.onnx").graph.node[-1]
    assert head.op_type in ("Gemm", "MatMul")


def test_token_types_follow_the_prompt() -> None:
    artifact = exported("bert")
    ids = sequence(20).input_ids
    rows = [Encoded(ids, prefix_len, truncated=False) for prefix_len in (5, 15)]
    with loaded(artifact) as backend:
        scores, _ = backend.forward(rows)
    assert np.abs(scores - reference_scores(artifact, rows)).max() <= 1e-4
    assert (scores[0] != scores[1]).all()


def test_pooling_last_reads_the_eos_that_the_model_takes_for_padding() -> None:
    """Llama's pad token is its EOS here: `model` pools the token before it, `last` the EOS itself."""
    artifact = exported("llama")
    pad = 4
    rows = [Encoded(np.append(sequence(12).input_ids, pad).astype(np.int32), 6, truncated=False)]
    scores = {}
    for pooling in ("model", "last"):
        asked = replace(artifact, manifest=_pooling(artifact.manifest, pooling))
        with loaded(asked) as backend:
            scores[pooling], _ = backend.forward(rows)
        assert np.abs(scores[pooling] - reference_scores(asked, rows)).max() <= 1e-4
    assert (scores["model"] != scores["last"]).all()


def _pooling(manifest: Manifest, pooling: str) -> Manifest:
    return replace(manifest, pooling=pooling)  # type: ignore[arg-type]


def test_mean_pooling_is_baked_into_the_graph(tmp_path: Path) -> None:
    from guerdon_service.app.export_graph import export_graph
    from tests.backends.artifacts import edit_config

    folder = Path(shutil.copytree(tiny_artifact("modernbert", 2).folder, tmp_path / "mean"))
    edit_config(folder, classifier_pooling="mean")
    artifact = replace(exported("modernbert"), folder=folder, base_folder=folder)
    (folder / "onnx").mkdir()
    export_graph(artifact, folder / "onnx" / "fp32.onnx")
    with loaded(artifact) as backend:
        scores, _ = backend.forward(BATCH)
    assert np.abs(scores - reference_scores(artifact, BATCH)).max() <= 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_missing_graph_names_the_command_that_writes_it(dtype: str) -> None:
    name = {"float32": "fp32", "int8": "int8"}[dtype]
    with pytest.raises(InvalidInput, match=rf"no onnx/{name}\.onnx; write it with guerdon export.*{name}"):
        OnnxBackend.load(tiny_artifact("bert"), dtype)


def test_a_damaged_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    graph = (exported("bert").folder / "onnx" / "fp32.onnx").read_bytes()
    (tmp_path / "onnx" / "fp32.onnx").write_bytes(graph[: len(graph) // 2])
    with pytest.raises(InvalidInput, match=r"onnx/fp32\.onnx cannot be loaded"):
        OnnxBackend.load(replace(exported("bert"), folder=tmp_path))


@pytest.mark.parametrize(
    ("dtype", "device", "message"),
    [
        ("bfloat16", "cpu", "dtype is 'bfloat16'; the onnxruntime back end takes float32, int8"),
        ("float32", "tpu", "device is 'tpu'; use cpu or cuda"),
        ("int8", "cuda", "dtype int8 .* runs on cpu"),
        ("float32", "cuda", r"CUDA provider; pip install 'guerdon\[gpu\]'"),
    ],
)
def test_what_it_cannot_do_is_refused(dtype: str, device: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        OnnxBackend.load(exported("bert"), dtype, device)


def test_more_tokens_than_there_are_positions_are_refused() -> None:
    artifact = exported("bert")
    with pytest.raises(InvalidInput, match=f"positions for {MAX_POSITIONS}") as caught:
        OnnxBackend.load(replace(artifact, manifest=replace(artifact.manifest, max_tokens=MAX_POSITIONS + 1)))
    assert caught.value.param == "manifest.max_tokens"
