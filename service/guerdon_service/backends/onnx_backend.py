"""The onnxruntime back end: graphs that ``guerdon export`` wrote, one conversation per run."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from transformers import PreTrainedConfig

from guerdon_service.backends.arithmetic import cuda_device, instruction_sets
from guerdon_service.backends.families import check_positions, pool_of
from guerdon_service.backends.pooling import pooled_index
from guerdon_service.backends.safe import read_config
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.ports import ForwardStats

FILES = {"float32": "fp32.onnx", "int8": "int8.onnx"}
"""Graph of each dtype, in the artifact's folder ``onnx``."""
_SLOWER = ["SkipLayerNormFusion"]
"""A fusion whose CPU kernel takes twice the time of the two that it replaces."""
_ERRORS_ONLY = 3
"""onnxruntime's log severity; its warnings are about graph optimisation."""


class OnnxBackend:
    """One loaded graph.

    Every conversation is a run of its own, ``input_ids`` int64 [1, num_tokens] without padding, on one
    thread; several run side by side. So its bits cannot depend on its batch. Running equal lengths
    together would not do: the head's product takes another kernel for one row than for several.
    """

    name = "onnxruntime"
    shares_prefix = False

    def __init__(
        self, session: Any, config: PreTrainedConfig, manifest: Manifest, dtype: str, num_threads: int
    ) -> None:
        self.dtype = dtype
        self.num_heads = len(manifest.heads)
        self._session = session
        self._inputs = frozenset(node.name for node in session.get_inputs())
        self._config = config
        self._manifest = manifest
        self.arithmetic = _arithmetic(session.get_providers()[0])
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="onnxruntime")

    @staticmethod
    def load(
        artifact: Artifact, dtype: str = "float32", device: str = "cpu", num_threads: int | None = None
    ) -> "OnnxBackend":
        """Load the artifact's graph.

        Args:
            dtype: ``float32``, or ``int8`` (CPU).
            num_threads: conversations that run side by side; None: one for each core of this
                process.

        Raises:
            InvalidInput: no such dtype or device, no exported graph, one that cannot be read, or fewer
                positions than the manifest's `max_tokens`.
        """
        if dtype not in FILES:
            raise InvalidInput(
                f"dtype is {dtype!r}; the onnxruntime back end takes {', '.join(FILES)}", param="dtype"
            )
        providers = _providers(device, dtype)
        path = artifact.folder / "onnx" / FILES[dtype]
        if not path.is_file():
            raise InvalidInput(
                f"model {artifact.manifest.name} has no onnx/{path.name}; write it with guerdon export "
                f"--model {artifact.folder.name} --dtype {path.stem}",
                param="backend",
            )
        config = read_config(artifact.base_folder, len(artifact.manifest.heads))
        check_positions(config, artifact.manifest.max_tokens)
        session = _session(path, providers)
        threads = 1 if device == "cuda" else num_threads or _cores()
        return OnnxBackend(session, config, artifact.manifest, dtype, threads)

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        """Score a batch: raw logits float32 [B, H], and what it cost."""
        assert self._session is not None, "forward after close"
        # Longest first: the last to finish is then a short one.
        order = sorted(range(len(batch)), key=lambda i: -batch[i].num_tokens)
        scores = np.empty((len(batch), self.num_heads), dtype=np.float32)
        for i, row in zip(order, self._pool.map(self._row, [batch[i] for i in order]), strict=True):
            scores[i] = row
        num_tokens = sum(e.num_tokens for e in batch)
        return scores, ForwardStats(num_tokens, num_tokens)

    def close(self) -> None:
        """Free the weights."""
        self._pool.shutdown()
        self._session = None

    def feeds(self, batch: Sequence[Encoded]) -> list[dict[str, NDArray[np.int64]]]:
        """The graph's inputs for each conversation, as `forward` gives them."""
        return [self._feed(encoded) for encoded in batch]

    def _row(self, encoded: Encoded) -> NDArray[np.float32]:
        """Logits float32 [H] of one conversation."""
        return self._session.run(["logits"], self._feed(encoded))[0][0]  # type: ignore[no-any-return]

    def _feed(self, encoded: Encoded) -> dict[str, NDArray[np.int64]]:
        ids = encoded.input_ids.astype(np.int64)
        types = np.zeros_like(ids)
        if self._manifest.encoding == "pair":
            types[encoded.prefix_len :] = 1
        pool, pad = pool_of(self._config), self._config.pad_token_id
        index = pooled_index(encoded.input_ids, pad, pool, self._manifest.pooling)
        feed = {
            "input_ids": ids[None],
            "token_type_ids": types[None],
            "pooled_index": np.array([index]),
            "prefix_len": np.array([encoded.prefix_len]),
        }
        return {name: value for name, value in feed.items() if name in self._inputs}


def _providers(device: str, dtype: str) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if device != "cuda":
        raise InvalidInput(f"device is {device!r}; use cpu or cuda", param="device")
    if dtype == "int8":
        raise InvalidInput("dtype int8 of the onnxruntime back end runs on cpu; use float32", param="dtype")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise InvalidInput(
            "device cuda needs onnxruntime's CUDA provider; "
            "pip install 'guerdon[gpu]' in place of onnxruntime",
            param="device",
        )
    # TF32 keeps 10 bits of each factor, which the fp32 tolerance forbids.
    return [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]


def _arithmetic(provider: str) -> str:
    on_device = provider.startswith("CUDA") and torch.cuda.is_available()
    return f"onnxruntime {ort.__version__}, {provider}, {cuda_device() if on_device else instruction_sets()}"


def _session(path: Path, providers: list[Any]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False  # one plan is kept for every length ever seen
    options.log_severity_level = _ERRORS_ONLY
    try:
        return ort.InferenceSession(str(path), options, providers=providers, disabled_optimizers=_SLOWER)
    except Exception as err:  # onnxruntime's errors share no public base
        raise InvalidInput(
            f"onnx/{path.name} cannot be loaded ({type(err).__name__}: {err}); write it again "
            "with guerdon export",
            param="source",
        ) from err


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
