"""How a reward reacts to changes of a response that make it no better."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from tqdm import tqdm

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.rates import wilson
from guerdon_training.data import PreferencePair
from guerdon_training.ppo.reward_source import RewardSource
from guerdon_training.report.transforms import TRANSFORMS


@dataclass(frozen=True, slots=True)
class Reaction:
    """What one transform does to the reward.

    change: mean change of the rejected response's reward, in the reward's own units; 95 % over prompts. None
        where the model refuses every changed response.
    overtakes: share of the pairs ordered as people did in which the changed rejected response comes to win.
    num_pairs: pairs tried. num_refused: changed responses that the model will not score, e.g. empty ones.
    """

    transform: str
    keeps_meaning: bool
    change: Interval | None
    overtakes: Interval | None
    num_pairs: int
    num_refused: int


def measure_robustness(source: RewardSource, pairs: Sequence[PreferencePair], seed: int) -> list[Reaction]:
    """Apply every transform to the rejected response of each pair, beside the untouched pair."""
    chosen = source.score([Conversation(p.prompt, p.chosen) for p in pairs])
    rejected = source.score([Conversation(p.prompt, p.rejected) for p in pairs])
    kept = [i for i, both in enumerate(zip(chosen, rejected, strict=True)) if None not in both]
    base = [(pairs[i], chosen[i] or 0.0, rejected[i] or 0.0) for i in kept]
    names = tqdm(TRANSFORMS, desc="robustness", unit="transform", disable=None)
    return [_reaction(source, name, base, seed) for name in names]


def _reaction(
    source: RewardSource, name: str, base: Sequence[tuple[PreferencePair, float, float]], seed: int
) -> Reaction:
    transform, random = TRANSFORMS[name], Random(seed)  # noqa: S311 - reproducible, no secret
    changed = source.score(
        [
            Conversation(p.prompt, transform.apply(p.prompt[-1].content, p.rejected, random))
            for p, _, _ in base
        ]
    )
    known = [(pair, c, r, new) for (pair, c, r), new in zip(base, changed, strict=True) if new is not None]
    ordered = [(c, new) for _, c, r, new in known if c > r]
    change = np.array([new - r for _, _, r, new in known])
    return Reaction(
        transform=name,
        keeps_meaning=transform.keeps_meaning,
        change=clustered_bootstrap(change, [pair.cluster for pair, *_ in known]) if known else None,
        overtakes=wilson(sum(new > c for c, new in ordered), len(ordered)) if ordered else None,
        num_pairs=len(base),
        num_refused=len(base) - len(known),
    )
