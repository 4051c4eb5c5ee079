"""The reward recipe's tiny base, and one thread."""

from tests.training.conftest import _one_thread, repository, tiny_base

__all__ = ["_one_thread", "repository", "tiny_base"]
