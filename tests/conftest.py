"""What tests share: quiet libraries, no hub, generated examples without a clock, the order of their files."""

import logging
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from hypothesis import settings

settings.register_profile("guerdon", deadline=None)
settings.load_profile("guerdon")


def pytest_configure() -> None:
    """A shell's background job ignores SIGINT, and so would the commands that tests start and stop."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of the longest tests come first, then those of the most: a worker that were given one of them
    last would keep the others waiting. (A long test is one that is given more time.)
    """
    weights: dict[Path, tuple[float, int]] = defaultdict(lambda: (0, 0))
    for item in items:
        limit = item.get_closest_marker("timeout")
        longest_s, count = weights[item.path]
        weights[item.path] = max(longest_s, limit.args[0] if limit else 0), count + 1
    items.sort(key=lambda item: weights[item.path], reverse=True)


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Commands configure the root logger of their process; here it is put back after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)  # which also forgets what was known of who may log
