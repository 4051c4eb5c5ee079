"""Plots of a run's ``metrics.jsonl``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon_training.report.plots import Series, line_plot

Lines = Sequence[Mapping[str, Any]]

PPO_PLOTS = (
    ("Score and KL-penalised reward", ("objective/score", "objective/reward")),
    ("KL from SFT, nats per response", ("objective/kl", "objective/kl_k3")),
    ("Clip fraction", ("policy/clip_fraction",)),
    ("Entropy, nats per token", ("policy/entropy",)),
    ("Response length, tokens", ("response/length",)),
    ("EOS rate", ("response/eos_rate",)),
    ("Explained variance of the critic", ("value/explained_variance",)),
    ("KL coefficient", ("objective/kl_coefficient",)),
)
"""Title and names in the log."""


def read_log(folder: Path) -> Lines:
    """Lines of an artifact's ``metrics.jsonl``."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


def ppo_curves(log: Lines) -> list[str]:
    """One plot for each of `PPO_PLOTS`, by update."""
    return [
        line_plot(title, "update", [_by_update(log, name) for name in names]) for title, names in PPO_PLOTS
    ]


def epoch_curves(log: Lines) -> list[str]:
    """SFT or DPO: every figure of its steps, and of valid by epoch."""
    steps = [line for line in log if "gradient_norm" in line]
    ends = [line for line in log if "gradient_norm" not in line]
    drawn = [
        line_plot(name, "step", [Series(name, range(1, len(steps) + 1), [s[name] for s in steps])])
        for name in (steps[0] if steps else ())
        if name != "epoch"
    ]
    return drawn + [
        line_plot(name, "epoch", [Series(name, [e["epoch"] for e in ends], [e[name] for e in ends])])
        for name in (ends[0] if ends else ())
        if name != "epoch"
    ]


def over_optimisation(log: Lines) -> str:
    """Proxy and gold on the valid prompts against the KL that bought them (Gao et al., arXiv 2210.10760).

    Both are shown as the rise over the first evaluation, which is SFT's, and left out where that has none;
    the x axis is the square root of KL, in which the paper fits both.
    """
    series = [
        _rise(log, name, key)
        for name, key in (("proxy", "valid/score"), ("gold", "valid/gold"))
        if log and key in log[0]
    ]
    return line_plot("Rise of reward on valid prompts", "square root of KL, nats", series)


def _rise(log: Lines, name: str, key: str) -> Series:
    found = [line for line in log if key in line]
    kl = [max(line["valid/kl"], 0.0) ** 0.5 for line in found]
    return Series(name, kl, [line[key] - found[0][key] for line in found])


def _by_update(log: Lines, name: str) -> Series:
    found = [line for line in log if name in line]
    return Series(name.split("/")[1], [line["update"] for line in found], [line[name] for line in found])
