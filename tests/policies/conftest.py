"""One tiny policy for all tests, and one thread."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guerdon_service.artifacts.policy import read_policy
from guerdon_service.policies.causal_lm import CausalLM, load_causal_lm
from guerdon_service.policies.transformers_policy import TransformersPolicy
from tests.policies.tiny_policy import build_policy
from tests.threads import one_thread

__all__ = ["one_thread"]


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
