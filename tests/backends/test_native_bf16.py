"""Attention is computed in the way that the machine is quick at, and equally pure in either."""

import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from guerdon_service.backends import attention, int8
from guerdon_service.backends.attention_products import by_products
from guerdon_service.backends.native_bf16 import has_native_bf16
from guerdon_service.backends.torch_backend import TorchBackend
from tests.backends.artifacts import sequence, tiny_artifact
from tests.backends.exported import ranged

MIX = [sequence(n, seed=n) for n in (3, 17, 50, 64, 130)]


def test_the_kernel_says_the_same_of_this_cpu() -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"no list of {platform.machine()}'s flags to compare with")
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("flags", 1)[1].split("\n", 1)[0].split()
    assert has_native_bf16() == ("avx512_bf16" in flags)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("arch", "dtype"), [("bert", "bfloat16"), ("llama", "bfloat16"), ("bert", "int8")])
def test_products_attend_only_where_the_machine_has_them(
    arch: str, dtype: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(query: torch.Tensor, *rest: object) -> torch.Tensor:
        asked.append(query.dtype)
        return by_products(query, *rest)  # type: ignore[arg-type]

    for module in (attention, int8):
        monkeypatch.setattr(module, "has_native_bf16", lambda: native)
    monkeypatch.setattr(attention, "by_products", counted)
    artifact = ranged(arch) if dtype == "int8" else tiny_artifact(arch)
    backend = TorchBackend.load(artifact, dtype)
    together = backend.forward(MIX)[0]
    assert set(asked) == ({torch.bfloat16} if native else set())
    assert [backend.forward([encoded])[0].tobytes() for encoded in MIX] == [row.tobytes() for row in together]
    expected = TorchBackend.load(artifact).forward(MIX)[0]
    assert np.abs(together - expected).max() <= 0.1 * np.ptp(expected)
    backend.close()
