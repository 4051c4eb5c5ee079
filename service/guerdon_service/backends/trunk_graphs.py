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
from torch import Tensor
from transformers import PreTrainedModel

from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_varlen import Varlen, VarlenKernel, on_device
from guerdon_service.backends.cuda_graphs import CudaRecorder, Recorder, Recording
from guerdon_service.backends.families import family_of, runs_packed
from guerdon_service.backends.layout import Segment, plan_layout
from guerdon_service.backends.packed import Inputs, model_rows, packed_inputs, run_trunk, trunk_states
from guerdon_service.backends.placed import place_into, placed
from guerdon_service.backends.varlen_plan import BLOCK, Shape, fits, laid_out
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Manifest

log = logging.getLogger(__name__)

_PARTS = (1, 2, 4, 8, 16)
"""Rows of shapes: those of every forward, half of them, and so on."""
_FEW, _MANY = 32, 256
"""Sequences. Those that a batch lacks cost the kernel a block of threads for each head."""
_SEEN = 8
"""Rows of keys for each row, where prompts are shared."""


def shapes_of(rows: int, *, causal: bool) -> tuple[Shape, ...]:
    """The shapes of forwards of `rows` rows and fewer, at most ten, the dearest first.

    A decoder's are for responses that share prompts and for those that do not; an encoder's for many short
    conversations and for a few of any length.
    """
    shapes: list[Shape] = []
    for size in (rows // part for part in _PARTS):
        if causal:
            num_sequences = min(_MANY, size // 8) + -(-size // BLOCK) + 1
            shapes += [Shape(size, num_sequences, seen, BLOCK) for seen in (_SEEN * size, None)]
        else:
            kinds = (Shape(size, _MANY, None, size // 8), Shape(size, _FEW, None, size))
            shapes += [shape for shape in kinds if shape.longest >= BLOCK]
    return tuple(shapes)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The buffers that a recording reads, and it."""

    rows: Mapping[str, Tensor]
    varlen: Varlen
    recording: Recording


class TrunkGraphs:
    """`packed.Trunk` of recorded forwards.

    Threads may call it at once, on one stream.

    Args:
        kernel: attends to all segments at once.
    """

    def __init__(self, model: PreTrainedModel, kernel: VarlenKernel, recorder: Recorder) -> None:
        self._model = model
        self._kernel = kernel
        self._recorder = recorder
        self._causal = family_of(model.config).causal
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
        varlen = on_device(laid_out(segments, shape, causal=self._causal), device)
        packed = PackedMasks((), kernel=self._kernel, varlen=varlen)
        recording = self._recorder.record(lambda: run_trunk(self._model, rows, packed))
        self._recorded[shape] = _Recorded(rows, varlen, recording)

    def drop(self, shape: Shape) -> None:
        """Use a shape no more."""
        del self._recorded[shape]

    def shape_for(self, segments: Sequence[Segment]) -> Shape | None:
        """The cheapest that is recorded and holds them."""
        shapes = reversed(self._recorded)
        return next((shape for shape in shapes if fits(segments, shape, causal=self._causal)), None)

    def __call__(self, inputs: Inputs, segments: Sequence[Segment]) -> Tensor | None:
        """Last hidden states [T, hidden] from the cheapest shape that they fit; None where there is none."""
        shape = self.shape_for(segments)
        if shape is None:
            return None
        plan, recorded = laid_out(segments, shape, causal=self._causal), self._recorded[shape]
        with self._lock:
            for name, row in model_rows(inputs, shape.rows).items():
                place_into(recorded.rows[name], row)
            place_into(recorded.varlen.queries, plan.queries)
            place_into(recorded.varlen.keys, plan.keys)
            place_into(recorded.varlen.num_keys, plan.num_keys)
            if plan.source is not None and recorded.varlen.source is not None:
                place_into(recorded.varlen.source, plan.source)
            recorded.recording.replay()
            return recorded.recording.output.clone()


def recorded_trunk(
    model: PreTrainedModel,
    manifest: Manifest,
    rows: int,
    kernel: VarlenKernel,
    recorder: Recorder | None = None,
) -> TrunkGraphs | None:
    """Recordings of all shapes that give a probe the bits of a forward of `rows` rows.

    They are made when a model is loaded: no request waits for one, and the memory is known before any comes.
    What cannot be recorded is told once and runs as without; None where nothing can.

    Args:
        recorder: None: of this device.
    """
    if not runs_packed(model.config) or getattr(model.config, "attn_logit_softcapping", None):
        return None  # a cap is applied segment by segment
    trunk = TrunkGraphs(model, kernel, recorder or CudaRecorder())
    with torch.inference_mode():
        for shape in shapes_of(rows, causal=family_of(model.config).causal):
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
    kernel: VarlenKernel,
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
    """Random conversations that fill the shape, with one prompt where it is for such."""
    shares = shape.seen is not None
    longest = shape.rows // (4 if shares else 1) if family_of(model.config).causal else shape.longest
    length = min(longest, manifest.max_tokens)
    count = min(shape.rows // length, _FEW // 2 - 1)
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (count, length), dtype=np.int32)
    prefix_len = length // 2
    if shares:
        ids[:, :prefix_len] = ids[0, :prefix_len]
    return [Encoded(row, prefix_len, truncated=False) for row in ids]
