"""One tiny policy for all tests, and one thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training_ppo.tiny import build_policy


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a policy; not to be written into."""
    return build_policy(tmp_path_factory.mktemp("policies") / "tiny")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
