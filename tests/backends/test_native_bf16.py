"""Attention is computed in the way that the machine is quick at, and equally pure in either."""

import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from guerdon_service.backends import attention, int8, native_bf16, torch_backend
from guerdon_service.backends.attention_products import by_products
from guerdon_service.backends.load import load_reference
from guerdon_service.backends.native.library import tiles
from guerdon_service.backends.native_bf16 import has_native_bf16
from guerdon_service.backends.torch_backend import DTYPES, TorchBackend
from tests.backends.artifacts import sequence, tiny_artifact
from tests.backends.exported import ranged

MIX = [sequence(n, seed=n) for n in (3, 17, 50, 64, 130)]


def test_the_kernel_says_the_same_of_this_cpu() -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"no list of {platform.machine()}'s flags to compare with")
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("flags", 1)[1].split("\n", 1)[0].split()
    assert has_native_bf16() == ("avx512_bf16" in flags)
    assert (tiles() is not None) == ("amx_bf16" in flags)


def test_on_amx_bf16_needs_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    for library, there in ((None, False), (object(), True)):
        monkeypatch.setattr(native_bf16, "tiles", lambda its=library: its)
        assert has_native_bf16.__wrapped__() == there


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("arch", "dtype"), [("bert", "bfloat16"), ("llama", "bfloat16"), ("bert", "int8")])
def test_products_attend_only_where_the_machine_has_them(
    arch: str, dtype: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(query: torch.Tensor, *rest: object) -> torch.Tensor:
        asked.append(query.dtype)
        return by_products(query, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(native_bf16, "has_native_bf16", lambda: native)
    monkeypatch.setattr(attention, "by_products", counted)
    monkeypatch.setattr(attention, "takes_tiles", lambda query: False)
    monkeypatch.setattr(int8, "is_tiled_int8", lambda config: False)
    monkeypatch.setattr(torch_backend, "encoder_trunk", lambda trunk: None)
    artifact = ranged(arch) if dtype == "int8" else tiny_artifact(arch)
    backend = TorchBackend.load(artifact, dtype)
    together = backend.forward(MIX)[0]
    assert set(asked) == ({torch.bfloat16} if native else set())
    assert [backend.forward([encoded])[0].tobytes() for encoded in MIX] == [row.tobytes() for row in together]
    expected = TorchBackend.load(artifact).forward(MIX)[0]
    assert np.abs(together - expected).max() <= 0.1 * np.ptp(expected)
    backend.close()


@pytest.mark.parametrize(
    ("arch", "dtype"), [("xlm_roberta", "bfloat16"), ("llama", "bfloat16"), ("llama", "float16")]
)
def test_what_the_cpu_does_not_multiply_is_computed_in_fp32_with_rounded_weights(
    arch: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_bf16, "has_native_bf16", lambda: False)
    artifact = tiny_artifact(arch)
    backend = TorchBackend.load(artifact, dtype)
    plain = load_reference(artifact)
    for parameter in plain.base_model.parameters():
        parameter.data = parameter.data.to(DTYPES[dtype]).float()
    with torch.inference_mode():
        expected = [plain(torch.from_numpy(e.input_ids)[None].long()).logits[0].numpy() for e in MIX]
    np.testing.assert_allclose(backend.forward(MIX)[0], np.stack(expected), atol=1e-5)
    assert backend.dtype == dtype
    backend.close()
