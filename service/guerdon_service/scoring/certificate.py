"""The score certificate: no model becomes ready before it has shown that its scores are right.

Golden conversations (or, without them, probes) go through encoder and back end, alone and in mixed
batches. Alone must equal mixed bit for bit; both must equal the fp32 reference within the tolerance of
the back end's dtype.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guerdon_service.artifacts.golden import Golden
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.certificate import Certificate, Check
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong
from guerdon_service.core.ports import Backend, Encoder

Scores = NDArray[np.float32]
Reference = Callable[[Artifact, Sequence[Encoded]], Scores]

MAX_GOLDEN = 32
"""Golden lines that are replayed; enough to see a fault, few enough for a start in seconds."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest ``|score - reference|``: ``of_range * (max - min) + relative * max(1, |reference|)``.

    The range is that of the references of one head. Half precision and int8 round the hidden states, an
    error in proportion to what the head tells apart; a lost head, an activation or a wrong pooled token
    moves some score by a large part of the range.
    """

    of_range: float
    relative: float

    def limit(self, reference: Scores) -> Scores:
        """float32 [B, H] of largest differences."""
        spread = np.ptp(reference, axis=0)
        limit = self.of_range * spread + self.relative * np.maximum(1.0, np.abs(reference))
        return np.asarray(limit, dtype=np.float32)


TOLERANCES = {
    ("torch", "float32"): Tolerance(0.0, 1e-5),
    ("torch", "float16"): Tolerance(0.02, 0.005),
    ("torch", "bfloat16"): Tolerance(0.05, 0.02),
    ("torch", "int8"): Tolerance(0.10, 0.05),
    ("onnxruntime", "float32"): Tolerance(0.0, 1e-4),
    ("onnxruntime", "int8"): Tolerance(0.10, 0.05),
}
"""By back end and dtype."""
RECORDED = 1e-4
"""Least relative tolerance against scores that another machine recorded in fp32."""
DEFAULT = Tolerance(0.0, 1e-5)
"""For back ends that are not listed."""


def certify(
    artifact: Artifact,
    encoder: Encoder,
    backend: Backend,
    golden: Sequence[Golden],
    reference: Reference | None = None,
) -> Certificate:
    """Replay conversations through `encoder` and `backend`.

    Args:
        golden: their recorded scores are the reference; without any, `reference` scores the probes live.

    Raises:
        InvalidInput: the reference cannot be loaded, or a conversation cannot be encoded.
    """
    replayed = golden[:MAX_GOLDEN]
    batch = [encoder.encode(g.conversation, f"golden.jsonl[{i}]") for i, g in enumerate(replayed)]
    batch += _encoded_probes(encoder)
    if not batch:
        return Certificate((Check("probes", False, "no probe fits the model; raise manifest.max_tokens"),))
    alone = np.concatenate([backend.forward([encoded])[0] for encoded in batch])
    shape = (len(batch), len(artifact.manifest.heads))
    checks = [Check("heads", alone.shape == shape, f"scores have shape {alone.shape}, expected {shape}")]
    if checks[0].passed:
        checks += [_finite(alone), _mixed(backend, batch, alone)]
    if all(check.passed for check in checks):
        tolerance = TOLERANCES.get((backend.name, backend.dtype), DEFAULT)
        if replayed:
            recorded = np.array([g.raw for g in replayed], dtype=np.float32)
            wider = Tolerance(tolerance.of_range, max(tolerance.relative, RECORDED))
            checks.append(_close("golden", alone[: len(replayed)], recorded, wider))
        else:
            checks.append(_close("reference", alone, (reference or _plain)(artifact, batch), tolerance))
    return Certificate(tuple(checks))


def _plain(artifact: Artifact, batch: Sequence[Encoded]) -> Scores:
    from guerdon_service.backends.reference import reference_scores

    return reference_scores(artifact, batch)


def _encoded_probes(encoder: Encoder) -> list[Encoded]:
    """Those probes that fit the model."""
    encoded = []
    for probe in PROBES:
        with suppress(InputTooLong):
            encoded.append(encoder.encode(probe, "probe"))
    return encoded


def _finite(alone: Scores) -> Check:
    bad = int((~np.isfinite(alone)).any(axis=1).sum())
    return Check("finite", bad == 0, f"{bad} of {len(alone)} conversations score NaN or infinity")


def _mixed(backend: Backend, batch: Sequence[Encoded], alone: Scores) -> Check:
    """The whole batch, in order and reversed, against each conversation alone: equal bits."""
    forward = backend.forward(batch)[0]
    backward = backend.forward(batch[::-1])[0][::-1]
    same = [
        a.tobytes() == f.tobytes() == b.tobytes() for a, f, b in zip(alone, forward, backward, strict=True)
    ]
    changed = len(same) - sum(same)
    return Check("batch", changed == 0, f"{changed} of {len(same)} scores change with their batch")


def _close(name: str, scores: Scores, expected: Scores, tolerance: Tolerance) -> Check:
    excess = np.abs(scores - expected) - tolerance.limit(expected)
    row, head = np.unravel_index(int(np.argmax(excess)), excess.shape)
    detail = (
        f"conversation {row}, head {head} scores {scores[row, head]:.6g}, the reference is "
        f"{expected[row, head]:.6g}; allowed {tolerance.limit(expected)[row, head]:.2g}"
    )
    return Check(name, bool(excess[row, head] <= 0), detail)


_CODE = "def area(radius):\n    return 3.14159 * radius ** 2\n"
PROBES = (
    Conversation.of("Hi", "Hello."),
    Conversation.of("What is the capital of France?", "The capital of France is Paris."),
    Conversation.of("What is the capital of France?", "I don't know, and I would rather not look it up."),
    Conversation.of("What is the capital of France?", "Paris. " * 40),
    Conversation.of("Write a function for the area of a circle.", _CODE),
    Conversation.of("Write a function for the area of a circle.", "  No.\n"),
    Conversation.of("Gib mir drei Gründe, früh aufzustehen. 😀 " * 12, "Ruhe, Licht und Zeit."),
    Conversation.of("Tell me how to pick a lock.", "I can't help with that, but a locksmith can. " * 6),
)
"""Short and long, equal prompts, code, other scripts, leading and trailing blanks."""
