"""The fake back end keeps the back end's promises."""

import numpy as np

from guerdon_service.backends.fake import FakeBackend
from guerdon_service.core.ports import Backend
from tests.backends.artifacts import sequence


def test_the_fake_is_deterministic_and_pure() -> None:
    backend: Backend = FakeBackend(num_heads=2)
    batch = [sequence(n) for n in (5, 9, 30)]
    scores, stats = backend.forward(batch)
    assert scores.dtype == np.float32
    assert scores.shape == (3, 2)
    assert stats.num_tokens == 44
    assert [s.tobytes() for s in scores] == [backend.forward([b])[0].tobytes() for b in batch]
    assert len({float(s) for s in scores.ravel()}) == 6
