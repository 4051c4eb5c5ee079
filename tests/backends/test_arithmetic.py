"""What computes a score is told by every real back end, and is part of its cache key."""

import onnxruntime
import pytest
import torch

from guerdon_service.backends.arithmetic import instruction_sets, torch_arithmetic
from guerdon_service.backends.native.library import tiles
from guerdon_service.backends.onnx_backend import OnnxBackend
from guerdon_service.backends.process.engine_process import Launch
from guerdon_service.backends.process.pool import EnginePool
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import arithmetic_of
from tests.backends.artifacts import tiny_artifact
from tests.backends.exported import exported
from tests.engine_process import COMMAND, PATIENCE, pool_of
from tests.fakes import WeightedSumBackend

CPU = torch.device("cpu")


def test_torch_tells_versions_and_instruction_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    told = arithmetic_of(TorchBackend.load(tiny_artifact("bert")))
    assert told == torch_arithmetic(CPU)
    assert torch.__version__ in told and torch.backends.cpu.get_cpu_capability() in told
    here = torch.cpu._is_vnni_supported()
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: not here)
    assert torch_arithmetic(CPU) != told
    monkeypatch.setattr(torch, "__version__", "3.0")
    assert "torch 3.0" in torch_arithmetic(CPU)


def test_threads_count_where_bits_depend_on_them() -> None:
    unpacked = TorchBackend.load(tiny_artifact("deberta_v2"))
    assert arithmetic_of(unpacked) == torch_arithmetic(CPU, torch.get_num_threads()) != torch_arithmetic(CPU)


def test_kernels_of_our_own_count_where_they_are() -> None:
    assert ("tiles" in instruction_sets()) == (tiles() is not None)


def test_onnxruntime_tells_its_version_and_provider() -> None:
    told = arithmetic_of(OnnxBackend.load(exported("bert")))
    assert told == f"onnxruntime {onnxruntime.__version__}, CPUExecutionProvider, {instruction_sets()}"


def test_a_plain_fake_has_none_and_a_process_tells_what_runs_in_it() -> None:
    pool = pool_of(1, order={"arithmetic": "abacus"})
    assert arithmetic_of(pool) == "abacus"
    pool.close()
    assert arithmetic_of(WeightedSumBackend()) == ""


def test_processes_that_compute_with_something_else_are_no_one_back_end() -> None:
    launches = [Launch(COMMAND, {"scale": 1e-4, "arithmetic": told}) for told in ("abacus", "slide rule")]
    with pytest.raises(InvalidInput, match="slide rule") as refused:
        EnginePool(launches, PATIENCE)
    assert refused.value.param == "devices"
