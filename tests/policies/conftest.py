"""One tiny policy for all tests, and one thread."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import torch

from guerdon_service.artifacts.policy import read_policy
from guerdon_service.policies.causal_lm import CausalLM, load_causal_lm
from guerdon_service.policies.transformers_policy import TransformersPolicy
from tests.policies.tiny_policy import build_policy


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a policy; not to be written into."""
    return build_policy(tmp_path_factory.mktemp("policies") / "tiny")


@pytest.fixture(scope="session")
def lm(folder: Path) -> CausalLM:
    return load_causal_lm(read_policy(str(folder)), "float32", "cpu")


@pytest.fixture
async def policy(lm: CausalLM) -> AsyncIterator[TransformersPolicy]:
    made = TransformersPolicy("tiny", "digest", lm)
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
