"""``python -m tests.engine_process``: an engine process over a fake that obeys single tokens."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guerdon_service.backends.process.engine_process import Launch
from guerdon_service.backends.process.patience import Patience
from guerdon_service.backends.process.pool import EnginePool
from guerdon_service.backends.process.serve import Order, serve_stdin
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import ForwardStats
from tests.weighted_sums import weighted_sums

KILL, HANG, RAISE, BREAK = map(ord, "☠⏳💥💔")
"""Tokens of which the process dies, never answers, raises, or raises from then on."""
COMMAND = (sys.executable, "-m", "tests.engine_process")
PATIENCE = Patience(start_s=60.0, forward_s=60.0, down_s=60.0, delay_s=0.01, max_delay_s=0.5)


def pool_of(
    num_processes: int, scale: float = 1e-4, patience: Patience = PATIENCE, order: Order | None = None
) -> EnginePool:
    """Processes whose scores are those of `tests.fakes.WeightedSumBackend`."""
    return EnginePool([Launch(COMMAND, {"scale": scale} | (order or {}))] * num_processes, patience)


class TokenTold:
    """Scores as `tests.fakes.WeightedSumBackend`, which takes long to import, but for what tokens tell it."""

    name = "fake"
    dtype = "float32"
    num_heads = 2
    shares_prefix = False

    def __init__(self, scale: float, arithmetic: str) -> None:
        self.arithmetic = arithmetic
        self._scale = scale
        self._is_broken = False

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        tokens = {int(token) for item in batch for token in item.input_ids}
        if KILL in tokens:
            os.kill(os.getpid(), signal.SIGKILL)
        if HANG in tokens:
            threading.Event().wait()
        self._is_broken = self._is_broken or BREAK in tokens
        if RAISE in tokens or self._is_broken:
            raise RuntimeError("injected")
        return weighted_sums(batch, self._scale)

    def close(self) -> None:
        """Nothing to free."""


def load(order: Order) -> TokenTold:
    """`refuse`: as an artifact that is not right; `needs`: a file without which it does not start; `factor`:
    a file whose number multiplies the scores; `arithmetic`: what it says of itself.
    """
    if "refuse" in order:
        raise InvalidInput(order["refuse"], param="source")
    if "needs" in order:
        Path(order["needs"]).read_bytes()
    factor = float(Path(order["factor"]).read_text()) if "factor" in order else 1.0
    return TokenTold(order["scale"] * factor, order.get("arithmetic", ""))


if __name__ == "__main__":
    serve_stdin(load)
