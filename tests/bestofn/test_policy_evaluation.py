"""Figures about a policy: against exact values of a toy policy, and against plain `transformers`."""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from guerdon_service.artifacts.policy import read_policy
from guerdon_service.bestofn.over_optimisation import over_optimisation_curve, reward_variance
from guerdon_service.bestofn.policy_evaluation import PolicyEvaluationQuery, evaluate_policy, kl_to
from guerdon_service.bestofn.samples import Samples, draw_samples
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import Generated, SamplingParams
from guerdon_service.core.query import Options
from guerdon_service.core.statistics.best_of_n import selection_distribution
from guerdon_service.policies.chat_prompt import encode_prompt
from guerdon_service.policies.transformers_policy import TransformersPolicy
from guerdon_service.scoring.service import ScoringService
from tests.bestofn.fakes import PROMPT, Categorical, Scripted, listed
from tests.bestofn.test_service import rewards
from tests.fakes import running_service
from tests.policies.tiny_policy import build_policy

ANSWERS = ("a", "cc", "d", "b")
BASE = (0.4, 0.3, 0.2, 0.1)
PROMPTS = tuple((Message("user", f"say {i}"),) for i in range(60))


@pytest.fixture
async def scorer() -> AsyncIterator[ScoringService]:
    async with running_service() as service:
        yield service


def made(
    rewards_of: Sequence[Sequence[float]], gold: Sequence[Sequence[float]] | None = None
) -> list[Samples]:
    """Samples with these rewards."""
    golds = [None] * len(rewards_of) if gold is None else [np.array(g) for g in gold]
    return [
        Samples(PROMPT, tuple(Generated(i, str(i), 1, "stop") for i in range(len(r))), np.array(r), g)
        for r, g in zip(rewards_of, golds, strict=True)
    ]


async def test_the_curve_and_the_variance_are_those_of_the_distribution(scorer: ScoringService) -> None:
    query = PolicyEvaluationQuery((PROMPT,) * 300, n=4)
    report = await evaluate_policy(scorer, Categorical(ANSWERS, BASE), query)
    values = np.array(await rewards(scorer, *ANSWERS))
    for row in report.curve:
        exact = float(selection_distribution(BASE, values, row.n) @ values)
        half = (row.proxy.high - row.proxy.low) / 2
        assert row.proxy.value == pytest.approx(exact, abs=2 * half)
    assert [row.n for row in report.curve] == [1, 2, 4]
    variance = float(values**2 @ BASE - (values @ BASE) ** 2)
    assert report.reward_variance == pytest.approx(variance, rel=0.15)
    assert (report.win_rate, report.gold_win_rate, report.kl) == (None, None, None)
    assert (report.mean_tokens, report.ended_rate) == (1.0, 1.0)


def test_gold_rises_with_a_proxy_that_agrees_and_falls_with_one_that_does_not() -> None:
    rng = np.random.default_rng(0)
    proxy = rng.normal(size=(80, 8))
    good = over_optimisation_curve(made(proxy.tolist(), (proxy + rng.normal(size=proxy.shape)).tolist()))
    bad = over_optimisation_curve(made(proxy.tolist(), (-proxy).tolist()))
    assert good[-1].gold_gain is not None and good[-1].gold_gain.low > 0
    assert bad[-1].gold_gain is not None and bad[-1].gold_gain.high < 0
    assert [r.n for r in good] == [1, 2, 4, 8]
    assert good[0].gold_gain is not None and good[0].gold_gain.value == 0.0
    assert all(a.proxy.value < b.proxy.value for a, b in pairwise(good))
    assert over_optimisation_curve(made([[1.0, 2.0]]))[1].gold is None


def test_variance_is_within_prompts_alone() -> None:
    assert reward_variance(made([[0.0, 0.0], [9.0, 9.0]])) == 0.0
    assert reward_variance(made([[0.0, 2.0], [5.0, 5.0], [7.0]])) == 1.0
    assert reward_variance(made([[7.0]])) == 0.0


async def test_win_rates_under_two_models(scorer: ScoringService) -> None:
    """`quality` is higher for the long answer, `both` for the short one: the verdict is the model's."""
    query = PolicyEvaluationQuery(PROMPTS, gold=Options(profile="both"))
    report = await evaluate_policy(scorer, listed("zzzz"), query, listed("a"))
    assert report.win_rate is not None and report.gold_win_rate is not None
    long_quality, short_quality = await rewards(scorer, "zzzz", "a")
    assert (report.win_rate.raw.value > 0.5) == (long_quality > short_quality)
    assert report.gold_win_rate.raw.value != report.win_rate.raw.value
    same = await evaluate_policy(scorer, listed("a"), PolicyEvaluationQuery(PROMPTS), listed("a"))
    assert same.win_rate is not None and same.win_rate.raw.value == 0.5
    assert same.win_rate.win_rate.value == pytest.approx(0.5)


async def test_duplicates_are_scored_once_and_empty_responses_left_out(scorer: ScoringService) -> None:
    policy = Scripted((2, "b"), (0, "b"), (1, ""), (3, "a"))
    (found,) = await draw_samples(scorer, policy, [PROMPT], 4, SamplingParams(), Options())
    assert [g.index for g in found.responses] == [0, 2, 3]
    assert found.rewards.tolist() == await rewards(scorer, "b", "b", "a")
    with pytest.raises(InvalidInput, match=r"prompts\[0\]: every response of policy p is empty"):
        await draw_samples(scorer, listed(""), [PROMPT], 1, SamplingParams(), Options())
    with pytest.raises(InvalidInput, match="prompts is empty"):
        await evaluate_policy(scorer, policy, PolicyEvaluationQuery(()))


async def test_kl_is_that_of_plain_transformers(tmp_path: Path, scorer: ScoringService) -> None:
    folders = [build_policy(tmp_path / str(seed), seed=seed) for seed in (3, 4)]
    ours, reference = (TransformersPolicy.load("p", read_policy(str(f))) for f in folders)
    prompts, params = (
        [(Message("user", "red blue"),), (Message("user", "one"),)],
        SamplingParams(max_tokens=12),
    )
    samples = await draw_samples(scorer, ours, prompts, 6, params, Options())
    found = await kl_to(ours, reference, samples, params)
    same = await kl_to(ours, ours, samples, params)
    plain = [AutoModelForCausalLM.from_pretrained(f) for f in folders]
    k1 = []
    for s in samples:
        prompt = encode_prompt(ours.lm.tokenizer, s.prompt)
        for g in s.responses:
            response = ours.lm.tokenizer(g.text)["input_ids"] + ([3] if g.finish_reason == "stop" else [])
            sums = []
            for model in plain:
                with torch.no_grad():
                    logs = model(torch.tensor([[*prompt, *response]])).logits[0].log_softmax(-1)
                places = range(len(prompt) - 1, len(prompt) + len(response) - 1)
                sums.append(sum(float(logs[t, k]) for t, k in zip(places, response, strict=True)))
            k1.append(sums[0] - sums[1])
    assert found is not None and found.k1.value == pytest.approx(float(np.mean(k1)), abs=1e-4)
    assert found.k3.value > 0
    assert same is not None and (same.k1.value, same.k3.value) == (0.0, 0.0)
    assert await kl_to(ours, reference, samples, SamplingParams(temperature=0.5)) is None
    assert await kl_to(ours, listed("a"), samples, params) is None
    await ours.close()
    await reference.close()
