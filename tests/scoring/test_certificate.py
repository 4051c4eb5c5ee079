"""Each way in which a score goes silently wrong is caught before the model is ready."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from guerdon_service.artifacts.golden import Golden
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.certificate import Certificate
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong
from guerdon_service.core.ports import ForwardStats
from guerdon_service.scoring.certificate import PROBES, Scores, certify
from tests.backends.artifacts import tiny_artifact

ARTIFACT = tiny_artifact("llama", 2)
BOS, EOS = 0, 4


class Bytes:
    """Text to its bytes, shifted above the special tokens."""

    def __init__(self, max_tokens: int = 512) -> None:
        self.max_tokens = max_tokens

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        response = [b % 256 + 10 for b in conversation.response.encode()] + [EOS]
        if len(response) >= self.max_tokens:
            raise InputTooLong(f"{param} is too long; shorten it", param=param)
        prompt = [BOS] + [b + 10 for m in conversation.prompt for b in m.content.encode()]
        prompt = prompt[-(self.max_tokens - len(response)) :]
        return Encoded(np.array(prompt + response, dtype=np.int32), len(prompt), truncated=False)


def truth(artifact: Artifact, batch: Sequence[Encoded]) -> Scores:
    """Raw scores well spread, both signs: head h of a conversation."""
    rows = [[3 * np.sin(e.input_ids[-2] + e.num_tokens + h) for h in range(2)] for e in batch]
    return np.array(rows, dtype=np.float32)


@dataclass
class Served:
    """A back end that serves `scores`; the faults below are such functions."""

    scores: Callable[[Sequence[Encoded]], Scores] = lambda batch: truth(ARTIFACT, batch)
    dtype: str = "float32"
    name: str = "torch"
    num_heads: int = 2
    shares_prefix: bool = False

    def forward(self, batch: Sequence[Encoded]) -> tuple[Scores, ForwardStats]:
        return np.asarray(self.scores(batch), dtype=np.float32), ForwardStats(0, 0)

    def close(self) -> None:
        pass


def certificate(served: Served, golden: Sequence[Golden] = (), max_tokens: int = 512) -> Certificate:
    return certify(ARTIFACT, Bytes(max_tokens), served, golden, truth)


def lost_head(batch: Sequence[Encoded]) -> Scores:
    return np.random.default_rng(0).normal(0, 1, 2).astype(np.float32) * truth(ARTIFACT, batch)[:, ::-1]


def sigmoid(batch: Sequence[Encoded]) -> Scores:
    return np.asarray(1 / (1 + np.exp(-truth(ARTIFACT, batch))), dtype=np.float32)


def softmax(batch: Sequence[Encoded]) -> Scores:
    weights = np.exp(truth(ARTIFACT, batch))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def wrong_token(batch: Sequence[Encoded]) -> Scores:
    return truth(ARTIFACT, [Encoded(e.input_ids[:-1], e.prefix_len, e.truncated) for e in batch])


def swapped_heads(batch: Sequence[Encoded]) -> Scores:
    return truth(ARTIFACT, batch)[:, ::-1]


def cut_response(batch: Sequence[Encoded]) -> Scores:
    return truth(ARTIFACT, [Encoded(e.input_ids[:40], e.prefix_len, e.truncated) for e in batch])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    "fault", [lost_head, sigmoid, softmax, wrong_token, swapped_heads, cut_response], ids=lambda f: f.__name__
)
def test_wrong_scores_are_caught_at_every_precision(
    fault: Callable[[Sequence[Encoded]], Scores], dtype: str
) -> None:
    found = certificate(Served(fault, dtype))
    assert not found.passed
    assert found.failure.startswith("reference: ")


def test_right_scores_pass() -> None:
    found = certificate(Served())
    assert found.passed
    assert found.failure == ""
    assert [c.name for c in found.checks] == ["heads", "finite", "batch", "reference"]


def test_noise_of_half_precision_passes_in_half_precision_alone() -> None:
    def rounded(batch: Sequence[Encoded]) -> Scores:
        return np.asarray(truth(ARTIFACT, batch).astype(np.float16), dtype=np.float32)

    assert certificate(Served(rounded, "bfloat16")).passed
    assert not certificate(Served(rounded, "float32")).passed


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_bit_of_dependence_on_the_batch_is_caught(dtype: str) -> None:
    def noisy(batch: Sequence[Encoded]) -> Scores:
        scores = truth(ARTIFACT, batch)
        return np.nextafter(scores, np.float32(9)) if len(batch) > 1 else scores

    assert certificate(Served(noisy, dtype)).failure.startswith("batch: ")


def test_dependence_on_the_order_is_caught() -> None:
    def ordered(batch: Sequence[Encoded]) -> Scores:
        scores = truth(ARTIFACT, batch)
        if batch[0].num_tokens > batch[-1].num_tokens:
            scores[0, 0] = np.nextafter(scores[0, 0], np.float32(9))
        return scores

    assert certificate(Served(ordered)).failure.startswith("batch: ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_no_numbers_are_caught(value: float) -> None:
    def broken(batch: Sequence[Encoded]) -> Scores:
        scores = truth(ARTIFACT, batch)
        scores[[e.num_tokens > 100 for e in batch], 1] = value
        return scores

    assert certificate(Served(broken)).failure.startswith("finite: ")


def test_a_missing_head_is_caught() -> None:
    assert certificate(Served(lambda batch: truth(ARTIFACT, batch)[:, :1])).failure.startswith("heads: ")


def golden(shift: float = 0.0) -> list[Golden]:
    raw = truth(ARTIFACT, [Bytes().encode(p, "p") for p in PROBES])
    return [Golden(p, tuple(float(x) + shift for x in row)) for p, row in zip(PROBES, raw, strict=True)]


def test_recorded_scores_are_the_reference_when_there_are_any() -> None:
    assert certificate(Served(), golden()).passed
    found = certificate(Served(), golden(shift=0.01))
    assert found.failure.startswith("golden: ")
    assert [c.name for c in found.checks] == ["heads", "finite", "batch", "golden"]


def test_tokens_other_than_training_saw_are_caught_by_the_recorded_scores() -> None:
    class Doubled(Bytes):
        def encode(self, conversation: Conversation, param: str) -> Encoded:
            plain = super().encode(conversation, param)
            ids = np.concatenate([np.array([BOS], dtype=np.int32), plain.input_ids])
            return Encoded(ids, plain.prefix_len + 1, plain.truncated)

    found = certify(ARTIFACT, Doubled(), Served(), golden(), truth)
    assert found.failure.startswith("golden: ")


def test_probes_that_do_not_fit_are_left_out() -> None:
    assert certificate(Served(), max_tokens=64).passed


def test_a_model_that_fits_no_probe_proves_nothing() -> None:
    assert certificate(Served(), max_tokens=6).failure.startswith("probes: ")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("arch", ["bert", "llama", "gemma2"])
def test_the_torch_back_end_earns_its_certificate(arch: str, dtype: str) -> None:
    artifact = tiny_artifact(arch, 2)
    found = certify(artifact, Bytes(), TorchBackend.load(artifact, dtype=dtype), ())
    assert found.passed, found.failure


def test_a_back_end_with_another_models_weights_is_caught() -> None:
    found = certify(ARTIFACT, Bytes(), TorchBackend.load(tiny_artifact("mistral", 2, pooling="last")), ())
    assert found.failure.startswith("reference: ")
