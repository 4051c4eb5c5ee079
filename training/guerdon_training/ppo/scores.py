"""From the reward model's numbers to the scores that training sees."""

from collections.abc import Sequence

import torch
from torch import Tensor

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Norm
from guerdon_training.ppo.config import ScoreRule


def final_scores(raw: Sequence[float | None], finished: Tensor, norm: Norm, rule: ScoreRule) -> Tensor:
    """Normalise, then apply the EOS trick: float32 [B].

    Args:
        raw: the reward model's numbers; None where it refused a response, which gets `rule.unscorable`.
        finished: bool [B], whether the *response* holds an EOS; one in the prompt counts for nothing.
    """
    known = [rule.unscorable if r is None else (r - norm.mean) / norm.std for r in raw]
    scores = torch.tensor(known, dtype=torch.float32)
    if rule.missing_eos == "replace":
        return torch.where(finished, scores, -rule.missing_eos_penalty)
    if rule.missing_eos == "subtract":
        return torch.where(finished, scores, scores - rule.missing_eos_penalty)
    return scores


def fit_score_norm(raw: Sequence[float | None]) -> Norm:
    """Mean and deviation of the reference's scores, so that they normalise to 0 and 1.

    The gain and bias of Ziegler et al. (arXiv 1909.08593, section 2.1).

    Raises:
        InvalidInput: fewer than two scores, or all alike.
    """
    known = torch.tensor([r for r in raw if r is not None], dtype=torch.float64)
    if len(known) < 2 or float(known.std(correction=0)) == 0.0:
        raise InvalidInput(
            "the reward gives the reference's responses no two different scores, so there is nothing to "
            "normalise with; set scores.normalise_samples = 0, or use another reward",
            param="scores.normalise_samples",
        )
    return Norm(float(known.mean()), float(known.std(correction=0)))
