"""Reward against gold across checkpoints of one run, and reward variance within prompts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from guerdon_service.bestofn.over_optimisation import (
    mean_change,
    over_optimisation_curve,
    over_optimisation_points,
    reward_variance,
)
from guerdon_service.bestofn.policy_evaluation import Evidence, policy_report
from guerdon_service.bestofn.samples import Samples
from guerdon_service.core.conversation import Message
from guerdon_service.core.generation import Generated


def made(
    rewards_of: Sequence[Sequence[float]], gold: Sequence[Sequence[float]] | None = None
) -> list[Samples]:
    """Samples with these rewards."""
    golds = [None] * len(rewards_of) if gold is None else [np.array(g) for g in gold]
    return [
        Samples(
            (Message("user", f"say {k}"),),
            tuple(Generated(i, str(i), 1, "stop") for i in range(len(r))),
            np.array(r),
            g,
        )
        for k, (r, g) in enumerate(zip(rewards_of, golds, strict=True))
    ]


def test_gold_rises_with_a_proxy_that_agrees_and_falls_with_one_that_does_not() -> None:
    rng = np.random.default_rng(0)
    proxy = rng.normal(size=(80, 8))
    good = over_optimisation_curve(made(proxy.tolist(), (proxy + rng.normal(size=proxy.shape)).tolist()))
    bad = over_optimisation_curve(made(proxy.tolist(), (-proxy).tolist()))
    assert good[-1].gold_gain is not None and good[-1].gold_gain.low > 0
    assert bad[-1].gold_gain is not None and bad[-1].gold_gain.high < 0
    assert [r.n for r in good] == [1, 2, 4, 8]
    assert good[0].gold_gain is not None and good[0].gold_gain.value == 0.0
    assert all(a.proxy.value < b.proxy.value for a, b in pairwise(good))
    assert over_optimisation_curve(made([[1.0, 2.0]]))[1].gold is None


def test_variance_is_within_prompts_alone() -> None:
    assert reward_variance(made([[0.0, 0.0], [9.0, 9.0]])) == 0.0
    assert reward_variance(made([[0.0, 2.0], [5.0, 5.0], [7.0]])) == 1.0
    assert reward_variance(made([[7.0]])) == 0.0


def test_over_optimised_is_where_the_proxy_rises_and_gold_falls() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.1, size=(3, 80, 1))
    proxy, gold = [0.0, 1.0, 2.0] + noise[0], [0.0, 1.0, 0.5] + noise[1]
    runs = [made(proxy[:, [k]].tolist(), gold[:, [k]].tolist()) for k in range(3)]
    reports = [policy_report(Evidence(f"c{k}", "", run, None, None, None, "-")) for k, run in enumerate(runs)]
    points = over_optimisation_points(reports, runs)
    assert [(p.policy, p.over_optimised) for p in points] == [("c0", False), ("c1", False), ("c2", True)]
    assert points[0].proxy_change is None
    assert points[2].gold_change is not None and points[2].gold_change.value == pytest.approx(-0.5)
    assert points[1].proxy == reports[1].reward
    left_out = [*runs[1][:-1], replace(runs[1][-1], responses=(), rewards=np.array([]))]
    change = mean_change(runs[0], left_out)
    assert change is not None and change.value == pytest.approx(1.0)


def test_few_prompts_never_say_that_a_checkpoint_is_over_optimised() -> None:
    for num, verdict in ((1, False), (5, False), (6, True)):
        runs = [made([[p]] * num, [[g]] * num) for p, g in ((0.0, 0.0), (1.0, -1.0))]
        reports = [policy_report(Evidence("c", "", run, None, None, None, "-")) for run in runs]
        assert over_optimisation_points(reports, runs)[1].over_optimised is verdict
    (same,) = {s.prompt for s in runs[0][:1]}
    runs = [[replace(s, prompt=same) for s in run] for run in runs]
    assert not over_optimisation_points(reports, runs)[1].over_optimised, "it is one prompt, six times"
