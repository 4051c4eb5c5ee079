"""One update is the mean over its tokens, however they are packed, batched or spread over processes."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from guerdon_training.distributed import shares
from guerdon_training.policy.config import PolicyLora, PolicyOptim
from guerdon_training.policy.encode import Example
from guerdon_training.policy.fit import Terms, backward
from guerdon_training.policy.load import load_policy
from guerdon_training.policy.plan import epoch_steps, num_steps
from guerdon_training.policy.rows import fill, pack
from guerdon_training.policy.schedule import learning_rate_factor
from guerdon_training.policy.trainee import accelerated
from guerdon_training.sft import SftBatch, sft_loss

LENGTHS = ((3, 5), (9, 2), (1, 1), (6, 11), (2, 20))


def _examples() -> list[Example]:
    generator = torch.Generator().manual_seed(3)
    ids = [torch.randint(5, 600, (p + r,), generator=generator).tolist() for p, r in LENGTHS]
    return [Example(tuple(i), (False,) * p + (True,) * r) for i, (p, r) in zip(ids, LENGTHS, strict=True)]


def _step(tiny_lm: Path, max_row_tokens: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one step over all examples, packed into rows of that size."""
    model = load_policy(tiny_lm, PolicyLora(), 0)
    examples = _examples()
    rows = fill([len(e.input_ids) for e in examples], max_row_tokens)
    step = [SftBatch(pack([examples[i] for i in row])) for row in rows]
    accelerator = Accelerator()
    trainee = accelerated(accelerator, model, PolicyOptim(epochs=1, learning_rate=1e-3))
    figures = backward(accelerator, trainee, step, lambda m, b: Terms(sft_loss(m, b)))
    return figures["loss"], {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("max_row_tokens", [24, 1000])
def test_packing_changes_neither_loss_nor_gradient(tiny_lm: Path, max_row_tokens: int) -> None:
    loss, gradients = _step(tiny_lm, 1)
    packed_loss, packed_gradients = _step(tiny_lm, max_row_tokens)
    assert packed_loss == pytest.approx(loss, abs=1e-5)
    assert packed_gradients.keys() == gradients.keys() != set()
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_mean_over_tokens_and_not_the_mean_of_means(tiny_lm: Path) -> None:
    model = load_policy(tiny_lm, PolicyLora(), 0)
    sums = [sft_loss(model, SftBatch(pack([e]))).item() for e in _examples()]
    counts = [r for _, r in LENGTHS]
    loss, _ = _step(tiny_lm, 1)
    assert loss == pytest.approx(sum(sums) / sum(counts), abs=1e-5)
    mean_of_means = sum(s / c for s, c in zip(sums, counts, strict=True)) / len(counts)
    assert abs(loss - mean_of_means) > 1e-2, "the examples must tell the two apart"


def test_every_process_gets_as_many_batches_and_each_batch_counts_once() -> None:
    class Sized:
        num_units = 1

    step = [Sized() for _ in range(7)]
    split = [list(shares(step, process, 3)) for process in range(3)]
    assert {len(s) for s in split} == {3}
    weights = {id(b): 0.0 for b in step}
    for batch, weight in (pair for s in split for pair in s):
        weights[id(batch)] += weight
    assert set(weights.values()) == {1.0}


def test_an_epoch_has_every_item_once_and_its_order_is_its_own() -> None:
    first, again, second = (list(epoch_steps(10, 4, 7, epoch)) for epoch in (0, 0, 1))
    assert first == again != second
    assert [len(step) for step in first] == [4, 4, 2]
    assert len(first) == num_steps(10, 4)
    assert sorted(i for step in first for i in step) == list(range(10))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_learning_rate_warms_up_and_falls_to_nothing(schedule: str) -> None:
    rates = [learning_rate_factor(step, 100, 0.1, schedule) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.02


def test_frozen_weights_have_no_gradient(tiny_lm: Path) -> None:
    model = load_policy(tiny_lm, PolicyLora(rank=2, last_layers=1), 0)
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert names and all("lora_" in n and ".layers.1." in n for n in names)
    loss = sft_loss(model, SftBatch(pack(_examples())))
    loss.backward()
    assert isinstance(model, nn.Module)
    assert {n for n, p in model.named_parameters() if p.grad is not None} == names
