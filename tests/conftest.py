"""What every test shares: quiet libraries, no hub, and generated examples without a clock."""

import logging
import os
import signal
from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Commands configure the root logger of their process; here it is put back after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)  # which also forgets what was known of who may log
