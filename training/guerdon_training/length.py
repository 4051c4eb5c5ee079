"""Length disentangled from quality: the penalty on both outputs of each attribute."""

from collections.abc import Sequence

from torch import Tensor

from guerdon_training.losses import difference_correlation, overlap
from guerdon_training.objective_config import LengthConfig
from guerdon_training.rows import Comparison


def length_penalty(
    rewards: Tensor,
    lengths: Tensor,
    weights: tuple[Tensor, Tensor],
    comparisons: Sequence[Comparison],
    num_tokens: Tensor,
    config: LengthConfig,
) -> Tensor:
    """``c (|corr(quality, length)| - corr(length output, length)) + o |cos(quality, length weights)|``.

    Chen et al. (arXiv 2402.07319, ODIN) correlate rewards with lengths over a batch; this correlates
    differences within a prompt, because rewards mean nothing between prompts.

    Args:
        rewards: float [R, A, M], quality outputs of rows. lengths: float [R, A], length outputs.
        weights: of the head's quality outputs, float [A, M, D], and of its length outputs, float [A, D].
        num_tokens: float [R], of the responses.

    Returns:
        A scalar, summed over comparisons (each attribute's penalty as often as it has comparisons) and
        averaged over members.
    """
    total = rewards.new_zeros(())
    for head in sorted({c.head for c in comparisons}):
        own = [c for c in comparisons if c.head == head]
        chosen, rejected = [c.chosen for c in own], [c.rejected for c in own]
        differences = num_tokens[chosen] - num_tokens[rejected]
        quality = difference_correlation(rewards[chosen, head] - rewards[rejected, head], differences)
        length = difference_correlation(lengths[chosen, head] - lengths[rejected, head], differences)
        parallel = overlap(weights[0][head], weights[1][head].unsqueeze(0))
        penalty = (
            config.correlation * (quality.abs().mean() - length) + config.orthogonality * parallel.mean()
        )
        total = total + penalty * len(own)
    return total
