"""The torch back end."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from guerdon_service.backends.arithmetic import torch_arithmetic
from guerdon_service.backends.attention_tiles import TileKernel, head_dim_of, kernel_for
from guerdon_service.backends.families import family_of, runs_packed
from guerdon_service.backends.freed_memory import return_freed_memory
from guerdon_service.backends.int8 import INT8, load_int8
from guerdon_service.backends.layout import share_out, split_batch
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.native.encoder_trunk import encoder_trunk
from guerdon_service.backends.native.head import take_head
from guerdon_service.backends.native_bf16 import computed_in
from guerdon_service.backends.packed import Trunk, packed_logits
from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.priority import give_way
from guerdon_service.backends.rows import row_logits
from guerdon_service.backends.shared_prompt import SharedPrompt, response_logits, shared_prompt
from guerdon_service.backends.threads import on_threads
from guerdon_service.backends.trunk_graphs import recorded_trunk
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.ports import ForwardStats

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEVICES = ("cpu", "cuda")
NUM_PARALLEL = 2
"""Forwards side by side. On CPU another is soon free while one computes something long; the host prepares one
while CUDA computes the one before."""
CUDA_ROWS = 2048
"""Rows of a forward on CUDA, at least: one shape, so one kernel, so one result for every batch."""

_FIRST_USE = threading.Lock()
"""Of Triton's kernels: while one thread loads them they look ready to another, and are not."""


def check_placement(dtype: str, device: str) -> None:
    """Refuse what torch cannot serve here.

    Raises:
        InvalidInput: no such dtype or device.
    """
    if dtype not in DTYPES:
        raise InvalidInput(
            f"dtype is {dtype!r}; the torch back end takes {', '.join(DTYPES)} or, for encoders, int8",
            param="dtype",
        )
    if device not in DEVICES or (device == "cuda" and not torch.cuda.is_available()):
        raise InvalidInput(f"device {device!r} is not available; use cpu", param="device")


def rows_on(device: str, manifest: Manifest) -> int | None:
    """Rows of every packed forward on CUDA, which chooses kernels by shape; None elsewhere: as it needs."""
    return max(CUDA_ROWS, manifest.max_tokens) if device == "cuda" else None


