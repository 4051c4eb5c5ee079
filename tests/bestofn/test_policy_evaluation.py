"""Figures about policies: against exact values of a toy policy, and against plain `transformers`."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from guerdon_service.artifacts.policy import read_policy
from guerdon_service.bestofn.kl import kl_to, why_no_kl
from guerdon_service.bestofn.policy_evaluation import win_rate
from guerdon_service.bestofn.policy_service import PolicyEvaluationService
from guerdon_service.bestofn.rewards import Rewards
from guerdon_service.bestofn.samples import draw_samples
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import (
    BackendFailed,
    GuerdonError,
    InvalidInput,
    NotReady,
    UnknownModel,
)
from guerdon_service.core.generation import Generated, Policy, SamplingParams, TokenLogProbs
from guerdon_service.core.limits import Limits
from guerdon_service.core.policy_evaluation import (
    PolicyEvaluationQuery,
    PolicyPrompt,
)
from guerdon_service.core.query import Options
from guerdon_service.core.statistics.best_of_n import selection_distribution
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_service.core.statistics.length_controlled import length_controlled_win_rate
from guerdon_service.policies.chat_prompt import encode_prompt
from guerdon_service.policies.transformers_policy import TransformersPolicy
from guerdon_service.scoring import patience
from guerdon_service.scoring.service import ScoringService
from tests.bestofn.fakes import Categorical, Scripted, listed
from tests.bestofn.test_service import rewards
from tests.fakes import running_service
from tests.policies.tiny_policy import build_policy

ANSWERS = ("a", "cc", "d", "b")
BASE = (0.4, 0.3, 0.2, 0.1)
PROMPTS = tuple((Message("user", f"say {i}"),) for i in range(60))
ASKED = tuple(PolicyPrompt(prompt) for prompt in PROMPTS)
PROXY, GOLD = Options(profile="quality"), Options(profile="both")


def service(scorer: ScoringService, *policies: Policy) -> PolicyEvaluationService:
    """The policies under the names p, q, ... whatever they call themselves."""
    named = dict(zip("pqrs", policies, strict=False))

    def policy(name: str) -> Policy:
        if name not in named:
            raise UnknownModel(f"policy {name!r} is unknown", param="policy")
        return named[name]

    return PolicyEvaluationService(scorer, policy, Limits())


async def test_the_curve_and_the_variance_are_those_of_the_distribution(scorer: ScoringService) -> None:
    prompts = tuple(PolicyPrompt((Message("user", f"say {i}"),)) for i in range(300))
    query = PolicyEvaluationQuery(("p",), prompts, n=4)
    (report,) = (await service(scorer, Categorical(ANSWERS, BASE)).run(query)).policies
    values = np.array([await rewards(scorer, *ANSWERS, prompt=p.messages) for p in prompts])
    for row in report.best_of_n:
        exact = np.mean([selection_distribution(BASE, v, row.n) @ v for v in values])
        half = (row.proxy.high - row.proxy.low) / 2
        assert row.proxy.value == pytest.approx(exact, abs=2 * half)
    assert [row.n for row in report.best_of_n] == [1, 2, 4]
    assert report.reward == report.best_of_n[0].proxy
    variance = float(np.mean(values**2 @ BASE - (values @ BASE) ** 2))
    assert report.reward_variance == pytest.approx(variance, rel=0.15)
    absent = (report.win_rate, report.gold_win_rate, report.judged, report.kl, report.gold_reward)
    assert absent == (None,) * 5
    assert report.kl_absent == "no reference was named"
    assert (report.mean_tokens, report.ended_rate, report.unscored_rate) == (1.0, 1.0, 0.0)


async def test_win_rates_are_those_of_the_rewards_and_the_length_model(scorer: ScoringService) -> None:
    ours, theirs = Categorical(ANSWERS, BASE), Categorical(ANSWERS, BASE[::-1])
    query = PolicyEvaluationQuery(("p",), ASKED, baseline="q", gold="fake")
    found = await service(scorer, ours, theirs).run(query)
    drawn = [await draw_samples(p, PROMPTS, 1, query.params, Rewards(scorer, PROXY)) for p in (ours, theirs)]
    wins = [0.5 + 0.5 * np.sign(a.rewards[0] - b.rewards[0]) for a, b in zip(*drawn, strict=True)]
    lengths = [len(a.responses[0].text) - len(b.responses[0].text) for a, b in zip(*drawn, strict=True)]
    (report,) = found.policies
    assert report.win_rate is not None and 0 < report.win_rate.raw.value < 1
    assert report.win_rate.raw == clustered_rate(wins, PROMPTS)
    assert report.win_rate.length_controlled == length_controlled_win_rate(wins, lengths, PROMPTS).win_rate
    assert report.gold_win_rate == report.win_rate  # the same model under its default profile
    assert found.baseline_reward is not None
    assert found.baseline_reward.value == pytest.approx(np.mean([s.rewards[0] for s in drawn[1]]))
    assert report.reward_gain is not None
    gains = [float(a.rewards.mean() - b.rewards.mean()) for a, b in zip(*drawn, strict=True)]
    assert report.reward_gain == clustered_bootstrap(gains, PROMPTS) == report.gold_gain
    same = await service(scorer, ours, ours).run(query)
    assert same.policies[0].win_rate is not None and same.policies[0].win_rate.raw.value == 0.5


class Telling(Categorical):
    """Also says how likely its answers are: each is one token."""

    async def logprobs(
        self, prompt: tuple[Message, ...], responses: Sequence[Generated]
    ) -> list[TokenLogProbs]:
        places = [self.answers.index(g.text) for g in responses]
        return [TokenLogProbs((k,), np.log(self.probabilities[[k]])) for k in places]


async def test_win_rate_and_kl_are_those_of_the_distributions(scorer: ScoringService) -> None:
    prompts = tuple(PolicyPrompt((Message("user", f"say {i}"),)) for i in range(200))
    query = PolicyEvaluationQuery(("p",), prompts, n=4, baseline="q")
    # Seeds are shared: the baseline's are moved, so that the two draw on their own.
    found = await service(scorer, Telling(ANSWERS, BASE), Moved(ANSWERS, BASE[::-1])).run(query)
    (report,) = found.policies
    p, q = np.array(BASE), np.array(BASE[::-1])
    values = np.array(await rewards(scorer, *ANSWERS, prompt=prompts[0].messages))
    beats = 0.5 + 0.5 * np.sign(values[:, None] - values[None, :])
    assert report.win_rate is not None and report.kl is not None
    for interval, exact in (
        (report.win_rate.raw, float(p @ beats @ q)),
        (report.kl.k1, float(p @ np.log(p / q))),
        (report.kl.k3, float(p @ np.log(p / q))),
    ):
        assert interval.value == pytest.approx(exact, abs=interval.high - interval.low)
        assert interval.high - interval.low < 0.3
    assert report.kl_absent == "" and found.reference == "q"


class Moved(Telling):
    """With other draws than its twin of the same seeds."""

    def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncIterator[Generated]:
        return super().generate(prompt, n, replace(params, seed=params.seed + 10_000))


async def test_a_second_model_may_say_otherwise(scorer: ScoringService) -> None:
    """`quality` is higher for the long response, `both` for the short one: the verdict is the model's."""
    by = {}
    for options in (PROXY, GOLD):
        query = PolicyEvaluationQuery(("p",), ASKED[:9], baseline="q", options=options, gold="fake")
        (report,) = (await service(scorer, listed("zzzz"), listed("a")).run(query)).policies
        assert report.win_rate is not None and report.gold_win_rate is not None
        by[options.profile] = (report.win_rate.raw.value, report.gold_win_rate.raw.value)
    assert by == {"quality": (1.0, 1.0), "both": (0.0, 1.0)}


