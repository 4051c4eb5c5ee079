"""The heads of a frozen trunk at their one optimum: no steps, no seed, no order of the data.

With the trunk frozen a head is a logistic regression on differences of features, which is convex. AdamW with
an averaged single epoch stops short of its minimum; Newton's method reaches it in a few steps.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from guerdon_training.config import RewardConfig
from guerdon_training.fit import Fitted
from guerdon_training.newton import fit_differences
from guerdon_training.objective_config import EnsembleConfig, LengthConfig, ObjectiveConfig
from guerdon_training.policy.metrics import MetricsLog
from guerdon_training.problems import refuse_first
from guerdon_training.rows import Rows
from guerdon_training.trunk import SplitEncoder

Floats = NDArray[np.float64]


def check_convex(config: RewardConfig) -> None:
    """Refuse what `optim.l2` would ignore.

    Raises:
        InvalidInput: the key is named.
    """
    plain = (ObjectiveConfig(), EnsembleConfig(), LengthConfig())
    problems = {
        "optim.l2 must be at least 0": not config.optim.l2 >= 0,
        "lora.layers must be empty with optim.l2: the trunk is frozen then": bool(config.lora.layers),
        "pooling must be response with optim.l2: the base's own pooler would have to train": (
            config.pooling != "response"
        ),
        "objective, ensemble and length must be left out with optim.l2, and optim.flip_rate be 0": (
            (config.objective, config.ensemble, config.length) != plain or config.optim.flip_rate != 0
        ),
    }
    of_l2 = {s: wrong for s, wrong in problems.items() if config.optim.l2 or s.startswith("optim.l2")}
    refuse_first(of_l2)


def fit_convex(
    model: nn.Module, encoder: SplitEncoder, train: Rows, config: RewardConfig, run: Path, *, is_writer: bool
) -> Fitted:
    """Heads that minimise the mean Bradley-Terry loss of their own comparisons plus ``l2 / 2 |w|^2``.

    The penalty is on weights of features that are scaled by their deviation over all rows and by the root
    of their number, so that one `optim.l2` means the same for every trunk.

    Args:
        run: folder for ``metrics.jsonl``.

    Raises:
        GuerdonError: the fit does not converge.
    """
    found = encoder.all_features(train.tokens, config.optim.max_batch_tokens, "features, train")
    features: Floats = found.numpy().astype(np.float64)
    scale = 1.0 / (np.sqrt(features.shape[1]) * (features.std(0) + 1e-6))
    weights, losses = [], {}
    for number, head in enumerate(config.heads):
        own = [c for c in train.comparisons if c.head == number]
        scaled = (features[[c.chosen for c in own]] - features[[c.rejected for c in own]]) * scale
        best = fit_differences(scaled, config.optim.l2)
        losses[f"train/log_loss/{head.name}"] = float(np.logaddexp(0.0, -scaled @ best).mean())
        weights.append(best * scale)
    MetricsLog(run / "metrics.jsonl", is_writer).write(1, losses)
    fitted = {"weight": torch.tensor(np.stack(weights), dtype=torch.float32)}
    fitted["bias"] = torch.zeros(len(weights))
    named = [n for n, p in model.named_parameters() if p.requires_grad and ".classifier." in n]
    return Fitted({name: fitted[name.rsplit(".", 1)[1]] for name in named}, torch.ones(len(weights)))
