"""The trunk of a packed model as recordings, one for each of a few shapes.

What does not fit a shape runs as it would without. A batch that fits is laid out in the cheapest one: padding
changes no bit of a row, which sees its own sequence alone, and where a device rounds otherwise in a smaller
shape, that shape is not used (`recorded_trunk`).
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_tiles import TileKernel, groups_of
from guerdon_service.backends.cuda_graphs import CudaRecorder, Recorder, Recording
from guerdon_service.backends.families import family_of
from guerdon_service.backends.layout import Segment, plan_layout
from guerdon_service.backends.packed import Inputs, model_rows, packed_inputs, run_trunk, trunk_states
from guerdon_service.backends.placed import place_into, placed
from guerdon_service.backends.tile_plan import Shape, fits, plan_tiles, rows_of_tile
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Manifest

log = logging.getLogger(__name__)

_PARTS = (1, 2, 4, 8, 16)
"""Rows of shapes: those of every forward, half of them, and so on."""
_SEGMENTS = (256, 96, 32)
"""That begin tiles of their own, of shapes of so many rows. Tiles that a batch lacks are not free: 256
cost the layers of a small model half as much again as their attention (docs/performance.md)."""
_PROBES = 7
"""Conversations that try a shape, at most: with their padding they fit the fewest segments."""


def shapes_of(rows: int, tile_rows: int) -> tuple[Shape, ...]:
    """The shapes of forwards of `rows` rows and fewer, the dearest first; tiles have `tile_rows` at most."""
    shapes = [
        Shape(size, -(-size // tile_rows) + min(segments, max(size // 8, _SEGMENTS[-1])))
        for size in (rows // part for part in _PARTS)
        for segments in _SEGMENTS
    ]
    return tuple(dict.fromkeys(shapes))


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The buffers that a recording reads, and it."""

    rows: Mapping[str, Tensor]
    tiles: Tensor
    recording: Recording


class TrunkGraphs:
    """`packed.Trunk` of recorded forwards.

    Threads may call it at once, on one stream.

    Args:
        kernel: attends to all segments at once.
    """

    def __init__(self, model: PreTrainedModel, kernel: TileKernel, recorder: Recorder) -> None:
        self._model = model
        self._kernel = kernel
        self._recorder = recorder
        self._causal = family_of(model.config).causal
        self._tile_rows = rows_of_tile(groups_of(model.config))
        self._recorded: dict[Shape, _Recorded] = {}
        self._lock = threading.Lock()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What is recorded, the cheapest last."""
        return tuple(self._recorded)

    def record(self, shape: Shape, inputs: Inputs, segments: Sequence[Segment]) -> None:
        """Record a shape cheaper than all before, of inputs that fit it.

        Raises:
            RuntimeError: it cannot be recorded.
        """
        device = self._model.device
        rows = {name: placed(row, device) for name, row in model_rows(inputs, shape.rows).items()}
        tiles = placed(self._tiles(segments, shape), device)
        packed = PackedMasks((), kernel=self._kernel, tiles=tiles)
        recording = self._recorder.record(lambda: run_trunk(self._model, rows, packed))
        self._recorded[shape] = _Recorded(rows, tiles, recording)

    def drop(self, shape: Shape) -> None:
        """Use a shape no more."""
        del self._recorded[shape]

    def shape_for(self, segments: Sequence[Segment]) -> Shape | None:
        """The cheapest that is recorded and holds them."""
        shapes = reversed(self._recorded)
        return next((shape for shape in shapes if fits(segments, shape, rows=self._tile_rows)), None)

    def _tiles(self, segments: Sequence[Segment], shape: Shape) -> NDArray[np.int32]:
        rows, num_tiles = self._tile_rows, shape.tiles
        return plan_tiles(segments, shape.rows, rows=rows, causal=self._causal, num_tiles=num_tiles)

    def __call__(self, inputs: Inputs, segments: Sequence[Segment]) -> Tensor | None:
        """Last hidden states [T, hidden] from the cheapest shape that they fit; None where there is none."""
        shape = self.shape_for(segments)
        if shape is None:
            return None
        tiles, recorded = self._tiles(segments, shape), self._recorded[shape]
        with self._lock:
            for name, row in model_rows(inputs, shape.rows).items():
                place_into(recorded.rows[name], row)
            place_into(recorded.tiles, tiles)
            recorded.recording.replay()
            return recorded.recording.output.clone()


def recorded_trunk(
    model: PreTrainedModel,
    manifest: Manifest,
    rows: int,
    kernel: TileKernel,
    recorder: Recorder | None = None,
) -> TrunkGraphs | None:
    """Recordings of all shapes that give a probe the bits of a forward of `rows` rows.

    They are made when a model is loaded: no request waits for one, and the memory is known before any comes.
    What cannot be recorded is told once and runs as without; None where nothing can.

    Args:
        model: one that packs.
        recorder: None: of this device.
    """
    trunk = TrunkGraphs(model, kernel, recorder or CudaRecorder())
    with torch.inference_mode():
        for shape in shapes_of(rows, rows_of_tile(groups_of(model.config))):
            try:
                _record(trunk, shape, model, manifest, rows, kernel)
            except RuntimeError as err:
                log.warning("forwards of %s are not recorded as CUDA graphs: %s", shape, err)
                break
    return trunk if trunk.shapes else None


def _record(
    trunk: TrunkGraphs,
    shape: Shape,
    model: PreTrainedModel,
    manifest: Manifest,
    rows: int,
    kernel: TileKernel,
) -> None:
    probe = _probe(model, manifest, shape)
    layout = plan_layout(probe, split=family_of(model.config).causal)
    inputs = packed_inputs(model, manifest, probe, layout.source)
    trunk.record(shape, inputs, layout.segments)
    expected = trunk_states(model, inputs, PackedMasks(layout.segments, kernel=kernel), rows)
    found, num_rows = trunk(inputs, layout.segments), len(inputs.ids)
    if found is None or not torch.equal(found[:num_rows], expected[:num_rows]):
        trunk.drop(shape)
        log.info("forwards of %s round otherwise than those of %d rows and are not used", shape, rows)


def _probe(model: PreTrainedModel, manifest: Manifest, shape: Shape) -> list[Encoded]:
    """Random conversations, as long as may be, that fill the shape."""
    length = min(shape.rows, manifest.max_tokens)
    count = min(shape.rows // length, _PROBES)
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (count, length), dtype=np.int32)
    return [Encoded(row, length // 2, truncated=False) for row in ids]
