"""Responses of a policy to many prompts, with their rewards: what every figure about a policy is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import Generated, Policy, SamplingParams
from guerdon_service.core.query import Lane, Options, ScoreQuery
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.statistics.arrays import Floats
from guerdon_service.core.streams import closed_after

Prompt = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """Responses to one prompt, in the order of their indices; empty ones are left out.

    rewards, gold: float64 [N] by response; `gold` is None where no gold model was asked.
    """

    prompt: Prompt
    responses: tuple[Generated, ...]
    rewards: Floats
    gold: Floats | None


async def draw_samples(
    scorer: Scorer,
    policy: Policy,
    prompts: Sequence[Prompt],
    n: int,
    params: SamplingParams,
    options: Options,
    gold: Options | None = None,
) -> list[Samples]:
    """Sample n responses to each prompt and score them, in the bulk lane; a response is scored once.

    Prompt i is sampled with the seed ``params.seed + i``.

    Args:
        options, gold: name the reward models.

    Raises:
        GuerdonError: the policy's or the model's; and `InvalidInput` for a prompt with no response that is
            not empty.
    """
    found = []
    for i, prompt in enumerate(prompts):
        seeded = replace(params, seed=params.seed + i)
        async with closed_after(policy.generate(prompt, n, seeded)) as arriving:
            responses = sorted([g async for g in arriving if g.text], key=lambda g: g.index)
        if not responses:
            raise InvalidInput(
                f"prompts[{i}]: every response of policy {policy.name} is empty; leave the prompt out",
                param=f"prompts[{i}]",
            )
        texts = [g.text for g in responses]
        rewards = await _rewards(scorer, prompt, texts, options)
        gold_rewards = None if gold is None else await _rewards(scorer, prompt, texts, gold)
        found.append(Samples(prompt, tuple(responses), rewards, gold_rewards))
    return found


async def _rewards(scorer: Scorer, prompt: Prompt, texts: Sequence[str], options: Options) -> Floats:
    distinct = list(dict.fromkeys(texts))
    items = tuple(Conversation(prompt, text) for text in distinct)
    result = await scorer.score(ScoreQuery(items, replace(options, lane=Lane.BULK)))
    by_text = dict(zip(distinct, (s.reward for s in result.scores), strict=True))
    return np.array([by_text[text] for text in texts])
