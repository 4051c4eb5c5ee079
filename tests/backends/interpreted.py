"""CUDA's kernels on CPU: Triton's interpreter, from the folder of its own that `make setup` puts it in."""

import os
import sys
from pathlib import Path

import pytest

os.environ["TRITON_INTERPRET"] = "1"
sys.path.append(str(Path(sys.prefix) / "triton"))

needs_triton = pytest.mark.skipif(sys.platform != "linux", reason="Triton is built for Linux alone")
