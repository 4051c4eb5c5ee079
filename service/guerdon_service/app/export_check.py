"""What was exported against what they were made from."""

import numpy as np
from numpy.typing import NDArray

from guerdon_service.app.export_probes import Probes
from guerdon_service.backends.onnx_backend import OnnxBackend
from guerdon_service.backends.reference import reference_scores
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import Backend

ORDER_AGREEMENT = 0.98
"""Least share of pairs that int8 must order as fp32 does, head by head."""

_BATCH = 16
"""Conversations of one forward: memory is bounded, whatever the number of pairs."""

Scores = NDArray[np.float32]


def check_fp32(artifact: Artifact, staged: Artifact, probes: Probes, tolerance: float) -> str:
    """A line on how far the fp32 graph of `staged` is from `artifact` in plain `transformers`.

    Raises:
        InvalidInput: further than `tolerance` on some conversation.
    """
    expected = reference_scores(artifact, probes.rows)
    difference = float(np.abs(_scores(OnnxBackend.load(staged), probes.rows) - expected).max())
    if not difference <= tolerance:  # NaN included
        raise InvalidInput(
            f"onnx fp32 differs from the model by {difference:.2g} on {len(probes.rows)} conversations, more "
            f"than tolerance {tolerance:g}; serve this model with the torch back end",
            param="tolerance",
        )
    return f"fp32: largest difference {difference:.2g} on {len(probes.rows)} conversations"


def check_int8(staged: Artifact, probes: Probes) -> str:
    """A line on how many pairs the int8 graph orders as the fp32 graph does.

    Raises:
        InvalidInput: fewer than `ORDER_AGREEMENT` of them.
    """
    return _check_order("onnx", OnnxBackend.load(staged), OnnxBackend.load(staged, "int8"), probes)


def check_torch_int8(staged: Artifact, probes: Probes) -> str:
    """The same of the torch back end.

    Raises:
        InvalidInput: as `check_int8`.
    """
    return _check_order("torch", TorchBackend.load(staged), TorchBackend.load(staged, "int8"), probes)


def _check_order(kind: str, fp32: Backend, int8: Backend, probes: Probes) -> str:
    first, second = [a for a, _ in probes.pairs], [b for _, b in probes.pairs]
    margins = [_margins(backend, first, second) for backend in (fp32, int8)]
    agreement = float((np.sign(margins[0]) == np.sign(margins[1])).mean(axis=0).min())
    if not agreement >= ORDER_AGREEMENT:
        raise InvalidInput(
            f"{kind} int8 orders {agreement:.1%} of {len(first)} pairs as fp32 does, less than "
            f"{ORDER_AGREEMENT:.0%}; give real preference records with --calibration, or use --dtype fp32",
            param="dtype",
        )
    return f"{kind} int8: {agreement:.2%} of {len(first)} pairs ordered as fp32 does"


def calibration_feeds(staged: Artifact, probes: Probes) -> list[dict[str, NDArray[np.int64]]]:
    """Inputs of the fp32 graph of `staged` for the conversations that calibrate int8."""
    backend = OnnxBackend.load(staged, "float32")
    try:
        return backend.feeds(probes.calibration)
    finally:
        backend.close()


def _margins(backend: Backend, first: list[Encoded], second: list[Encoded]) -> Scores:
    """Score of `first` less that of `second`, float32 [num_pairs, H]; each conversation is scored once."""
    unique = {id(encoded): encoded for encoded in (*first, *second)}
    scores = dict(zip(unique, _scores(backend, list(unique.values())), strict=True))
    return np.array([scores[id(a)] - scores[id(b)] for a, b in zip(first, second, strict=True)])


def _scores(backend: Backend, rows: list[Encoded]) -> Scores:
    """Logits of `rows`; the back end is closed."""
    try:
        parts = [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]
        return np.concatenate([backend.forward(part)[0] for part in parts])
    finally:
        backend.close()
