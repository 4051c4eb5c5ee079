"""Sampling: the noise decides, not the batch; padding, EOS and temperature leave every figure right."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import load_policy
from guerdon_training.ppo.sample import (
    Responses,
    draw,
    next_token_probabilities,
    pad_left,
    positions,
    sample_responses,
    shared_length,
    uniforms,
)

PROMPTS = ([1, 4, 5, 3, 2], [1, 6, 3, 2], [1, 4, 7, 8, 9, 10, 11, 3, 2], [2])
END = 3


@pytest.fixture(scope="module")
def model(policy_folder: Path) -> Any:
    return load_policy(policy_folder, PolicyLora(), 0).eval()


def _sample(model: Any, rows: list[int], *, num_tokens: int = 24, temperature: float = 0.8) -> Responses:
    return sample_responses(
        model,
        [PROMPTS[i] for i in rows],
        uniforms(rows, num_tokens),
        temperature=temperature,
        top_p=1.0,
        eos_token_ids=[END],
        pad_token_id=END,
    )


def _naive(model: Any, row: int, num_tokens: int, temperature: float) -> tuple[list[int], list[float]]:
    """One unpadded row without a cache, in plain torch."""
    noise = uniforms([row], num_tokens)[0]
    ids, logprobs = list(PROMPTS[row]), []
    for t in range(num_tokens):
        with torch.no_grad():
            logs = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].double() / temperature, -1)
        token = int((logs.exp().cumsum(0) <= noise[t]).sum())
        ids.append(token)
        logprobs.append(float(logs[token]))
        if token == END:
            break
    return ids[len(PROMPTS[row]) :], logprobs


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0, 2, 1]], ids=["nothing shared", "a shared beginning"])
def test_a_batch_gives_what_each_prompt_gives_alone_without_cache_or_padding(
    model: Any, rows: list[int]
) -> None:
    batch = _sample(model, rows)
    lengths = set()
    for i, row in enumerate(rows):
        tokens, logprobs = _naive(model, row, 24, 0.8)
        n = int(batch.mask[i].sum())
        lengths.add(n)
        assert batch.tokens[i, :n].tolist() == tokens
        torch.testing.assert_close(batch.logprobs[i, :n], torch.tensor(logprobs), atol=1e-5, rtol=0)
    assert len(lengths) > 2  # rows left the batch at different times


def test_the_response_ends_with_its_first_eos_although_the_pad_is_the_eos(model: Any) -> None:
    batch = _sample(model, [0, 1, 2, 3])
    for tokens, mask, finished in zip(batch.tokens, batch.mask, batch.finished, strict=True):
        n = int(mask.sum())
        assert mask.tolist() == [1.0] * n + [0.0] * (len(mask) - n)
        assert tokens[:n].tolist().count(END) == int(finished)
        assert bool(tokens[n - 1] == END) is bool(finished)
        assert tokens[n:].eq(END).all()


def test_a_response_that_fills_every_place_is_not_finished(model: Any) -> None:
    one = _sample(model, [0, 1, 2, 3], num_tokens=1)
    assert one.mask.sum() == 4
    assert one.finished.tolist() == [bool(t == END) for t in one.tokens[:, 0]]


def test_what_prompts_share_ends_before_the_shortest_does() -> None:
    assert shared_length([[1, 2, 3], [1, 2, 4, 5], [1, 2, 3, 3]]) == 2
    assert shared_length([[1, 2], [1, 2, 3]]) == 1
    assert shared_length([[1, 2], [1, 2]]) == 1
    assert shared_length([[1], [2]]) == 0
    assert shared_length(PROMPTS) == 0
    assert shared_length([PROMPTS[i] for i in (0, 2, 1)]) == 1


def test_positions_count_real_tokens() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert positions(mask).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 2, 2]]


def test_left_padding_does_not_move_the_logits(model: Any) -> None:
    ids, mask = pad_left(PROMPTS, END)
    with torch.no_grad():
        padded = model(ids, attention_mask=mask, position_ids=positions(mask)).logits
        for row, prompt in enumerate(PROMPTS):
            alone = model(torch.tensor([prompt])).logits[0]
            torch.testing.assert_close(padded[row, -len(prompt) :], alone, atol=1e-5, rtol=0)


def test_noise_depends_on_its_seed_alone() -> None:
    assert torch.equal(uniforms([7, 8], 5)[1], uniforms([8], 5)[0])
    assert not torch.equal(uniforms([7], 5), uniforms([8], 5))


def _probabilities() -> Tensor:
    return torch.tensor([[0.1, 0.0, 0.4, 0.2, 0.3]], dtype=torch.float64)


def test_draws_follow_the_distribution_and_never_pick_the_impossible() -> None:
    noise = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000  # every quantile once
    counts = draw(_probabilities().expand(1000, -1), noise).bincount(minlength=5)
    assert counts.tolist() == [100, 0, 400, 200, 300]
    edge = torch.tensor([0.0, 0.1, 1.0 - 2**-53], dtype=torch.float64)
    assert draw(_probabilities().expand(3, -1), edge).tolist() == [0, 2, 4]


def test_temperature_divides_the_logits() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0]])
    expected = torch.softmax(logits.double() / 0.5, -1)
    torch.testing.assert_close(next_token_probabilities(logits, 0.5, 1.0), expected)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.39, [2]), (0.41, [2, 4]), (0.69, [2, 4]), (0.71, [2, 3, 4]), (0.95, [0, 2, 3, 4]), (1e-9, [2])],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, kept: list[int]) -> None:
    found = next_token_probabilities(_probabilities().log(), 1.0, top_p)[0]
    assert found.nonzero().squeeze(1).tolist() == kept
    share = _probabilities()[0, kept]
    torch.testing.assert_close(found[kept], share / share.sum())
