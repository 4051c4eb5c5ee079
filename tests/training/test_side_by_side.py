"""Batches next to each other on threads of their own."""

import threading

import pytest
import torch

from guerdon_training.encode import PairTokens
from guerdon_training.forward import collate, score_rows
from guerdon_training.side_by_side import side_by_side

TIMEOUT_S = 60.0


@pytest.fixture
def two_threads() -> object:
    """torch has two, and what it had afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_two_run_at_a_time_on_one_thread_each_and_come_in_order() -> None:
    together = threading.Barrier(2)

    def run(item: int) -> tuple[int, int]:
        together.wait(TIMEOUT_S)  # breaks where the other is not under way
        return item, torch.get_num_threads()

    assert list(side_by_side(run, range(6))) == [(item, 1) for item in range(6)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_what_goes_wrong_is_raised_and_the_rest_is_left() -> None:
    started: list[int] = []

    def run(item: int) -> int:
        started.append(item)
        if item == 0:
            raise ValueError("no")
        return item

    with pytest.raises(ValueError, match="no"):
        list(side_by_side(run, range(10_000)))
    assert len(started) < 10_000


@pytest.mark.usefixtures("two_threads")
def test_scores_are_those_of_one_thread_to_the_bit() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = torch.nn.EmbeddingBag(40, 8), torch.nn.Linear(8, 2)

        def forward(self, **inputs: torch.Tensor) -> object:
            rows = self.head(self.embedding(inputs["input_ids"]))
            return type("Output", (), {"logits": rows})()

    torch.manual_seed(0)
    model, tokens = Model(), [PairTokens(tuple(range(2, 4 + n % 7)), 1) for n in range(30)]
    found = score_rows(model, tokens, 0, max_batch_tokens=20, label="test")
    torch.set_num_threads(1)
    alone = score_rows(model, tokens, 0, max_batch_tokens=20, label="test")
    assert not torch.is_inference_mode_enabled() and (found == alone).all()
    assert found.shape == (30, 2) and set(collate(tokens, 0)) >= {"input_ids"}
