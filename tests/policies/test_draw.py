"""The next token follows softmax(logits / T) cut to its nucleus; its noise depends on (seed, index) alone."""

import pytest
import torch
from scipy import stats
from torch import Tensor

from guerdon_service.policies.draw import draw, uniforms

PROBABILITIES = torch.tensor([0.1, 0.0, 0.4, 0.2, 0.3], dtype=torch.float64)


def quantiles(count: int) -> Tensor:
    """Every quantile once."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def counts(temperature: float, top_p: float, count: int = 1000) -> list[int]:
    logits = PROBABILITIES.log().expand(count, -1)
    return draw(logits, quantiles(count), temperature, top_p).bincount(minlength=5).tolist()


def test_draws_follow_the_distribution_and_never_pick_the_impossible() -> None:
    assert counts(1.0, 1.0) == [100, 0, 400, 200, 300]
    edge = torch.tensor([0.0, 0.1 + 1e-12, 1.0 - 2**-53], dtype=torch.float64)
    assert draw(PROBABILITIES.log().expand(3, -1), edge, 1.0, 1.0).tolist() == [0, 2, 4]


def test_temperature_divides_the_logits() -> None:
    expected = torch.softmax(PROBABILITIES.log() / 0.5, -1) * 1000
    assert counts(0.5, 1.0) == pytest.approx(expected.tolist(), abs=1)


def test_temperature_zero_is_the_likeliest_token() -> None:
    assert counts(0.0, 0.5) == [0, 0, 1000, 0, 0]


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.39, [2]), (0.41, [2, 4]), (0.69, [2, 4]), (0.71, [2, 3, 4]), (0.95, [0, 2, 3, 4]), (1e-9, [2])],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, kept: list[int]) -> None:
    share = PROBABILITIES[kept] / PROBABILITIES[kept].sum() * 1000
    found = counts(1.0, top_p)
    assert [i for i, n in enumerate(found) if n] == kept
    assert [found[i] for i in kept] == pytest.approx(share.tolist(), abs=1)


def test_a_nucleus_larger_than_the_first_look_is_found_whole() -> None:
    logits = torch.zeros(2000, 1000)
    logits[:, 0] = 3.0
    found = draw(logits, quantiles(2000), 1.0, 0.99).unique()
    weight = float(torch.tensor(3.0).exp())
    nucleus = 1 + -(-(0.99 * (weight + 999) - weight) // 1)
    assert len(found) == pytest.approx(nucleus, abs=1)


def test_each_row_has_its_own_nucleus() -> None:
    peaked, flat = torch.tensor([9.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.0])
    noise = torch.full((2,), 0.99, dtype=torch.float64)
    first, second = draw(torch.stack([peaked, flat]), noise, 1.0, 0.9).tolist()
    assert first == 0
    assert second != 0


def test_noise_is_a_function_of_seed_and_index_and_goes_on() -> None:
    assert torch.equal(uniforms(7, 3, 5), uniforms(7, 3, 9)[:5])
    assert not torch.equal(uniforms(7, 3, 5), uniforms(7, 4, 5))
    assert not torch.equal(uniforms(7, 3, 5), uniforms(8, 3, 5))
    assert not torch.equal(uniforms(-1, 0, 5), uniforms(1, 0, 5))


def test_noise_is_uniform_across_candidates() -> None:
    first = torch.stack([uniforms(0, i, 2) for i in range(4000)]).numpy()
    assert stats.kstest(first[:, 0], "uniform").pvalue > 0.01
    assert stats.kstest(first[:, 1], "uniform").pvalue > 0.01
    assert abs(stats.pearsonr(first[:, 0], first[:, 1]).statistic) < 0.05
