"""The EOS trick and the normalisation of scores."""

import pytest
import torch

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Norm
from guerdon_training.ppo.config import ScoreRule
from guerdon_training.ppo.scores import final_scores, fit_score_norm

RAW = (4.0, 1.0, None, None)
FINISHED = torch.tensor([True, False, True, False])


@pytest.mark.parametrize(
    ("missing_eos", "expected"),
    [
        ("replace", [1.5, -2.0, -7.0, -2.0]),
        ("subtract", [1.5, -2.0, -7.0, -9.0]),
        ("keep", [1.5, 0.0, -7.0, -7.0]),
    ],
)
def test_the_eos_trick(missing_eos: str, expected: list[float]) -> None:
    rule = ScoreRule(missing_eos=missing_eos, missing_eos_penalty=2.0, unscorable=-7.0)
    assert final_scores(RAW, FINISHED, Norm(1.0, 2.0), rule).tolist() == expected


def test_normalised_scores_of_the_sample_have_mean_0_and_deviation_1() -> None:
    generator = torch.Generator().manual_seed(0)
    raw = (3.0 + 5.0 * torch.randn(400, generator=generator)).tolist()
    norm = fit_score_norm([*raw, None])
    rule = ScoreRule(missing_eos="keep")
    scores = final_scores(raw, torch.ones(400, dtype=torch.bool), norm, rule)
    assert float(scores.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(scores.std(correction=0)) == pytest.approx(1.0, abs=1e-6)
    fresh = (3.0 + 5.0 * torch.randn(4000, generator=generator)).tolist()
    scores = final_scores(fresh, torch.ones(4000, dtype=torch.bool), norm, rule)
    assert abs(float(scores.mean())) < 0.2
    assert float(scores.std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("raw", [[1.0, 1.0, 1.0], [1.0, None], []])
def test_nothing_to_normalise_with_is_refused(raw: list[float | None]) -> None:
    with pytest.raises(InvalidInput, match="normalise_samples"):
        fit_score_norm(raw)
