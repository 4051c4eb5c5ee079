"""All segments in one call, as on CUDA: what they answer one by one."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from guerdon_service.backends import attention_tiles
from guerdon_service.backends.attention import attend
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.attention_tiles import TileKernel, kernel_for
from guerdon_service.backends.layout import Segment
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.torch_backend import TorchBackend
from tests.backends.artifacts import answers, sequence, tiny_artifact
from tests.backends.interpreted import needs_triton
from tests.tiny import ARCHS

PACKED = [arch for arch in ARCHS if arch != "deberta_v2"]
WHOLE = (Segment(0, 5), Segment(5, 140), Segment(140, 141))
SHARED = (
    *(Segment(0, 30), Segment(30, 33, (0, 30)), Segment(33, 60, (0, 30))),
    *(Segment(60, 270), Segment(270, 420, (60, 270))),
)
MIX = [sequence(n, seed=n) for n in (2, 9, 64, 130)] + answers(40, (1, 5, 30))


def plain_kernel(query: Tensor, key: Tensor, value: Tensor, tiles: Tensor, rule: Rule) -> Tensor:
    """What the words of `TileKernel` say, tile by tile."""
    out = torch.zeros(query.shape, dtype=query.dtype)
    groups = query.shape[1] // key.shape[1]
    for first, end, prompt, prompt_end, own, own_end in tiles.tolist():
        seen = [*range(prompt, prompt_end), *range(own, own_end)]
        if not seen:
            continue
        keys, values = (t[seen].transpose(0, 1).repeat_interleave(groups, 0) for t in (key, value))
        place = torch.arange(first, end)[:, None] + prompt_end - prompt - own
        distance = place - torch.arange(len(seen))
        hidden = (distance < 0) & rule.causal
        if rule.window is not None:
            hidden |= distance.abs() >= rule.window
        logits = query[first:end].transpose(0, 1) @ keys.transpose(1, 2) * rule.scale
        if rule.softcap is not None:
            logits = torch.tanh(logits / rule.softcap) * rule.softcap
        out[first:end] = (torch.softmax(logits.masked_fill(hidden, -torch.inf), -1) @ values).transpose(0, 1)
    return out


def kernels() -> list[TileKernel]:
    """The plain one, and, where Triton is, CUDA's own, interpreted."""
    if sys.platform != "linux":
        return [plain_kernel]
    from guerdon_service.backends.triton_attention import attended

    return [plain_kernel, attended]


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize(
    ("groups", "head_dim", "window", "softcap"),
    [(2, 16, None, None), (3, 24, None, 3.0), (2, 16, 4, 3.0), (3, 24, 4, None), (2, 16, 100, None)],
)
@pytest.mark.parametrize(("segments", "causal"), [(WHOLE, True), (WHOLE, False), (SHARED, True)])
def test_answers_are_those_of_segments_one_by_one(
    segments: tuple[Segment, ...],
    causal: bool,
    window: int | None,
    softcap: float | None,
    groups: int,
    head_dim: int,
    kernel: TileKernel,
) -> None:
    end = segments[-1].end
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, end + 3, groups, head_dim, generator=generator)
    key, value = (torch.randn(2, end + 3, head_dim, generator=generator) for _ in range(2))
    rule = Rule(0.3, causal, window, softcap)
    one_by_one = attend(query, key, value, PackedMasks(segments), rule)
    at_once = attend(query, key, value, PackedMasks(segments, kernel=kernel), rule)
    assert (at_once[end:] == 0).all(), "padding sees nothing"
    torch.testing.assert_close(at_once[:end], one_by_one[:end], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", kernels())
def test_a_rows_bits_do_not_depend_on_where_it_lies_nor_on_who_shares_its_prompt(kernel: TileKernel) -> None:
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(420, 4, 16, generator=generator)
    key, value = (torch.randn(420, 2, 16, generator=generator) for _ in range(2))
    rule = Rule(0.3, causal=True, window=None, softcap=None)

    def answered(rows: list[int], segments: tuple[Segment, ...]) -> Tensor:
        heads = query[rows].unflatten(1, (2, 2)).transpose(0, 1)
        keys, values = (t[rows].transpose(0, 1) for t in (key, value))
        return attend(heads, keys, values, PackedMasks(segments, kernel=kernel), rule)

    together = answered([*range(420)], SHARED)
    alone = answered([*range(30), *range(33, 60)], (Segment(0, 30), Segment(30, 57, (0, 30))))
    assert torch.equal(alone, together[[*range(30), *range(33, 60)]])


@pytest.mark.parametrize("arch", PACKED)
def test_scores_are_those_of_segments_one_by_one(arch: str) -> None:
    artifact = tiny_artifact(arch, 2)
    model = load_classifier(artifact, torch.float32, "cpu")
    prepack(model.base_model)
    plain, tiled = (
        TorchBackend(model, artifact.manifest, "float32", fixed_rows=512, kernel=kernel)
        for kernel in (None, plain_kernel)
    )
    expected, _ = plain.forward(MIX)
    found, _ = tiled.forward(MIX)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for backend in (plain, tiled):
        backend.close()


@needs_triton
@pytest.mark.parametrize(
    ("device", "dtype", "capability", "takes"),
    [
        ("cuda", torch.bfloat16, (9, 0), True),
        ("cuda", torch.float16, (8, 0), True),
        ("cuda", torch.float32, (9, 0), False),
        ("cpu", torch.bfloat16, (9, 0), False),
        ("cuda", torch.float16, (7, 5), False),
    ],
)
@pytest.mark.parametrize("fits", [True, False])
def test_the_kernel_is_for_half_precision_on_devices_that_have_it_and_room(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    dtype: torch.dtype,
    capability: tuple[int, int],
    takes: bool,
    fits: bool,
) -> None:
    from guerdon_service.backends import triton_attention

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(triton_attention, "is_able", lambda *_: fits)
    assert kernel_for(device, dtype, 64) is (triton_attention.attended if takes and fits else None)


@needs_triton
@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("Failed to find C compiler"),
        subprocess.CalledProcessError(1, "gcc"),
        PermissionError(".triton"),
        ImportError("failed to map segment from shared object"),
    ],
)
def test_without_a_compiler_there_is_no_kernel_and_it_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    from guerdon_service.backends import triton_attention

    def no_compiler(*_: object) -> bool:
        raise failure

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(triton_attention, "is_able", no_compiler)
    assert attention_tiles.kernel_for("cuda", torch.bfloat16, 64) is None
    assert repr(failure) in caplog.text


@needs_triton
@pytest.mark.parametrize(
    ("head_dim", "memory", "stages"),
    [
        (128, 232_448, 3),
        (128, 166_912, 3),
        (128, 101_376, 1),
        (256, 232_448, 2),
        (256, 101_376, 0),
        (512, 101_376, 0),
        (64, 101_376, 3),
    ],
)
def test_blocks_on_their_way_fit_the_devices_memory(
    monkeypatch: pytest.MonkeyPatch, head_dim: int, memory: int, stages: int
) -> None:
    from guerdon_service.backends.triton_attention import _stages

    class Device:
        shared_memory_per_block_optin = memory

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Device())
    assert _stages.__wrapped__(torch.device("cuda", 0), head_dim) == stages