async def test_given_responses_are_a_baseline_too(scorer: ScoringService) -> None:
    given = tuple(PolicyPrompt(p, "a") for p in PROMPTS)
    told = await service(scorer, listed("zzzz")).run(PolicyEvaluationQuery(("p",), given))
    named = PolicyEvaluationQuery(("p",), ASKED, baseline="q")
    sampled = await service(scorer, listed("zzzz"), listed("a")).run(named)
    assert told.policies[0].win_rate == sampled.policies[0].win_rate
    assert told.baseline_reward == sampled.baseline_reward
    assert (told.baseline, sampled.baseline) == ("", "q")


async def test_equal_prompts_are_one_cluster(scorer: ScoringService) -> None:
    """Twelve draws for each of five prompts say less of other prompts than sixty prompts would."""
    ours, theirs = Categorical(ANSWERS, BASE), Categorical(ANSWERS, BASE[::-1])
    query = PolicyEvaluationQuery(("p",), ASKED[:5] * 12, baseline="q")
    (report,) = (await service(scorer, ours, theirs).run(query)).policies
    prompts = [p.messages for p in query.prompts]
    drawn = [await draw_samples(p, prompts, 1, query.params, Rewards(scorer, PROXY)) for p in (ours, theirs)]
    wins = [0.5 + 0.5 * np.sign(a.rewards[0] - b.rewards[0]) for a, b in zip(*drawn, strict=True)]
    assert report.win_rate is not None
    assert report.win_rate.raw == clustered_rate(wins, prompts)
    means = [float(s.rewards.mean()) for s in drawn[0]]
    assert report.reward == clustered_bootstrap(means, prompts) != clustered_bootstrap(means, range(60))


