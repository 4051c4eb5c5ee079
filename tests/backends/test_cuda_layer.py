"""Decoders' layers for CUDA: their kernels interpreted on CPU, a plain kernel in the place of attention's."""

import gc
import sys
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, rms_norm, silu
from transformers import PreTrainedModel

from guerdon_service.backends import torch_backend
from guerdon_service.backends.attention import PACKED
from guerdon_service.backends.decoder_parts import Norm
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.backends.trunk_graphs import recorded_trunk
from tests.backends.artifacts import answers, sequence, tiny_artifact
from tests.backends.interpreted import needs_triton
from tests.backends.test_attention_tiles import plain_kernel
from tests.backends.test_trunk_graphs import Again, bits
from tests.tiny import DECODERS

pytestmark = needs_triton
if sys.platform == "linux":
    from guerdon_service.backends.cuda_layer import CudaLayer, fuse
    from guerdon_service.backends.triton_kernels import gated, normed, turn

ROWS = 32
BATCH = [sequence(2, seed=2), sequence(9, seed=9), *answers(8, (1, 4))]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("size", [48, 1030])
def test_norms(size: int) -> None:
    rows, norm = random(5, size), Norm(random(size), 1e-5)
    torch.testing.assert_close(normed(rows, norm), rms_norm(rows, (size,), norm.weight, norm.eps))
    assert torch.equal(normed(rows[2:3], norm)[0], normed(rows, norm)[2])


@pytest.mark.parametrize(("num_heads", "head_dim"), [(3, 16), (11, 24)])
@pytest.mark.parametrize("has_norms", [True, False])
def test_rotation(num_heads: int, head_dim: int, has_norms: bool) -> None:
    """As a product of complex numbers, a head's halves their parts; what is not turned stays as it was."""
    heads, angles = random(4, num_heads + 2, head_dim), random(4, head_dim // 2)
    norms = Norm(random(num_heads, head_dim), 1e-5) if has_norms else None
    before = heads[:, :num_heads].clone()
    if norms:
        before = rms_norm(before, (head_dim,), eps=norms.eps) * norms.weight
    rest = heads[:, num_heads:].clone()
    turned = torch.complex(*before.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)[:, None]
    turn(heads[:, :num_heads], norms, *(torch.cat([x, x], -1) for x in (angles.cos(), angles.sin())))
    torch.testing.assert_close(heads[:, :num_heads], torch.cat([turned.real, turned.imag], -1))
    assert torch.equal(heads[:, num_heads:], rest)


def test_gates() -> None:
    both = random(3, 2 * 1100)
    gate, up = both.chunk(2, -1)
    torch.testing.assert_close(gated(both, "silu"), silu(gate) * up)
    torch.testing.assert_close(gated(both, "gelu_tanh"), gelu(gate, approximate="tanh") * up)


def model(arch: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return load_classifier(tiny_artifact(arch, 2), dtype, "cpu")


def backend(arch: str, loaded: PreTrainedModel) -> TorchBackend:
    return TorchBackend(loaded, tiny_artifact(arch, 2).manifest, "float32", ROWS, plain_kernel)


@pytest.mark.parametrize("arch", DECODERS)
def test_scores_are_those_of_the_models_own_layers(arch: str) -> None:
    loaded = model(arch)
    expected, _ = backend(arch, loaded).forward(BATCH)
    fuse(loaded.base_model, torch.float32)
    fused = [module for module in loaded.modules() if isinstance(module, CudaLayer)]
    assert len(fused) == loaded.config.num_hidden_layers
    found, _ = backend(arch, loaded).forward(BATCH)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_bit_depends_on_the_batch_nor_on_whether_forwards_are_recorded() -> None:
    loaded = model("qwen3")
    fuse(loaded.base_model, torch.float32)
    served = backend("qwen3", loaded)
    found = bits(served.forward(BATCH)[0])
    assert bits(np.concatenate([served.forward([one])[0] for one in BATCH])) == found
    recorder = Again(most=1)
    manifest = tiny_artifact("qwen3", 2, max_tokens=ROWS).manifest
    trunk = recorded_trunk(loaded, manifest, ROWS, plain_kernel, recorder)
    recorded = TorchBackend(loaded, manifest, "float32", ROWS, plain_kernel, trunk)
    before = recorder.replays
    assert bits(recorded.forward(BATCH)[0]) == found
    assert recorder.replays > before


def test_the_old_weights_are_freed() -> None:
    loaded = model("llama")
    kept = {"o_proj", "down_proj"}  # as they are
    old = {
        name: weakref.ref(module.weight)
        for name, module in loaded.base_model.named_modules()
        if isinstance(module, nn.Linear) and name.split(".")[-1] not in kept
    }
    assert len(old) == 5 * loaded.config.num_hidden_layers
    fuse(loaded.base_model, torch.float32)
    gc.collect()
    assert [name for name, weight in old.items() if weight() is not None] == []


def test_a_model_that_does_not_pack_keeps_its_layers_and_computes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_backend, "kernel_for", lambda *_: plain_kernel)
    torch.set_num_threads(2)
    for scaling, fuses in (("dynamic", False), ("default", True)):
        loaded = model("llama")
        loaded.set_attn_implementation(PACKED if fuses else "eager")
        loaded.config.rope_parameters = {"rope_type": scaling, "rope_theta": 10_000.0, "factor": 2.0}
        served = TorchBackend.over(loaded, tiny_artifact("llama", 2).manifest, "float32")
        assert any(isinstance(module, CudaLayer) for module in loaded.modules()) == fuses
        assert (served.num_parallel > 1) == fuses
        if not fuses:  # its forwards side by side would be too many for the interpreter
            assert np.isfinite(served.forward(BATCH[:2])[0]).all()


def test_layers_in_another_dtype_stay_as_they_are() -> None:
    loaded = model("llama")
    fuse(loaded.base_model, torch.bfloat16)
    assert not any(isinstance(module, CudaLayer) for module in loaded.modules())


def test_half_precision_is_near_fp32() -> None:
    exact, _ = backend("qwen3", model("qwen3")).forward(BATCH)
    loaded = model("qwen3", torch.bfloat16)
    fuse(loaded.base_model, torch.bfloat16)
    found, _ = backend("qwen3", loaded).forward(BATCH)
    np.testing.assert_allclose(found, exact, atol=0.1)
    assert not np.array_equal(found, exact)