class TorchBackend:
    """One loaded model; the packed forward where the architecture can, else row by row.

    `core.ports.ParallelBackend`. A forward that is alone when it begins is shared out to all threads, others
    to their part. A lone item of an encoder has its part in any case, so that what comes meanwhile finds a
    core. Responses to one prompt are shared out once all their threads have computed the prompt.

    Args:
        fixed_rows: rows of every packed forward, at least the longest conversation's; None: as many as
            the batch needs.
        kernel: attends to all conversations of a packed forward at once; None: one by one.
        trunk: of packed forwards, recorded ones on CUDA; None: by tiles where it is made of them, else the
            model's own.
    """

    name = "torch"

    def __init__(
        self,
        model: PreTrainedModel,
        manifest: Manifest,
        dtype: str,
        fixed_rows: int | None = None,
        kernel: TileKernel | None = None,
        trunk: Trunk | None = None,
    ) -> None:
        self.dtype = dtype
        self.num_heads = len(manifest.heads)
        self._packs = runs_packed(model.config)
        self.shares_prefix = self._packs and family_of(model.config).causal
        self._model: PreTrainedModel | None = model
        self._manifest = manifest
        self._fixed_rows = fixed_rows
        self._kernel = kernel
        on_cpu = model.device.type == "cpu"
        if on_cpu:
            take_head(model)
        by_tiles = on_cpu and self._packs and fixed_rows is None
        self._trunk = trunk or (encoder_trunk(model.base_model) if by_tiles else None)
        self._num_threads = torch.get_num_threads()
        # Packed forwards have the same bits on any number of threads; `row_logits` has not.
        self._shares_out = self._packs and on_cpu
        # What does not pack may keep what one forward told it, as rotary scalings do.
        most_parallel = min(NUM_PARALLEL, self._num_threads) if on_cpu else NUM_PARALLEL
        self.num_parallel = most_parallel if self._packs else 1
        self.arithmetic = torch_arithmetic(model.device, None if self._packs else self._num_threads)
        # one forward on all threads, and as many again and some for those that begin meanwhile
        self._pool = ThreadPoolExecutor(
            2 * self._num_threads + NUM_PARALLEL, "guerdon-forward", initializer=give_way if on_cpu else None
        )
        self._num_running = 0
        self._lock = threading.Lock()

    @staticmethod
    def load(artifact: Artifact, dtype: str = "float32", device: str = "cpu") -> "TorchBackend":
        """Load the artifact's model.

        Raises:
            InvalidInput: no such dtype or device, or `load_classifier` or `load_int8` refuses the artifact.
        """
        if dtype == INT8:
            return TorchBackend(load_int8(artifact, device), artifact.manifest, dtype)
        check_placement(dtype, device)
        model = load_classifier(artifact, DTYPES[dtype], device)
        if computed_in(DTYPES[dtype], device) != DTYPES[dtype]:
            model = model.float()
        if device == "cpu":
            prepack(model.base_model)
        return TorchBackend.over(model, artifact.manifest, dtype)

    @staticmethod
    def over(
        model: PreTrainedModel, manifest: Manifest, dtype: str, *, records: bool = True
    ) -> "TorchBackend":
        """Serve a model that is on its device in this dtype, in the way that is fastest there.

        Args:
            records: as CUDA graphs, where it can be.
        """
        device = model.device.type
        rows = rows_on(device, manifest)
        with _FIRST_USE:
            packs = runs_packed(model.config)
            kernel = kernel_for(device, DTYPES[dtype], head_dim_of(model.config)) if packs else None
            if kernel:
                _fuse(model, DTYPES[dtype])
            trunk = recorded_trunk(model, manifest, rows, kernel) if records and rows and kernel else None
            backend = TorchBackend(model, manifest, dtype, rows, kernel, trunk)
            if kernel and trunk is None:
                backend.forward([Encoded(np.zeros(2, np.int32), 1, truncated=False)])
        return backend

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        """Score a batch: raw logits float32 [B, H], and what it cost.

        On CPU a batch is shared out to one thread per core: their small operations then wait for nobody,
        where threads inside each operation would wait for the slowest at its end.
        """
        with self._running() as is_alone:
            its_threads = -(-self._num_threads // self.num_parallel)
            num_parts = self._num_threads if is_alone else its_threads
            parts = share_out(batch, num_parts if self._shares_out else 1, shared=self.shares_prefix)
            prompt = None
            if self._shares_out and self.shares_prefix and len(batch) > len(parts) == 1 < num_parts:
                prompt = self._pool.submit(self._prompt_of, batch, num_threads=num_parts).result()
                parts = share_out(batch, num_parts, shared=False)
            one_part = num_parts if self.shares_prefix else its_threads
            num_threads = 1 if len(parts) > 1 else one_part
            run = partial(self._forward_part, batch, prompt=prompt, num_threads=num_threads)
            scored = list(self._pool.map(run, parts))
        scores = np.empty((len(batch), self.num_heads), dtype=np.float32)
        for part, (rows, _) in zip(parts, scored, strict=True):
            scores[part] = rows
        num_computed = sum(computed for _, computed in scored) + (prompt.computed if prompt else 0)
        return scores, ForwardStats(sum(e.num_tokens for e in batch), num_computed)

    @contextmanager
    def _running(self) -> Iterator[bool]:
        """Whether no other forward is under way."""
        with self._lock:
            self._num_running += 1
            is_alone = self._num_running == 1
        try:
            yield is_alone
        finally:
            with self._lock:
                self._num_running -= 1

    def _prompt_of(self, batch: Sequence[Encoded], *, num_threads: int) -> SharedPrompt:
        """The one prompt of a batch."""
        with on_threads(num_threads), torch.inference_mode():
            return shared_prompt(self._loaded(), self._manifest, batch[0])

    def _forward_part(
        self, batch: Sequence[Encoded], part: Sequence[int], *, prompt: SharedPrompt | None, num_threads: int
    ) -> tuple[NDArray[np.float32], int]:
        """Raw logits of the conversations at `part`, and the rows computed besides those of `prompt`."""
        members = [batch[i] for i in part]
        with on_threads(num_threads), torch.inference_mode():
            packs = split_batch(members, self._fixed_rows, shared=self.shares_prefix)
            scored = [self._score(pack, prompt) for pack in packs]
            logits = torch.cat([rows for rows, _ in scored]).cpu().numpy()
        return logits, sum(size for _, size in scored)

    def _score(self, pack: Sequence[Encoded], prompt: SharedPrompt | None) -> tuple[Tensor, int]:
        model = self._loaded()
        if prompt is not None:
            return response_logits(model, self._manifest, pack, prompt)
        if self._packs:
            return packed_logits(model, self._manifest, pack, self._fixed_rows, self._kernel, self._trunk)
        return row_logits(model, self._manifest, pack)

    def _loaded(self) -> PreTrainedModel:
        assert self._model is not None, "forward after close"
        return self._model

    def close(self) -> None:
        """Free the weights."""
        self._pool.shutdown()
        self._model = self._trunk = None
        return_freed_memory()


def _fuse(model: PreTrainedModel, dtype: torch.dtype) -> None:
    from guerdon_service.backends.cuda_layer import fuse  # Triton comes with torch for CUDA alone

    fuse(model.base_model, dtype)
