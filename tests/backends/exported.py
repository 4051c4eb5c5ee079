"""Tiny artifacts with their ONNX graphs, or with the ranges of torch's int8, made once per process."""

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

from guerdon_service.app.export_graph import export_graph
from guerdon_service.app.export_int8 import export_int8
from guerdon_service.app.export_ranges import measure_ranges
from guerdon_service.backends.int8_ranges import write_ranges
from guerdon_service.backends.onnx_backend import OnnxBackend
from guerdon_service.core.artifact import Artifact
from tests.backends.artifacts import sequence, tiny_artifact


@functools.cache
def exported(arch: str, num_heads: int = 2) -> Artifact:
    """An artifact of `arch` whose folder holds both graphs. Do not write into it.

    Of two layers, which are of both kinds where a family has two: a third would take the exporter seconds.
    """
    holder = tempfile.TemporaryDirectory(prefix=f"guerdon-onnx-{arch}-")
    _HOLDERS.append(holder)
    artifact = replace(tiny_artifact(arch, num_heads, num_layers=2), folder=Path(holder.name))
    onnx = artifact.folder / "onnx"
    onnx.mkdir()
    export_graph(artifact, onnx / "fp32.onnx")
    backend = OnnxBackend.load(artifact, num_threads=1)
    export_int8(onnx / "fp32.onnx", onnx / "int8.onnx", backend.feeds([sequence(n) for n in (9, 40, 90)]))
    backend.close()
    return artifact


@functools.cache
def ranged(arch: str, num_heads: int = 2) -> Artifact:
    """An artifact of `arch` whose folder holds the ranges of its activations. Do not write into it."""
    holder = tempfile.TemporaryDirectory(prefix=f"guerdon-int8-{arch}-")
    _HOLDERS.append(holder)
    artifact = replace(tiny_artifact(arch, num_heads), folder=Path(holder.name))
    ranges = measure_ranges(artifact, [sequence(n, seed=1) for n in (9, 40, 90, 200)])
    write_ranges(artifact, artifact.folder, ranges)
    return artifact


_HOLDERS: list[tempfile.TemporaryDirectory[str]] = []  # finalised, and so removed, at exit
