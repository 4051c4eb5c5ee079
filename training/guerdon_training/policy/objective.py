"""What DPO minimises for a pair, and what is watched beside it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon_training.preference_losses import FLIP_LOSSES, LOSSES, MEAN_LOSSES
from guerdon_training.problems import refuse_first


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Which loss of `preference_losses`.

    beta: pull to the reference; 0.1 is the source's for sums. Means over tokens need more: 1 to 10.
    flip_rate: share of wrong labels, for ``conservative`` and ``robust``; the data audit estimates it.
    length_normalised: log-ratios are means over the response's tokens, so that a response's length alone
        changes no margin (Meng et al., arXiv 2405.14734, section 2.2, here with a reference); ``ipo`` always
        does that.
    """

    kind: str = "sigmoid"
    beta: float = 0.1
    flip_rate: float = 0.0
    length_normalised: bool = False

    @property
    def per_token(self) -> bool:
        """Whether log-ratios are means over tokens."""
        return self.length_normalised or self.kind in MEAN_LOSSES


def check_loss(loss: LossConfig) -> None:
    """Refuse values that no run could use.

    Raises:
        InvalidInput: the key is named.
    """
    problems = {
        f"kind must be one of {', '.join(LOSSES)}": loss.kind not in LOSSES,
        "beta must be above 0": not loss.beta > 0,
        "flip_rate must be in [0, 0.5)": not 0 <= loss.flip_rate < 0.5,
        f"flip_rate is used by {' and '.join(sorted(FLIP_LOSSES))} alone; change kind or leave it out": (
            loss.flip_rate > 0 and loss.kind not in FLIP_LOSSES
        ),
    }
    refuse_first(problems, "loss.")


def pair_figures(log_ratios: Tensor, counts: Tensor, loss: LossConfig) -> dict[str, Tensor]:
    """Loss and figures of each pair: float [P] each.

    ``accuracy`` is whether the implicit reward prefers the chosen response (a tie is half), ``margin`` by how
    much, ``chosen`` and ``rejected`` how far their log-probabilities have moved, in nats per response. DPO
    may raise the margin while both fall: watch ``chosen``.

    Args:
        log_ratios: float [P, 2], policy to reference, of chosen and rejected.
        counts: int64 [P, 2], their tokens.
    """
    scaled = log_ratios / counts if loss.per_token else log_ratios
    margin = scaled[:, 0] - scaled[:, 1]
    return {
        "loss": LOSSES[loss.kind](margin, loss.beta, loss.flip_rate),
        "accuracy": 0.5 * (1.0 + torch.sign(margin.detach())),
        "margin": loss.beta * margin.detach(),
        "chosen": log_ratios[:, 0].detach(),
        "rejected": log_ratios[:, 1].detach(),
    }


def summarise(log_ratios: Tensor, counts: Tensor, loss: LossConfig) -> dict[str, float]:
    """Means of `pair_figures`."""
    return {k: float(v.double().mean()) for k, v in pair_figures(log_ratios, counts, loss).items()}
