"""Recorded forwards: what computes again stands in for CUDA's recorder, a plain kernel for its attention."""

import itertools
import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.cuda_graphs import Recording
from guerdon_service.backends.layout import plan_layout
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.packed import packed_inputs, packed_logits
from guerdon_service.backends.tile_plan import Shape, rows_of_tile
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.backends.trunk_graphs import TrunkGraphs, recorded_trunk, shapes_of
from guerdon_service.core.encoded import Encoded
from tests.backends.artifacts import answers, sequence, tiny_artifact
from tests.backends.test_attention_tiles import PACKED, plain_kernel
from tests.tiny import DECODERS

ROWS = 1024
BATCHES = {
    "a few": [sequence(n, seed=n) for n in (2, 40, 90)],
    "long": [sequence(500, 1), sequence(400, 2)],
    "many short": [sequence(9 + n % 7, seed=n) for n in range(60)],
    "one prompt": answers(100, tuple(range(1, 20))),
    "too many for any": [sequence(3, seed=n) for n in range(200)],
}


class Again:
    """`Recorder` of the CPU: a replay computes again and writes over the same output."""

    def __init__(self, most: int = 99) -> None:
        self.replays = 0
        self._left = most

    def record(self, run: Callable[[], Tensor]) -> Recording:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("operation not permitted when stream is capturing")
        output = run()

        def replay() -> None:
            self.replays += 1
            output.copy_(run())

        return Recording(replay, output)


def backends(arch: str, recorder: Again) -> tuple[TorchBackend, TorchBackend]:
    """Two of one model, the second with recordings."""
    artifact = tiny_artifact(arch, 2)
    model = load_classifier(artifact, torch.float32, "cpu")
    trunk = recorded_trunk(model, artifact.manifest, ROWS, plain_kernel, recorder)
    return (
        TorchBackend(model, artifact.manifest, "float32", ROWS, plain_kernel),
        TorchBackend(model, artifact.manifest, "float32", ROWS, plain_kernel, trunk),
    )


def bits(rows: NDArray[np.float32]) -> list[bytes]:
    return [row.tobytes() for row in rows]


@pytest.mark.parametrize("arch", PACKED)
def test_scores_have_the_bits_of_the_models_own_forward(arch: str) -> None:
    recorder = Again()
    plain, recorded = backends(arch, recorder)
    for batch in BATCHES.values():
        assert bits(recorded.forward(batch)[0]) == bits(plain.forward(batch)[0])
    assert recorder.replays > len(BATCHES)
    for backend in (plain, recorded):
        backend.close()


def test_nothing_of_an_earlier_batch_is_left() -> None:
    """Every pair of batches in a row, the second smaller or larger, and one alone among strangers."""
    _, recorded = backends("llama", Again())
    alone = {name: bits(recorded.forward(batch)[0]) for name, batch in BATCHES.items()}
    for first, second in itertools.permutations(BATCHES, 2):
        recorded.forward(BATCHES[first])
        assert bits(recorded.forward(BATCHES[second])[0]) == alone[second], (first, second)
    few = BATCHES["a few"]
    mixed = bits(recorded.forward([*few, *answers(100, (5, 6), seed=9)])[0])
    assert mixed[: len(few)] == alone["a few"]
    recorded.close()


def test_packs_of_one_batch_do_not_overwrite_each_other() -> None:
    recorder = Again()
    plain, recorded = backends("llama", recorder)
    batch = [sequence(n, seed=n) for n in range(390, 400)]
    before = recorder.replays
    assert bits(recorded.forward(batch)[0]) == bits(plain.forward(batch)[0])
    assert recorder.replays - before == 5, "two of 400 fit"


