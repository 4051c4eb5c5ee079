"""Artifacts with their cards, sealed again: ready to be registered."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from guerdon_service.core.manifest import Manifest, from_json
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.artifact import MANIFEST, seal
from guerdon_training.config import BaseConfig, RewardConfig
from guerdon_training.data import PreferencePair, read_pairs
from guerdon_training.model import base_folder
from guerdon_training.pipeline.compare import COMPARISON, POLICIES
from guerdon_training.pipeline.config import CardConfig, PipelineConfig
from guerdon_training.policy.artifact import seal_whole
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.report.measured import Measured, write_measured
from guerdon_training.report.policy_card import policy_card
from guerdon_training.report.reward_card import reward_card
from guerdon_training.report.reward_quality import measure_reward
from guerdon_training.report.robustness import measure_robustness
from guerdon_training.report.slices import measure_slices
from guerdon_training.report.training_curves import read_log
from guerdon_training.tagging import tag

CARD = "MODEL_CARD.md"
REWARDS = ("reward", "gold")


def write_cards(config: PipelineConfig, folder: Path) -> None:
    """Copy reward models and policies into `folder`, each with its card; beside them what was measured."""
    root = Path(config.output)
    comparison = json.loads((root / "compare" / COMPARISON).read_text("utf-8"))
    ceilings = noise_ceilings(json.loads((root / "audit" / "report.json").read_text("utf-8")))
    for name, recipe in zip(REWARDS, (config.reward, config.gold), strict=True):
        measured = look_at_reward(root / name, recipe, config.card, config.seed, ceilings)
        write_measured(folder / f"{name}_measured.json", measured)
        publish_reward(root / name, folder / name, measured)
    for name in POLICIES:
        publish_policy(name, root / name, folder / name, comparison, config.card.limits)


def look_at_reward(
    folder: Path, recipe: RewardConfig, card: CardConfig, seed: int, ceilings: Mapping[str, float]
) -> Measured:
    """Quality from the stored scores; robustness and slices by scoring anew."""
    manifest = from_json((folder / MANIFEST).read_text("utf-8"))
    test = Path(recipe.data.test)
    source = open_local_reward(folder, card.profile or None, torch.device("cpu"))
    return Measured(
        measure_reward(folder, manifest, recipe.heads, test, ceilings),
        measure_robustness(source, _sample(recipe, test, card.num_robustness_pairs, seed), seed),
        measure_slices(source, Path(card.ratings), higher_is_worse=True) if card.ratings else (),
    )


def noise_ceilings(report: Mapping[str, Any]) -> dict[str, float]:
    """Best possible accuracy by source, where several people judged: against their majority, or one label.

    Noise is taken as even. Votes of an annotation file are preferred to those stored with pairs, which look
    cleaner than they are: what had no majority is not among them.
    """
    findings = next(c["findings"] for c in report["checks"] if c["name"] == "noise_ceiling")
    found = [f for f in findings if f["name"].startswith("ceiling") and f["name"].endswith(", even noise")]
    found.sort(key=lambda f: (" (" not in f["group"], "majority" in f["name"]))  # the last of a source stays
    return {f["group"].split(" (")[0]: f["value"] for f in found}


def publish_reward(source: Path, target: Path, measured: Measured) -> Manifest:
    """Copy a reward artifact that stands on a package; its card is continued with what was measured."""
    shutil.rmtree(target, ignore_errors=True)
    with whole_folder(target):
        manifest = _copied(source, target)
        assert manifest.base is not None, "train_reward pins the package that it adapts"
        card = target / CARD
        text = reward_card(measured.quality, measured.reactions, measured.groups)
        card.write_text(f"{card.read_text('utf-8')}\n{text}", "utf-8")
        base = base_folder(BaseConfig(manifest.base.package, manifest.base.subfolder))
        return seal(target, manifest, base)


def publish_policy(
    method: str, source: Path, target: Path, comparison: Mapping[str, Any], limits: Sequence[str]
) -> Manifest:
    """Copy a policy's artifact and add its card; the comparison joins the manifest's metrics."""
    shutil.rmtree(target, ignore_errors=True)
    with whole_folder(target):
        manifest = _copied(source, target)
        card = policy_card(method, manifest, comparison, read_log(target), limits)
        (target / CARD).write_text(card, "utf-8")
        return seal_whole(target, replace(manifest, metrics={**manifest.metrics, "comparison": comparison}))


def _copied(source: Path, target: Path) -> Manifest:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
    return replace(from_json((target / MANIFEST).read_text("utf-8")), digest="")


def _sample(recipe: RewardConfig, test: Path, count: int, seed: int) -> list[PreferencePair]:
    """`count` test pairs that any head is measured on, drawn with the seed; all where there are fewer."""
    pairs = [t.pair for t in tag(read_pairs(test), recipe.heads, trained=False)]
    kept = sorted(Random(seed).sample(range(len(pairs)), min(count, len(pairs))))  # noqa: S311 - no secret
    return [pairs[i] for i in kept]
