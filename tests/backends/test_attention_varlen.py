"""All segments in one call: a plain kernel in the place of CUDA's answers what they do one by one."""

import numpy as np
import pytest
import torch
from torch import Tensor

from guerdon_service.backends.attention import attend
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.attention_varlen import Varlen, flash_kernel, kernel_for, on_device
from guerdon_service.backends.layout import Segment
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.backends.varlen_plan import plan_varlen
from tests.backends.artifacts import answers, sequence, tiny_artifact
from tests.tiny import ARCHS

PACKED = [arch for arch in ARCHS if arch != "deberta_v2"]
ALONE = (Segment(0, 5), Segment(5, 40), Segment(40, 41))
LONG = (Segment(0, 150), Segment(150, 420, (0, 150)), Segment(420, 425), Segment(425, 430, (420, 425)))
SHARED = (Segment(0, 30), Segment(30, 33, (0, 30)), Segment(33, 60, (0, 30)), Segment(60, 70))
MIX = [sequence(n, seed=n) for n in (2, 9, 64, 130)] + answers(40, (1, 5, 30))


def plain_kernel(query: Tensor, key: Tensor, value: Tensor, varlen: Varlen, rule: Rule) -> Tensor:
    """What the words of `VarlenKernel` say, sequence by sequence."""
    out = []
    groups = query.shape[1] // key.shape[1]
    for i in range(len(varlen.queries) - 1):
        q = query[varlen.queries[i] : varlen.queries[i + 1]].transpose(0, 1)
        k, v = (
            t[varlen.keys[i] :][: varlen.num_keys[i]].transpose(0, 1).repeat_interleave(groups, 0)
            for t in (key, value)
        )
        place = torch.arange(q.shape[1])[:, None] + k.shape[1] - q.shape[1]
        distance = place - torch.arange(k.shape[1])
        hidden = (distance < 0) & rule.causal
        if rule.window is not None:
            hidden |= distance.abs() >= rule.window
        logits = (q @ k.transpose(1, 2) * rule.scale).masked_fill(hidden, float("-inf"))
        out.append((torch.softmax(logits, -1) @ v).transpose(0, 1))
    return torch.cat(out)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize(
    ("segments", "causal"), [(ALONE, True), (ALONE, False), (SHARED, True), (LONG, True)]
)
def test_the_plan_gives_each_segment_what_it_sees(
    segments: tuple[Segment, ...], causal: bool, window: int | None
) -> None:
    end = segments[-1].end
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, end + 3, 3, 8, generator=generator)
    key, value = (torch.randn(2, end + 3, 8, generator=generator) for _ in range(2))
    rule = Rule(0.3, causal, window, None)
    one_by_one = attend(query, key, value, PackedMasks(segments), rule)
    at_once = attend(query, key, value, PackedMasks(segments, kernel=plain_kernel), rule)
    assert (at_once[end:] == 0).all(), "padding sees nothing"
    torch.testing.assert_close(at_once[:end], one_by_one[:end], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch", PACKED)
def test_scores_are_those_of_segments_one_by_one(arch: str) -> None:
    artifact = tiny_artifact(arch, 2)
    model = load_classifier(artifact, torch.float32, "cpu")
    prepack(model.base_model)
    plain, varlen = (
        TorchBackend(model, artifact.manifest, "float32", fixed_rows=512, kernel=kernel)
        for kernel in (None, plain_kernel)
    )
    expected, _ = plain.forward(MIX)
    found, _ = varlen.forward(MIX)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for backend in (plain, varlen):
        backend.close()


@pytest.mark.parametrize("causal", [True, False])
def test_flash_attention_takes_what_the_plan_gives(causal: bool) -> None:
    plan = on_device(plan_varlen(SHARED, 72, causal=True), torch.device("meta"))
    query = torch.empty(72, 6, 64, dtype=torch.bfloat16, device="meta")
    keys = torch.empty(132, 2, 64, dtype=torch.bfloat16, device="meta")
    answer = flash_kernel(query, keys, keys, plan, Rule(0.1, causal, 20, None))
    assert (answer.shape, answer.dtype) == (query.shape, torch.bfloat16)


@pytest.mark.parametrize(
    ("device", "dtype", "head_dim", "capability", "takes"),
    [
        ("cuda", torch.bfloat16, 64, (9, 0), True),
        ("cuda", torch.float16, 256, (8, 0), True),
        ("cuda", torch.float32, 64, (9, 0), False),
        ("cpu", torch.bfloat16, 64, (9, 0), False),
        ("cuda", torch.float16, 64, (7, 5), False),
        ("cuda", torch.bfloat16, 288, (9, 0), False),
        ("cuda", torch.bfloat16, 60, (9, 0), False),
    ],
)
def test_flash_attention_is_for_half_precision_on_devices_that_have_it(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    dtype: torch.dtype,
    head_dim: int,
    capability: tuple[int, int],
    takes: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert kernel_for(device, dtype, head_dim) is (flash_kernel if takes else None)
