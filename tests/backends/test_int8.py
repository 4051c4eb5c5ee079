"""Encoders in int8: near to fp32, in its order, and as pure; or a clear refusal."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from guerdon_service.app.export_ranges import measure_ranges
from guerdon_service.backends import native_bf16
from guerdon_service.backends.int8_linear import zero_point
from guerdon_service.backends.int8_ranges import FILE, write_ranges
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from tests.backends.artifacts import edit_config, sequence, sha256_of, tiny_artifact
from tests.backends.exported import ranged
from tests.tiny import tiny

ARCHS = ("bert", "xlm_roberta")
LENGTHS = (2, 3, 7, 8, 9, 15, 16, 17, 33, 64, 130, 257)
MIX = [sequence(n, seed=n) for n in LENGTHS]


@functools.cache
def backend(arch: str) -> TorchBackend:
    return TorchBackend.load(ranged(arch), "int8")


@functools.cache
def alone(arch: str, i: int) -> bytes:
    return backend(arch).forward([MIX[i]])[0].tobytes()


@pytest.mark.parametrize("bits", ["as this machine's", "an old one's"])
@pytest.mark.parametrize("arch", ARCHS)
def test_int8_is_near_fp32_and_keeps_its_order(arch: str, bits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if bits == "an old one's":
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
        monkeypatch.setattr(native_bf16, "has_native_bf16", lambda: False)
    rows = [sequence(n, seed=7) for n in range(5, 125, 3)]
    expected = TorchBackend.load(ranged(arch)).forward(rows)[0]
    found = TorchBackend.load(ranged(arch), "int8").forward(rows)[0]
    assert np.abs(found - expected).max() <= 0.1 * np.ptp(expected)
    for head in range(2):
        a, b = (np.sign(s[:, None, head] - s[None, :, head]) for s in (expected, found))
        assert (a == b).mean() >= (0.98 if zero_point() == 128 else 0.97)


@pytest.mark.parametrize("arch", ARCHS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_mix_leaves_every_score_alone(arch: str, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(MIX) - 1), min_size=1, max_size=8))
    strangers = data.draw(st.lists(st.tuples(st.integers(2, 200), st.integers(0, 99)), max_size=4))
    batch = [MIX[i] for i in chosen] + [sequence(n, seed) for n, seed in strangers]
    order = data.draw(st.permutations(range(len(batch))))
    scored = backend(arch).forward([batch[i] for i in order])[0]
    for place, i in enumerate(order):
        if i < len(chosen):
            assert scored[place].tobytes() == alone(arch, chosen[i])


@pytest.mark.parametrize("num_threads", [2, 3])
@pytest.mark.parametrize("arch", ARCHS)
def test_threads_change_no_bit(arch: str, num_threads: int) -> None:
    singles = [alone(arch, i) for i in range(len(MIX))]
    assert len(set(singles)) == len(MIX), "different conversations must not all score the same"
    torch.set_num_threads(num_threads)
    loaded = TorchBackend.load(ranged(arch), "int8")
    assert [row.tobytes() for row in loaded.forward(MIX)[0]] == singles
    assert [loaded.forward([encoded])[0].tobytes() for encoded in MIX] == singles
    loaded.close()


def test_an_inner_channel_that_is_large_in_one_token_does_not_take_the_scale(tmp_path: Path) -> None:
    """A bias makes one channel 40 times as large as the others; its outgoing weights are small."""
    artifact = copied("bert", tmp_path)
    weights = load_file(artifact.base_folder / "model.safetensors")
    for name, tensor in weights.items():
        if name.endswith("intermediate.dense.bias"):
            tensor[3] = 40.0
        if name.endswith("output.dense.weight") and "attention" not in name:
            tensor[:, 3] *= 1e-2
    save_file(weights, artifact.base_folder / "model.safetensors", metadata={"format": "pt"})
    artifact = reread(artifact)
    measured(artifact)
    expected = TorchBackend.load(artifact).forward(MIX)[0]
    found = TorchBackend.load(artifact, "int8").forward(MIX)[0]
    assert np.abs(found - expected).max() <= 0.03 * np.ptp(expected)


def other_weights(artifact: Artifact) -> None:
    file = artifact.base_folder / "model.safetensors"
    save_file({n: t * 1.01 for n, t in load_file(file).items()}, file, metadata={"format": "pt"})


def truncated(artifact: Artifact) -> None:
    path = artifact.folder / FILE
    path.write_bytes(path.read_bytes()[:100])


def too_narrow(artifact: Artifact) -> None:
    path = artifact.folder / FILE
    save_file({n: t[:, :-1].clone() for n, t in load_file(path).items()}, path)


def of_fewer_layers(artifact: Artifact) -> None:
    path = artifact.folder / FILE
    save_file({n: t for n, t in load_file(path).items() if n.startswith("0.")}, path)


def not_a_number(artifact: Artifact) -> None:
    path = artifact.folder / FILE
    save_file({n: t * torch.nan for n, t in load_file(path).items()}, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: (a.folder / FILE).unlink(), "has no torch/int8.safetensors"),
        (other_weights, "was measured on other weights"),
        (truncated, "cannot be read"),
        (too_narrow, r"cannot be read \(0.hidden is not the finite ranges of \d+ channels\)"),
        (of_fewer_layers, "cannot be read"),
        (not_a_number, "finite ranges"),
    ],
)
def test_ranges_that_are_not_the_models_are_refused(
    spoil: Callable[[Artifact], None], message: str, tmp_path: Path
) -> None:
    artifact = copied("bert", tmp_path)
    assert TorchBackend.load(artifact, "int8").dtype == "int8"
    spoil(artifact)
    with pytest.raises(InvalidInput, match=rf"{message}.*guerdon export --model \w+ --dtype int8"):
        TorchBackend.load(reread(artifact), "int8")


def test_a_weight_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    """Of a token that calibration does not meet: its conversations had scores like any others."""
    artifact = copied("bert", tmp_path)
    file = artifact.base_folder / "model.safetensors"
    weights = load_file(file)
    weights["bert.embeddings.word_embeddings.weight"][1] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    artifact = reread(artifact)
    measured(artifact)
    with pytest.raises(InvalidInput, match=r"embeddings.word_embeddings.weight is not finite"):
        TorchBackend.load(artifact, "int8")


@pytest.mark.parametrize("arch", ["modernbert", "deberta_v2", "llama"])
def test_other_architectures_are_told_what_to_use(arch: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"takes bert, roberta, xlm-roberta .* use bfloat16 or onnxruntime"
    ):
        TorchBackend.load(tiny_artifact(arch), "int8")


def test_another_activation_and_another_device_are_refused(tmp_path: Path) -> None:
    artifact = copied("bert", tmp_path)
    with pytest.raises(InvalidInput, match="runs on cpu"):
        TorchBackend.load(artifact, "int8", "cuda")
    edit_config(artifact.base_folder, hidden_act="relu")
    with pytest.raises(InvalidInput, match="with the exact GELU"):
        TorchBackend.load(artifact, "int8")


def copied(arch: str, tmp_path: Path) -> Artifact:
    """`ranged`, to write into."""
    folder = Path(shutil.copytree(tiny(arch, num_labels=2), tmp_path / "model"))
    shutil.copytree(ranged(arch).folder, folder, dirs_exist_ok=True)
    return reread(replace(ranged(arch), folder=folder, base_folder=folder))


def reread(artifact: Artifact) -> Artifact:
    """After its weights were written."""
    return replace(artifact, sha256=sha256_of(artifact.base_folder))


def measured(artifact: Artifact) -> None:
    """Measure again."""
    write_ranges(artifact, artifact.folder, measure_ranges(artifact, MIX[:8]))
