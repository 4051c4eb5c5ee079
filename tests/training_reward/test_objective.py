"""From pairs to the loss: targets, rankings, and the equalities that the kinds must keep."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import exp, log1p
from pathlib import Path

import pytest
import torch
from torch import Tensor

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.audit.read import read_records
from guerdon_training.audit.report import audit, report_json
from guerdon_training.config import BaseConfig
from guerdon_training.data import PreferencePair, Votes
from guerdon_training.flip_rates import read_flip_rates
from guerdon_training.losses import bradley_terry, plackett_luce
from guerdon_training.model import base_folder, load_tokenizer
from guerdon_training.objective import Objective, build_objective
from guerdon_training.objective_config import (
    EnsembleConfig,
    LengthConfig,
    ObjectiveConfig,
    check_objective,
)
from guerdon_training.rankings import rankings
from guerdon_training.rows import Comparison, build_rows
from guerdon_training.tagging import Tagged, Target
from guerdon_training.targets import with_targets

PLAIN = PreferencePair("id", (Message("user", "why ?"),), "good", "bad", "s", "")


def _objective(kind: str, bags: Tensor | None = None) -> Objective:
    return replace(build_objective(kind, 0.0, 0.0, 1, 1, 1, seed=0), bags=bags)


def _tournament(num_rows: int, group: int = 0, first: int = 0) -> list[Comparison]:
    """Every row beats every later one."""
    return [Comparison(i, j, 0, group) for i, j in combinations(range(first, first + num_rows), 2)]


def _rewards(num_rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_rows, 1, 1, generator=generator, dtype=torch.float64).requires_grad_()


def _mean_loss(objective: Objective, rewards: Tensor, comparisons: Sequence[Comparison]) -> Tensor:
    return objective.loss(rewards, comparisons) / objective.num_units(comparisons)


@pytest.mark.parametrize("kind", ["pairwise", "k_wise"])
def test_margin_label_and_centring_of_a_comparison_reach_its_loss(kind: str) -> None:
    """By hand, on one pair: a label of 0.9, a margin of 0.7 and centring at 0.3."""
    rewards = torch.tensor([1.5, 0.25], dtype=torch.float64).view(2, 1, 1)
    comparison = Comparison(0, 1, 0, 0, Target(0.9, 0.0, 0.7))
    objective = build_objective(kind, 0.3, 0.0, 1, 1, 1, seed=0)
    found = float(objective.loss(rewards, [comparison]))
    sure = 0.9 * log1p(exp(0.7 - 1.25)) + 0.1 * log1p(exp(1.25 + 0.7))
    assert found == pytest.approx(sure + 0.3 * 1.75**2, rel=1e-6)


def test_k_wise_weighs_every_prompt_alike() -> None:
    rewards = _rewards(6)
    comparisons = [*_tournament(4), *_tournament(2, group=1, first=4)]
    flat = rewards[:, 0, 0]
    losses = [bradley_terry(flat[c.chosen], flat[c.rejected]) for c in comparisons]
    expected = (sum(losses[:6]) / 6 + losses[6]) / 2
    torch.testing.assert_close(_mean_loss(_objective("k_wise"), rewards, comparisons), expected)


@pytest.mark.parametrize("kind", ["k_wise", "plackett_luce"])
def test_rankings_of_two_are_pairs(kind: str) -> None:
    comparisons = [c for group in range(3) for c in _tournament(2, group, 2 * group)]
    gradients = []
    for name in ("pairwise", kind):
        rewards = _rewards(6)
        _mean_loss(_objective(name), rewards, comparisons).backward()
        gradients.append(rewards.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-10, rtol=0)


def test_a_whole_tournament_is_a_ranking_and_an_incomplete_one_is_pairs() -> None:
    whole = [replace(c, chosen=c.rejected, rejected=c.chosen) for c in _tournament(4)]
    (ranking,) = rankings(whole)
    assert (ranking.rows, ranking.ranks) == ((0, 1, 2, 3), (4, 3, 2, 1))
    rewards = _rewards(4)
    expected = plackett_luce(rewards[:, 0, 0], torch.tensor([4, 3, 2, 1]))
    torch.testing.assert_close(_mean_loss(_objective("plackett_luce"), rewards, whole), expected)
    assert [r.rows for r in rankings(whole[1:])] == [tuple(sorted((c.chosen, c.rejected))) for c in whole[1:]]


def test_ties_and_cycles_share_a_rank() -> None:
    tied = [replace(c, target=Target(0.0, 1.0)) if c.chosen == 1 else c for c in _tournament(3)]
    assert rankings(tied)[0].ranks == (1, 2, 2)
    cycle = [Comparison(0, 1, 0), Comparison(1, 2, 0), Comparison(2, 0, 0)]
    assert rankings(cycle)[0].ranks == (1, 1, 1)


def test_members_are_averaged_and_draw_their_own_groups() -> None:
    comparisons = [c for group in range(2) for c in _tournament(2, group, 2 * group)]
    rewards = _rewards(4)
    both = rewards.expand(4, 1, 2)
    bags = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    flat = rewards[:, 0, 0]
    first, second = bradley_terry(flat[0], flat[1]), bradley_terry(flat[2], flat[3])
    for kind in ("pairwise", "plackett_luce"):
        loss = _objective(kind, bags).loss(both, comparisons)
        torch.testing.assert_close(loss, (2 * first + second) / 2)
    drawn = build_objective("pairwise", 0.0, 0.0, 1, 4000, 2, seed=0).bags
    assert drawn is not None and drawn.mean(0).tolist() == pytest.approx([1.0, 1.0], abs=0.06)


def test_davidson_learns_its_share_of_ties() -> None:
    objective = build_objective("davidson", 0.0, 0.0, 1, 1, 1, seed=0)
    comparisons = [Comparison(0, 1, 0, target=Target(*t)) for t in ((1.0, 0.0), (0.0, 1.0))]
    objective.loss(torch.zeros(2, 1, 1), comparisons).backward()
    assert objective.parameters == [objective.log_nu]
    assert objective.log_nu.grad is not None  # half the pairs tie, a third is expected: nu must grow
    assert objective.log_nu.grad.item() == pytest.approx(2 / 3 - 1)


@pytest.mark.parametrize(
    ("pair", "objective", "target"),
    [
        (PLAIN, ObjectiveConfig(), Target(0.9)),
        (replace(PLAIN, source="noisy"), ObjectiveConfig(), Target(0.7)),
        (replace(PLAIN, votes=Votes(2, 1, 1)), ObjectiveConfig(labels="votes"), Target(0.625)),
        (replace(PLAIN, votes=Votes(2, 1, 1)), ObjectiveConfig("davidson", "votes"), Target(0.5, 0.25)),
        (replace(PLAIN, votes=Votes(tie=1)), ObjectiveConfig("davidson"), Target(0.0, 1.0)),
        (replace(PLAIN, votes=Votes(2, 1, 0)), ObjectiveConfig(), Target(0.9)),
        (
            replace(PLAIN, rank_gap=3),
            ObjectiveConfig(margin="rank_gap", margin_scale=0.5),
            Target(0.9, 0, 1.5),
        ),
        (replace(PLAIN, margin=0.4), ObjectiveConfig(margin="margin"), Target(0.9, 0, 0.4)),
        (PLAIN, ObjectiveConfig(margin="margin"), Target(0.9)),
    ],
)
def test_what_a_pair_says(pair: PreferencePair, objective: ObjectiveConfig, target: Target) -> None:
    carrier = replace(PLAIN, votes=Votes(1, 0, 1), margin=1.0, rank_gap=1)  # so that every column is there
    found, _ = with_targets([Tagged(pair, 0), Tagged(carrier, 0)], objective, 0.1, {"noisy": 0.3})
    assert found.target == target


@pytest.mark.parametrize("kind", ["pairwise", "davidson"])
def test_votes_against_the_chosen_response_are_refused_where_they_are_the_label(kind: str) -> None:
    outvoted = Tagged(replace(PLAIN, votes=Votes(1, 3, 1), place="pairs.jsonl:7"), 0)
    tied = Tagged(replace(PLAIN, votes=Votes(tie=1)), 0)
    hard, _ = with_targets([outvoted, tied], ObjectiveConfig(kind), 0.1, {})
    assert hard.target == Target(0.9)
    with pytest.raises(InvalidInput, match=r"^pairs\.jsonl:7 has more votes for rejected .*labels: hard"):
        with_targets([outvoted, tied], ObjectiveConfig(kind, "votes"), 0.1, {})


@pytest.mark.parametrize(
    "objective",
    [ObjectiveConfig(labels="votes"), ObjectiveConfig(margin="rank_gap"), ObjectiveConfig("davidson")],
)
def test_a_column_that_no_record_has_is_named(objective: ObjectiveConfig) -> None:
    with pytest.raises(InvalidInput, match=r"config objective\..*no (record|tie)|has no tie"):
        with_targets([Tagged(PLAIN, 0)], objective, 0.0, {})


def test_targets_reach_the_comparisons(tiny_base: BaseConfig) -> None:
    tagged = [Tagged(PLAIN, 1, Target(0.7)), Tagged(replace(PLAIN, rejected="a"), 0, Target(0.6))]
    rows = build_rows(tagged, load_tokenizer(base_folder(tiny_base)), 64)
    assert [(c.head, c.group, c.target.label) for c in rows.comparisons] == [(1, 0, 0.7), (0, 1, 0.6)]
    assert rows.groups == ((0, 1),)


def test_flip_rates_come_from_an_audit(tmp_path: Path) -> None:
    """Three votes a pair, one of which dissents in half the pairs: two annotators agree in 2 of 3."""
    record = {"prompt": [{"role": "user", "content": "x"}], "source": "voted"}
    votes = [{"chosen": 3}, {"chosen": 2, "rejected": 1}] * 20
    lines = [record | {"chosen": f"a {i}", "rejected": f"b {i}", "votes": v} for i, v in enumerate(votes)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    report = tmp_path / "audit.json"
    report.write_text(report_json(audit(read_records([tmp_path / "pairs.jsonl"]))), "utf-8")
    rates = read_flip_rates(report, {"voted"}, print)
    assert rates == {"voted": pytest.approx(0.2113, abs=1e-4)}  # (1 - e)^2 + e^2 = 2/3


def _rates_of(folder: Path, said: list[str], **found: tuple[int, float, float]) -> dict[str, float]:
    """By source: items, flip rate, and the better end of its interval."""
    findings = [
        {
            "name": "flip rate, even noise",
            "group": f"{source} (pair votes)",
            "num": num,
            "value": rate,
            "interval": {"value": rate, "low": low, "high": rate},
        }
        for source, (num, rate, low) in found.items()
    ]
    report = {"checks": [{"name": "noise_ceiling", "findings": findings}]}
    (folder / "audit.json").write_text(json.dumps(report), "utf-8")
    return read_flip_rates(folder / "audit.json", {"s"}, said.append)


@pytest.mark.parametrize("found", [(1, 0.5, 0.5), (19, 0.5, 0.5), (400, 0.5, 0.4), (400, 0.6, 0.55)])
def test_no_source_is_refused_on_the_word_of_few_items_or_of_many_labels(
    tmp_path: Path, found: tuple[int, float, float]
) -> None:
    said: list[str] = []
    rates = _rates_of(tmp_path, said, s=found, t=(1, 0.2, 0.0))
    assert rates == {"t": 0.2}
    assert with_targets([Tagged(PLAIN, 0)], ObjectiveConfig(), 0.1, rates)[0].target == Target(0.9)
    (line,) = said
    assert f"{found[0]} items give source s a flip rate of {found[1]:.2f}" in line
    assert line.endswith("they take optim.flip_rate")


def test_a_report_of_nothing_that_trains_is_refused_and_one_that_is_not_sure_of_it_is_not(
    tmp_path: Path,
) -> None:
    with pytest.raises(InvalidInput, match=r"flip rates of t, and of nothing that trains, which is s; audit"):
        _rates_of(tmp_path, [], t=(20, 0.2, 0.1))
    said: list[str] = []
    assert _rates_of(tmp_path, said, s=(5, 0.5, 0.5), t=(20, 0.2, 0.1)) == {"t": 0.2}
    assert len(said) == 1


def test_a_source_whose_annotators_agree_by_chance_is_refused_and_not_believed(tmp_path: Path) -> None:
    rates = _rates_of(tmp_path, [], s=(20, 0.5, 0.5), t=(20, 0.2, 0.1))
    other = Tagged(replace(PLAIN, source="t"), 0)
    assert with_targets([other], ObjectiveConfig(), 0.0, rates)[0].target == Target(0.8)
    with pytest.raises(InvalidInput, match=r"annotators of source s agree .* leave it out of heads"):
        with_targets([other, Tagged(PLAIN, 0)], ObjectiveConfig(), 0.0, rates)
    voted = replace(PLAIN, votes=Votes(2, 1))  # its own votes say more
    assert with_targets([Tagged(voted, 0)], ObjectiveConfig(labels="votes"), 0.0, rates)


@pytest.mark.parametrize("text", [None, "{", '{"checks": []}', '{"checks": 3}'])
def test_a_report_without_flip_rates_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "audit.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"audit\.json (has no flip rate|is not an audit's report)"):
        read_flip_rates(tmp_path / "audit.json", {"s"}, print)


@pytest.mark.parametrize(
    ("key", "objective", "ensemble", "length", "flip_rate"),
    [
        ("objective.kind", ObjectiveConfig("elo"), EnsembleConfig(), LengthConfig(), 0.0),
        ("objective.labels", ObjectiveConfig(labels="soft"), EnsembleConfig(), LengthConfig(), 0.0),
        ("objective.margin", ObjectiveConfig(margin="gap"), EnsembleConfig(), LengthConfig(), 0.0),
        (
            "objective.margin",
            ObjectiveConfig("davidson", margin="margin"),
            EnsembleConfig(),
            LengthConfig(),
            0.0,
        ),
        ("objective.margin_scale", ObjectiveConfig(margin_scale=0.0), EnsembleConfig(), LengthConfig(), 0.0),
        ("objective.kind", ObjectiveConfig("plackett_luce"), EnsembleConfig(), LengthConfig(), 0.1),
        ("optim.flip_rate", ObjectiveConfig(), EnsembleConfig(), LengthConfig(), 0.5),
        ("ensemble.heads", ObjectiveConfig(), EnsembleConfig(0), LengthConfig(), 0.0),
        ("ensemble.runs", ObjectiveConfig(), EnsembleConfig(1, 0), LengthConfig(), 0.0),
        ("length.penalty", ObjectiveConfig(), EnsembleConfig(), LengthConfig(-1.0), 0.0),
    ],
)
def test_a_config_that_no_run_could_use_is_named(
    key: str, objective: ObjectiveConfig, ensemble: EnsembleConfig, length: LengthConfig, flip_rate: float
) -> None:
    with pytest.raises(InvalidInput, match=f"^config {key}") as caught:
        check_objective(objective, ensemble, length, flip_rate)
    assert caught.value.param == key
    check_objective(ObjectiveConfig(), EnsembleConfig(), LengthConfig(), 0.0)
