"""A real Redis and an observer that can be waited for."""

import pytest

from tests.cache.recording import RecordingObserver
from tests.redis_server import redis_server  # noqa: F401


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()
