"""How far a policy is from its reference, on what it writes itself."""

from collections.abc import Callable, Sequence

import numpy as np

from guerdon_service.bestofn.samples import PROMPTS_AT_ONCE, Samples
from guerdon_service.core.generation import LogProbs, Policy, SamplingParams
from guerdon_service.core.policy_evaluation import Kl
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.scoring.at_once import at_once

OTHER_TOKENS = "the policy and the reference write the same text with other tokens"


def why_no_kl(policy: Policy, reference: Policy | None, params: SamplingParams) -> str:
    """What stands in the way of a KL before a sample is drawn; empty when nothing does."""
    if reference is None:
        return "no reference was named"
    if params.temperature != 1.0 or params.top_p != 1.0:
        return "responses are the policy's own only at temperature 1 and top_p 1"
    mute = [p.name for p in (policy, reference) if not isinstance(p, LogProbs)]
    return f"{' and '.join(mute)} tell no log-probabilities; embedded policies do" if mute else ""


async def kl_to(
    policy: LogProbs,
    reference: LogProbs,
    samples: Sequence[Samples],
    seed: int = 0,
    step: Callable[[], object] = lambda: None,
) -> Kl | None:
    """The KL over scored responses; None where the two have no tokens in common to compare.

    Responses are read back from their text, which gives the tokens that were sampled except where a text can
    be spelt in several ways or a special token was left out of it.

    Args:
        step: called after each prompt.
    """

    async def read(i: int) -> list[tuple[float, float]] | None:
        mine = await policy.logprobs(samples[i].prompt, samples[i].responses)
        others = await reference.logprobs(samples[i].prompt, samples[i].responses)
        step()
        if any(p.ids != q.ids for p, q in zip(mine, others, strict=True)):
            return None
        logs = [q.values - p.values for p, q in zip(mine, others, strict=True)]
        return [(float(-r.sum()), float((np.expm1(r) - r).sum())) for r in logs]

    found = await at_once(read, len(samples), PROMPTS_AT_ONCE)
    if any(pairs is None for pairs in found):
        return None
    prompts = [s.prompt for s, pairs in zip(samples, found, strict=True) for _ in pairs or ()]
    k1, k3 = ([pair[i] for pairs in found for pair in pairs or ()] for i in (0, 1))
    return Kl(clustered_bootstrap(k1, prompts, seed), clustered_bootstrap(k3, prompts, seed))