async def test_duplicates_are_scored_once_and_what_has_no_reward_loses(scorer: ScoringService) -> None:
    policy = Scripted((2, "b"), (0, "b"), (1, ""), (3, "a"), (4, "x" * 80))
    (found,) = await draw_samples(policy, PROMPTS[:1], 5, SamplingParams(), Rewards(scorer, PROXY))
    assert [g.index for g in found.responses] == [0, 2, 3]
    assert found.rewards.tolist() == await rewards(scorer, "b", "b", "a", prompt=PROMPTS[0])
    assert (found.num_unscored, found.first) == (2, "b")
    (mute,) = await draw_samples(
        Scripted((0, ""), (1, "a")), PROMPTS[:1], 2, SamplingParams(), Rewards(scorer, PROXY)
    )
    assert (mute.first, mute.num_unscored) == (None, 1)
    assert win_rate([mute], [found]).raw.value == 0.0
    assert win_rate([mute], [mute]).raw.value == 0.5


BAD: dict[str, tuple[PolicyEvaluationQuery, type[GuerdonError], str]] = {
    "no policies": (PolicyEvaluationQuery((), ASKED), InvalidInput, "policies"),
    "twice": (PolicyEvaluationQuery(("p", "p"), ASKED), InvalidInput, "policies"),
    "unknown": (PolicyEvaluationQuery(("p", "x"), ASKED), UnknownModel, "policies"),
    "unknown baseline": (PolicyEvaluationQuery(("p",), ASKED, baseline="x"), UnknownModel, "baseline"),
    "unknown reference": (PolicyEvaluationQuery(("p",), ASKED, reference="x"), UnknownModel, "reference"),
    "unknown gold": (PolicyEvaluationQuery(("p",), ASKED, gold="x"), UnknownModel, "gold"),
    "unknown model": (PolicyEvaluationQuery(("p",), ASKED, options=Options("x")), UnknownModel, "model"),
    "unknown judge": (
        PolicyEvaluationQuery(("p",), ASKED, baseline="q", judge="x"),
        UnknownModel,
        "judge",
    ),
    "judge of nothing": (PolicyEvaluationQuery(("p",), ASKED, judge="x"), InvalidInput, "judge"),
    "no prompts": (PolicyEvaluationQuery(("p",), ()), InvalidInput, "prompts"),
    "empty prompt": (
        PolicyEvaluationQuery(("p",), (ASKED[0], PolicyPrompt((Message("user", ""),)))),
        InvalidInput,
        "prompts[1].prompt",
    ),
    "two baselines": (
        PolicyEvaluationQuery(("p",), (PolicyPrompt(PROMPTS[0], "r"),), baseline="q"),
        InvalidInput,
        "baseline",
    ),
    "some given": (
        PolicyEvaluationQuery(("p",), (PolicyPrompt(PROMPTS[0], "r"), ASKED[1])),
        InvalidInput,
        "prompts[1].baseline_response",
    ),
    "long given": (
        PolicyEvaluationQuery(("p",), (PolicyPrompt(PROMPTS[0], "x" * 80),)),
        InvalidInput,
        "prompts[0].baseline_response",
    ),
    "too many": (PolicyEvaluationQuery(("p",), ASKED * 100, n=64), InvalidInput, "n"),
    "n": (PolicyEvaluationQuery(("p",), ASKED, n=0), InvalidInput, "n"),
    "top_p": (
        PolicyEvaluationQuery(("p",), ASKED, params=SamplingParams(top_p=0.0)),
        InvalidInput,
        "top_p",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_is_refused(scorer: ScoringService, case: str) -> None:
    query, kind, param = BAD[case]
    with pytest.raises(kind) as refused:
        await service(scorer, listed("a"), listed("b")).run(query)
    assert refused.value.param == param


async def test_a_policy_without_a_word_is_refused_by_name(scorer: ScoringService) -> None:
    with pytest.raises(InvalidInput, match="every response of policy p is empty"):
        await service(scorer, listed("")).run(PolicyEvaluationQuery(("p",), ASKED[:2]))


async def test_a_policy_that_fails_is_asked_again(
    scorer: ScoringService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.0)

    class Flaky(Categorical):
        num_failures = 0

        async def generate(
            self, prompt: tuple[Message, ...], n: int, params: SamplingParams
        ) -> AsyncIterator[Generated]:
            async for generated in super().generate(prompt, n, params):
                if self.num_failures < patience.ATTEMPTS - 1:
                    self.num_failures += 1
                    raise BackendFailed("the engine restarts")
                yield generated

    query = PolicyEvaluationQuery(("p",), ASKED[:3], n=2)
    steady = await service(scorer, Categorical(ANSWERS, BASE)).run(query)
    flaky = await service(scorer, Flaky(ANSWERS, BASE)).run(query)
    assert flaky.policies == steady.policies
    with pytest.raises(BackendFailed):
        await service(scorer, Scripted(BackendFailed("gone"))).run(query)


async def test_a_model_that_changes_under_the_name_is_told(scorer: ScoringService) -> None:
    models = Rewards(scorer, Options())
    await models.of(PROMPTS[0], ["a"])
    assert models.model is not None
    models.model = replace(models.model, digest="another")
    with pytest.raises(NotReady, match="became another"):
        await models.of(PROMPTS[0], ["a"])


async def test_kl_is_that_of_plain_transformers(tmp_path: Path, scorer: ScoringService) -> None:
    folders = [build_policy(tmp_path / str(seed), seed=seed) for seed in (3, 4)]
    ours, reference = (TransformersPolicy.load("p", read_policy(str(f))) for f in folders)
    prompts, params = (
        [(Message("user", "red blue"),), (Message("user", "one"),)],
        SamplingParams(max_tokens=12),
    )
    samples = await draw_samples(ours, prompts, 6, params, Rewards(scorer, Options()))
    found = await kl_to(ours, reference, samples)
    same = await kl_to(ours, ours, samples)
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
    assert why_no_kl(ours, reference, params) == ""
    assert "temperature 1" in why_no_kl(ours, reference, SamplingParams(temperature=0.5))
    assert "p tell no log-probabilities" in why_no_kl(ours, listed("a"), params)
    assert await kl_to(ours, Respelling(reference), samples) is None
    await ours.close()
    await reference.close()


class Respelling:
    """Reads with other tokens than it is asked about."""

    def __init__(self, inner: TransformersPolicy) -> None:
        self.inner = inner

    async def logprobs(
        self, prompt: tuple[Message, ...], responses: Sequence[Generated]
    ) -> list[TokenLogProbs]:
        found = await self.inner.logprobs(prompt, responses)
        return [TokenLogProbs(tuple(i + 1 for i in f.ids), f.values) for f in found]


async def test_what_is_too_long_with_a_long_prompt_is_left_out() -> None:
    """The limit is on the two together; the refusal names the longer one, here the prompt."""
    limits = replace(Limits(), max_item_chars=len("say 0") + 2)
    async with running_service(limits=limits) as scorer:
        (found,) = await draw_samples(
            listed("aaaa", "b"), PROMPTS[:1], 2, SamplingParams(), Rewards(scorer, PROXY)
        )
    assert ([g.text for g in found.responses], found.num_unscored) == (["b"], 1)


async def test_more_samples_than_one_request_scores_are_refused_at_once(scorer: ScoringService) -> None:
    limited = PolicyEvaluationService(scorer, lambda name: listed("a"), replace(Limits(), max_items=70))
    with pytest.raises(InvalidInput) as refused:
        await limited.run(PolicyEvaluationQuery(("p",), ASKED, n=71))
    assert refused.value.param == "n"
