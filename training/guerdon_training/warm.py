"""Several runs from one start as one model: the average of their weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def average_runs(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The state whose weights are the mean of N runs' weights (Ramé et al., arXiv 2401.12187, WARM).

    A LoRA adds ``alpha / r B A``, a product, so the mean of the factors would not be the mean of the weights.
    The factors side by side are: ``[B_1 ... B_N] / N`` times ``[A_1; ...; A_N]`` at rank N r and alpha N
    alpha. Once merged, the model costs what one run costs. Runs must share their start, the head's too, or
    the mean of what trains in full would be no model (Wortsman et al., arXiv 2203.05482).

    Args:
        states: trained parameters by name of N >= 1 runs.
    """
    return {name: _average(name, [s[name] for s in states]) for name in states[0]}


def _average(name: str, values: Sequence[Tensor]) -> Tensor:
    if "lora_A" in name:
        return torch.cat(list(values), dim=0)
    if "lora_B" in name:
        return torch.cat(list(values), dim=1) / len(values)
    return torch.stack(list(values)).mean(0)
