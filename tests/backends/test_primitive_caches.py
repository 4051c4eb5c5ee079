"""Memory does not grow with the number of shapes that were multiplied."""

import json
import os
import subprocess
import sys

import pytest

from guerdon_service.backends.primitive_caches import CAPACITY

SCRIPT = """
import json, sys
import torch
from torch import nn
from guerdon_service.backends.prepacked_linear import PrepackedLinear
from guerdon_service.backends.primitive_caches import bound_primitive_caches
from tests.backends.heap import in_use_mib

torch.set_num_threads(1)
if sys.argv[1] == "bounded":
    bound_primitive_caches()
layer, rows = PrepackedLinear(nn.Linear(64, 256)), torch.ones(1200, 64)
with torch.inference_mode():
    marks = []
    for num_rows in range(1, 1201):
        layer(rows[:num_rows])
        if num_rows % 400 == 0:
            marks.append(in_use_mib())
print(json.dumps(marks))
"""


def marks_mib(mode: str) -> list[float]:
    """Memory in use after 400, 800 and 1,200 shapes."""
    environ = {k: v for k, v in os.environ.items() if "CACHE_CAPACITY" not in k}
    command = [sys.executable, "-c", SCRIPT, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return [float(mark) for mark in json.loads(done.stdout)]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mallinfo2")
def test_old_shapes_are_forgotten() -> None:
    bounded, unbounded = marks_mib("bounded"), marks_mib("unbounded")
    assert bounded[-1] - bounded[0] < 0.2 * (unbounded[-1] - unbounded[0]), (bounded, unbounded, CAPACITY)
