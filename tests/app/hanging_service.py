"""``python -m tests.app.hanging_service load|forward``: ``guerdon serve`` where that never ends."""

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import guerdon_service.app.build as composition
from guerdon_service.app import leaving, serve
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import ForwardStats
from guerdon_service.engine import engine
from tests.fakes import CodePointEncoder

SHORT_S = 0.2


def hang() -> None:
    """Say so, and never return."""
    print("hanging", flush=True)  # noqa: T201 - whoever started this process waits for it
    threading.Event().wait()


class HangingBackend:
    """Forwards in a pool, as torch's, whose threads the interpreter waits for."""

    name = "fake"
    dtype = "float32"
    num_heads = 1
    shares_prefix = False

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        self._pool.submit(hang).result()
        raise AssertionError("it never ends")

    def close(self) -> None:
        self._pool.shutdown()


def load(spec: ModelSpec, num_threads: int | None = None) -> LoadedModel:
    """In place of the loader."""
    if sys.argv[1] == "load":
        hang()
    return LoadedModel(
        spec, read_artifact(spec.source, spec.name).manifest, CodePointEncoder(), HangingBackend()
    )


if __name__ == "__main__":
    engine.CLOSE_TIMEOUT_S = SHORT_S
    if sys.argv[1] == "load":  # else there are spans, which take their time
        leaving.LEAVE_S = SHORT_S
    flags = ["--port", "0", "--grpc-port", "0", "--drain-timeout-s", str(SHORT_S)]
    with patch.object(composition, "load_model", load):
        sys.exit(serve.serve_command(flags))
