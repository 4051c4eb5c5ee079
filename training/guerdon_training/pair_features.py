"""Preference pairs as the last layer of a reward model reads them: each response computed once.

In bfloat16, which halves the time on a CPU that multiplies it and whose rounding is far below the noise of
the labels; in float32 too where rounding could turn a pair that is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_training.data import PreferencePair
from guerdon_training.encode import PairTokens
from guerdon_training.kept_features import kept_features
from guerdon_training.measure import MAX_BATCH_TOKENS
from guerdon_training.ppo.local_reward import LocalReward
from guerdon_training.trunk import SplitEncoder

Floats = NDArray[np.float64]
DOUBT = 0.05
"""Test pairs whose margin is below this share of the margins' root mean square are computed in float32 too.
With the default model bfloat16 moved the margins by 0.006 of it, the worst of 98 by 0.017."""


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """Pairs that fit the model, with tokens and features: float64 [P, 2, D], chosen first.

    refused: those that do not.
    """

    pairs: Sequence[PreferencePair]
    refused: Sequence[PreferencePair]
    tokens: Sequence[tuple[PairTokens, PairTokens]]
    features: Floats

    @property
    def differences(self) -> Floats:
        """float64 [P, D], chosen less rejected."""
        return self.features[:, 0] - self.features[:, 1]


def split_features(
    reward: LocalReward, splits: Mapping[str, Sequence[PreferencePair]], keep: str = ""
) -> list[PairFeatures]:
    """The pairs of each split, by whether both responses fit the model; one forward for all that do.

    Args:
        keep: folder that keeps features from one call to the next; "" keeps none.

    Raises:
        InvalidInput: no pair of a split fits, a feature is not finite, or `keep` cannot be read.
    """
    tokens = {split: [_encoded(reward, p) for p in own] for split, own in splits.items()}
    for split, found in tokens.items():
        if not any(found):
            raise InvalidInput(
                f"no pair of data.{split} fits the model's {reward.manifest.max_tokens} tokens; give shorter "
                "responses",
                param="data",
            )
    known = [[both for both in found if both] for found in tokens.values()]
    features = features_of(reward, [both for own in known for both in own], torch.bfloat16, keep)
    if not np.isfinite(features).all():
        raise InvalidInput(
            f"what {reward.manifest.name} reads of a response is not finite; give another artifact",
            param="artifact",
        )
    parts = np.split(features, np.cumsum([len(own) for own in known])[:-1])
    kept, refused = (
        [list(compress(splits[s], ((t is not None) is fit for t in found))) for s, found in tokens.items()]
        for fit in (True, False)
    )
    return [PairFeatures(*split) for split in zip(kept, refused, known, parts, strict=True)]


def _encoded(reward: LocalReward, pair: PreferencePair) -> tuple[PairTokens, PairTokens] | None:
    chosen, rejected = (reward.encode(Conversation(pair.prompt, t)) for t in (pair.chosen, pair.rejected))
    return None if chosen is None or rejected is None else (chosen, rejected)


def features_of(
    reward: LocalReward, pairs: Sequence[tuple[PairTokens, PairTokens]], dtype: torch.dtype, keep: str = ""
) -> Floats:
    """What the last layer reads of both responses, float64 [P, 2, D]; `dtype` is `SplitEncoder`'s.

    Args:
        keep: see `split_features`. A model without a digest has no name to keep them under.
    """
    sides = [side for both in pairs for side in both]
    rows = list(dict.fromkeys(sides))  # four ranked answers are in six pairs, and are four rows
    number = {tokens: i for i, tokens in enumerate(rows)}
    encoder = SplitEncoder(reward.model, -1, reward.pad_token_id or 0, dtype, reward.manifest.pooling)

    def compute(some: list[PairTokens]) -> Tensor:
        return encoder.all_features(some, MAX_BATCH_TOKENS, "features")

    digest = reward.manifest.digest
    kept = keep and digest
    found = kept_features(Path(keep, f"{digest}.safetensors"), rows, compute) if kept else compute(rows)
    return found.numpy().astype(np.float64)[[number[tokens] for tokens in sides]].reshape(len(pairs), 2, -1)


def with_sure_signs(reward: LocalReward, split: PairFeatures, weights: Floats) -> PairFeatures:
    """The split with float32 features of the pairs that bfloat16 might turn."""
    margins = split.differences @ weights
    doubtful = np.flatnonzero(np.abs(margins) <= DOUBT * np.sqrt((margins**2).mean()))
    if not len(doubtful):
        return split
    features = split.features.copy()
    features[doubtful] = features_of(reward, [split.tokens[int(i)] for i in doubtful], torch.float32)
    return replace(split, features=features)
