"""Log-probabilities do not depend on padding, packing or neighbours, and agree with plain transformers."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.encode import Example
from guerdon_training.policy.load import load_policy
from guerdon_training.policy.logprobs import (
    example_logprobs,
    row_logprobs,
    token_logprobs,
)
from guerdon_training.policy.rows import fill, pack
from tests.training_policy.tiny_lm import build_lm

LENGTHS = ((3, 5), (9, 2), (1, 1), (6, 11))


def _examples() -> list[Example]:
    generator = torch.Generator().manual_seed(3)
    examples = []
    for prompt, response in LENGTHS:
        ids = torch.randint(5, 600, (prompt + response,), generator=generator).tolist()
        examples.append(Example(tuple(ids), (False,) * prompt + (True,) * response))
    return examples


@pytest.fixture(scope="module")
def model(tiny_lm: Path) -> torch.nn.Module:
    return load_policy(tiny_lm, PolicyLora(), 0)


def _reference(model: torch.nn.Module, example: Example, temperature: float) -> torch.Tensor:
    """One unpadded row through plain transformers, log_softmax over everything."""
    ids = torch.tensor([example.input_ids])
    logs = torch.log_softmax(model(input_ids=ids).logits / temperature, -1)[0]
    return torch.stack([logs[p - 1, ids[0, p]] for p, flag in enumerate(example.is_target) if flag])


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_packed_row_gives_what_each_example_gives_alone(model: torch.nn.Module, temperature: float) -> None:
    examples = _examples()
    expected = torch.cat([_reference(model, e, temperature) for e in examples])
    torch.testing.assert_close(row_logprobs(model, pack(examples), temperature), expected, atol=1e-5, rtol=0)


def test_no_example_sees_another(model: torch.nn.Module) -> None:
    examples = _examples()
    before = row_logprobs(model, pack(examples))
    changed = Example(tuple(7 for _ in examples[1].input_ids), examples[1].is_target)
    after = row_logprobs(model, pack([examples[0], changed, *examples[2:]]))
    kept = [i for i, owner in enumerate(pack(examples).owners.tolist()) if owner != 1]
    assert torch.equal(before[kept], after[kept])
    assert not torch.equal(before, after)


def test_sums_go_to_their_example(model: torch.nn.Module) -> None:
    examples = _examples()
    expected = torch.stack([_reference(model, e, 1.0).sum() for e in examples])
    torch.testing.assert_close(example_logprobs(model, pack(examples)), expected, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_copies_agree(model: torch.nn.Module, side: str) -> None:
    examples = _examples()
    width = max(len(e.input_ids) for e in examples) + 3
    ids, mask = torch.full((len(examples), width), 2), torch.zeros(len(examples), width, dtype=torch.long)
    for i, example in enumerate(examples):
        n = len(example.input_ids)
        place = slice(width - n, width) if side == "left" else slice(0, n)
        ids[i, place], mask[i, place] = torch.tensor(example.input_ids), 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    logs = token_logprobs(logits[:, :-1], ids[:, 1:])
    padded = [
        logs[i][mask[i, 1:].bool() & mask[i, :-1].bool()][-e.num_targets :] for i, e in enumerate(examples)
    ]
    torch.testing.assert_close(row_logprobs(model, pack(examples)), torch.cat(padded), atol=1e-5, rtol=0)


def test_only_the_logits_of_targets_are_made(model: torch.nn.Module) -> None:
    made = []
    head = model.get_submodule("lm_head")
    handle = head.register_forward_hook(lambda _m, _i, out: made.append(out.shape[1]))
    row_logprobs(model, pack(_examples()))
    handle.remove()
    assert made == [sum(response for _, response in LENGTHS)]


def test_token_logprobs_is_log_softmax_with_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 9, generator=generator, requires_grad=True)
    other = logits.detach().clone().requires_grad_()
    targets = torch.tensor([0, 8, 3, 3])
    ours = token_logprobs(logits, targets, 0.5)
    theirs = torch.log_softmax(other / 0.5, -1)[torch.arange(4), targets]
    torch.testing.assert_close(ours, theirs)
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(logits.grad, other.grad)


def test_dropout_is_off_in_train_mode(tmp_path: Path) -> None:
    folder = build_lm(tmp_path / "lm", dropout=0.5)
    plain = AutoModelForCausalLM.from_pretrained(folder).train()
    model = load_policy(folder, PolicyLora(), 0).train()
    row = pack(_examples())
    assert not torch.equal(row_logprobs(plain, row), row_logprobs(plain, row))
    assert torch.equal(row_logprobs(model, row), row_logprobs(model, row))


def test_fill_respects_the_budget_and_keeps_every_item() -> None:
    lengths = [5, 9, 3, 3, 12, 1, 7]
    rows = fill(lengths, 10)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(len(row) == 1 or sum(lengths[i] for i in row) <= 10 for row in rows)
    assert len(rows) == 4
    assert all(row == sorted(row) for row in rows)
