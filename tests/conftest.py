"""What tests share: quiet libraries, no hub, generated examples without a clock, the order of their files."""

import gc
import logging
import os
import signal
from collections import defaultdict
from collections.abc import Generator, Iterator
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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Python's garbage collector looks through what is imported neither meanwhile nor after each test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of the longest tests come first, then those of the most: a worker that were given one of them
    last would keep the others waiting. (A long test is one that is given more time.) Files that share a
    fixture of their package count as one and stay together, so that each worker makes it once.
    """
    weights: dict[Path, tuple[float, int]] = defaultdict(lambda: (0, 0))
    for item in items:
        limit = item.get_closest_marker("timeout")
        for path in {item.path, _together(item)}:
            longest_s, count = weights[path]
            weights[path] = max(longest_s, limit.args[0] if limit else 0), count + 1
    items.sort(key=lambda item: (weights[_together(item)], weights[item.path]), reverse=True)


def _together(item: pytest.Item) -> Path:
    """The folder of a test that runs in its package's event loop, the file of any other."""
    mark = item.get_closest_marker("asyncio")
    return item.path.parent if mark and mark.kwargs.get("loop_scope") == "package" else item.path


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Commands configure the root logger of their process; here it is put back after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)  # which also forgets what was known of who may log