def test_an_answer_outlives_the_next_forward() -> None:
    """Another thread may ask before this one has read it."""
    artifact = tiny_artifact("llama", 2)
    model = load_classifier(artifact, torch.float32, "cpu")
    trunk = recorded_trunk(model, artifact.manifest, ROWS, plain_kernel, Again())
    assert trunk is not None
    answers_of = []
    for batch in ([sequence(9, 1)], [sequence(9, 2)]):
        layout = plan_layout(batch, split=True)
        with torch.inference_mode():
            hidden = trunk(packed_inputs(model, artifact.manifest, batch, layout.source), layout.segments)
        assert hidden is not None
        answers_of.append((hidden, hidden.clone()))
    assert all(torch.equal(hidden, then) for hidden, then in answers_of)
    assert not torch.equal(answers_of[0][0], answers_of[1][0])


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("rows", [2048, 4096, 32_768])
def test_shapes_are_few_and_the_dearest_come_first(rows: int, groups: int) -> None:
    shapes = shapes_of(rows, rows_of_tile(groups))
    assert shapes[0].rows == rows
    assert 8 < len(set(shapes)) == len(shapes) <= 15
    assert list(shapes) == sorted(shapes, key=lambda shape: (shape.rows, shape.tiles), reverse=True)
    assert all(shape.tiles > shape.rows / rows_of_tile(groups) for shape in shapes)


def used(trunk: TrunkGraphs, batch: list[Encoded]) -> Shape | None:
    """The shape that a decoder's batch takes."""
    return trunk.shape_for(plan_layout(batch, split=True).segments)


def test_a_batch_takes_the_cheapest_shape_that_holds_it() -> None:
    artifact = tiny_artifact("llama", 2)
    model = load_classifier(artifact, torch.float32, "cpu")
    trunk = recorded_trunk(model, artifact.manifest, ROWS, plain_kernel, Again())
    assert trunk is not None
    assert trunk.shapes == shapes_of(ROWS, rows_of_tile(2))
    found = {name: shape for name, batch in BATCHES.items() if (shape := used(trunk, batch))}
    assert {name: shape.rows for name, shape in found.items()} == {
        "a few": 256, "long": 1024, "many short": 1024, "one prompt": 512,
    }  # fmt: skip
    assert found["long"].tiles < found["many short"].tiles, "of equal rows the one of fewer segments"


def test_a_shape_that_rounds_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a device takes another kernel for fewer rows."""

    def other_kernel(query: Tensor, key: Tensor, value: Tensor, tiles: Tensor, rule: Rule) -> Tensor:
        return plain_kernel(query, key, value, tiles, rule) * (1 if len(query) == ROWS else 1 + 1e-6)

    artifact = tiny_artifact("llama", 2)
    model = load_classifier(artifact, torch.float32, "cpu")
    trunk = recorded_trunk(model, artifact.manifest, ROWS, other_kernel, Again())
    assert trunk is not None
    assert {shape.rows for shape in trunk.shapes} == {ROWS}
    assert used(trunk, BATCHES["a few"]) is not None


@pytest.mark.parametrize("most", [0, 2])
def test_what_cannot_be_recorded_is_told_once_and_runs_as_without(
    most: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        plain, recorded = backends("llama", Again(most))
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "stream is capturing" in caplog.text
    for batch in BATCHES.values():
        assert bits(recorded.forward(batch)[0]) == bits(plain.forward(batch)[0])
    assert len(caplog.records) == 1


@pytest.mark.parametrize("arch", PACKED)
def test_a_trunk_asks_for_no_result_while_it_is_recorded(arch: str) -> None:
    """On the meta device there is none to ask for, and nothing of the host's may come between."""
    artifact = tiny_artifact(arch, 2, max_tokens=512)
    model = load_classifier(artifact, torch.bfloat16, "meta")
    recorded: list[Tensor] = []

    class OnMeta:
        def record(self, run: Callable[[], Tensor]) -> Recording:
            recorded.append(run())
            return Recording(lambda: None, recorded[-1])

    def no_data(query: Tensor, key: Tensor, value: Tensor, tiles: Tensor, rule: Rule) -> Tensor:
        assert {tensor.device.type for tensor in (query, key, value, tiles)} == {"meta"}
        return torch.empty_like(query)

    trunk = TrunkGraphs(model, no_data, OnMeta())
    batch = [sequence(30, 1), sequence(20, 2)]
    layout = plan_layout(batch, split=arch in DECODERS)
    inputs = packed_inputs(model, artifact.manifest, batch, layout.source)
    shape = shapes_of(ROWS, rows_of_tile(1))[-1]
    with torch.inference_mode():
        trunk.record(shape, inputs, layout.segments)
        logits, _ = packed_logits(model, artifact.manifest, batch, ROWS, no_data)
    assert (recorded[0].shape[0], recorded[0].dtype) == (shape.rows, torch.bfloat16)
    assert (logits.shape, logits.dtype, logits.device.type) == ((2, 2), torch.float32, "meta")
