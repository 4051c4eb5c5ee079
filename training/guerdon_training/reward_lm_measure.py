"""Scores of a trained reward model on a language model, as the service will give them."""

from collections.abc import Sequence

import torch

from guerdon_service.core.conversation import Conversation
from guerdon_training.data import PreferencePair
from guerdon_training.measure import Scored
from guerdon_training.policy.pairs import ExamplePair
from guerdon_training.policy.reward_model import RewardLm
from guerdon_training.policy.rows import pack
from guerdon_training.policy.scored_pairs import encode_text, pair_scores
from guerdon_training.ppo.reward_text import Encode
from guerdon_training.tagging import Tagged


def score_split(
    model: RewardLm,
    pairs: Sequence[PreferencePair],
    encoded: Sequence[ExamplePair | None],
    max_row_tokens: int,
) -> list[Scored]:
    """Scores of every pair, in the order given.

    Args:
        encoded: of each pair; None where a response does not fit.
    """
    scored = [Scored(Tagged(pair, 0), None) for pair in pairs]
    kept = [(place, pair) for place, pair in enumerate(encoded) if pair is not None]
    raw = pair_scores(model, [pair for _, pair in kept], max_row_tokens).double()
    for (place, _), row in zip(kept, raw.unsqueeze(2).numpy(), strict=True):
        scored[place] = Scored(scored[place].tagged, row)
    return scored


@torch.no_grad()
def score_alone(model: RewardLm, encode: Encode, text: Conversation) -> float | None:
    """Score of one conversation in a row of its own; None where it does not fit.

    Raises:
        InvalidInput: the chat template refuses it.
    """
    example = encode_text(encode, text, "a golden text")
    return None if example is None else float(model(pack([example])))
