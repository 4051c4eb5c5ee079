"""A model of which each process holds a part: when it is whole, and when it is not."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import load_policy
from guerdon_training.ppo import models
from guerdon_training.ppo.models import build_networks, whole_policy
from guerdon_training.sharded import gathered, place, whole_on_cpu
from tests.training_policy.tiny_lm import build_lm
from tests.training_ppo.jobs import LORA, config_of
from tests.training_ppo.tiny import build_policy


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Any]:
    """What `place` asks of an `Accelerator`: a group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield SimpleNamespace(is_fsdp2=True, device=torch.device("cpu"), num_processes=1)
    dist.destroy_process_group()


def _parts(model: nn.Module) -> set[bool]:
    return {isinstance(p, DTensor) for p in model.parameters()}


@torch.no_grad()
def test_a_model_is_in_parts_but_while_it_is_gathered(processes: Any, tmp_path: Path) -> None:
    policy: Any = load_policy(build_lm(tmp_path / "base"), PolicyLora(rank=4, alpha=8), 0)
    ids, seen = torch.tensor([[5, 6, 7]]), list[set[bool]]()
    whole = policy(ids).logits
    place(processes, policy)
    policy.get_input_embeddings().register_forward_hook(lambda *_: seen.append(_parts(policy)))
    for _ in range(2):
        with gathered(policy):
            assert _parts(policy) == {False}
            torch.testing.assert_close(policy(ids).logits, whole)
            assert _parts(policy) == {False}
        assert _parts(policy) == {True}
        torch.testing.assert_close(policy(ids).logits, whole)
        assert _parts(policy) == {True}
    assert seen == [{False}, {False, True}] * 2  # the second forward had its layers in parts


def test_only_who_writes_a_policy_has_it_whole(
    processes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(build_policy(tmp_path / "policy"), "rloo", lora=LORA)
    networks = build_networks(config, partial(place, processes))
    parts: dict[str, Any] = dict(networks.learner.policy.named_parameters())
    with torch.no_grad():
        for part in (p for p in parts.values() if p.requires_grad):
            part.add_(1.0)
    assert whole_on_cpu(parts, kept=False) == {}
    policy = whole_policy(networks, config, kept=True)
    assert policy is not None and _parts(policy) == {False}
    for name, weight in policy.named_parameters():
        assert torch.equal(weight, parts[name].full_tensor())
    monkeypatch.setattr(models, "load_policy", None)  # the base is not read
    assert whole_policy(networks, config, kept=False) is None
