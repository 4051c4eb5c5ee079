"""One tiny policy for all tests, and one thread."""

from pathlib import Path

import pytest

from tests.threads import one_thread
from tests.training_ppo.tiny import build_policy

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a policy; not to be written into."""
    return build_policy(tmp_path_factory.mktemp("policies") / "tiny")
