"""Responses of a policy to many prompts, with their rewards: what every figure about a policy is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from guerdon_service.bestofn.rewards import Rewards
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import Generated, Policy, SamplingParams
from guerdon_service.core.statistics.arrays import Floats
from guerdon_service.core.streams import closed_after
from guerdon_service.scoring.at_once import at_once
from guerdon_service.scoring.patience import patiently

PROMPTS_AT_ONCE = 4
"""Enough that a remote policy is not idle while rewards are computed; few, because those who wait for one
answer stand behind them in an embedded policy's queue."""

Prompt = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """Scored responses to one prompt, in the order of their indices.

    rewards, gold: float64 [N] by response; `gold` is None where no gold model was asked.
    num_unscored: responses that are left out: empty, or too long for a reward model.
    """

    prompt: Prompt
    responses: tuple[Generated, ...]
    rewards: Floats
    gold: Floats | None
    num_unscored: int = 0

    @property
    def first(self) -> str | None:
        """Text of the response with index 0; None where it has no reward."""
        return self.responses[0].text if self.responses and self.responses[0].index == 0 else None


async def draw_samples(
    policy: Policy,
    prompts: Sequence[Prompt],
    n: int,
    params: SamplingParams,
    rewards: Rewards,
    gold: Rewards | None = None,
    step: Callable[[], object] = lambda: None,
) -> list[Samples]:
    """Sample n responses to each prompt and score them; prompt i with the seed ``params.seed + i``.

    Args:
        step: called after each prompt.

    Raises:
        GuerdonError: the policy's or a model's.
    """

    async def draw(i: int) -> Samples:
        seeded = replace(params, seed=params.seed + i)
        responses = await patiently(lambda: _generate(policy, prompts[i], n, seeded))
        found = await _scored(prompts[i], responses, rewards, gold)
        step()
        return found

    return await at_once(draw, len(prompts), PROMPTS_AT_ONCE)


async def score_given(
    prompts: Sequence[Prompt], texts: Sequence[str], rewards: Rewards, gold: Rewards | None = None
) -> list[Samples]:
    """One given response to each prompt, as samples of nobody.

    Raises:
        InvalidInput: a response does not fit a reward model.
    """

    async def score(i: int) -> Samples:
        found = await _scored(prompts[i], [Generated(0, texts[i], 0, "stop")], rewards, gold)
        if not found.responses:
            param = f"prompts[{i}].baseline_response"
            raise InvalidInput(f"{param} does not fit the reward model; shorten it", param=param)
        return found

    return await at_once(score, len(prompts), PROMPTS_AT_ONCE)


async def _generate(policy: Policy, prompt: Prompt, n: int, params: SamplingParams) -> list[Generated]:
    async with closed_after(policy.generate(prompt, n, params)) as arriving:
        return sorted([g async for g in arriving], key=lambda g: g.index)


async def _scored(
    prompt: Prompt, responses: Sequence[Generated], rewards: Rewards, gold: Rewards | None
) -> Samples:
    proxy_of = await rewards.of(prompt, [g.text for g in responses if g.text])
    gold_of = proxy_of if gold is None else await gold.of(prompt, list(proxy_of))
    kept = tuple(g for g in responses if g.text in proxy_of and g.text in gold_of)
    return Samples(
        prompt,
        kept,
        np.array([proxy_of[g.text] for g in kept], dtype=np.float64),
        None if gold is None else np.array([gold_of[g.text] for g in kept], dtype=np.float64),
        len(responses) - len(kept),
    )
