"""Artifacts with their cards, sealed again: ready to be registered."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training.artifact import MANIFEST, seal
from guerdon_training.config import BaseConfig
from guerdon_training.model import base_folder
from guerdon_training.pipeline.compare import COMPARISON
from guerdon_training.pipeline.config import PipelineConfig
from guerdon_training.policy.artifact import seal_whole
from guerdon_training.report.policy_card import policy_card

POLICIES = ("sft", "dpo", "ppo")
CARD = "MODEL_CARD.md"


def write_cards(config: PipelineConfig, folder: Path) -> None:
    """Copy the reward model and the policies into `folder`, each with its card and its measured figures."""
    root = Path(config.output)
    comparison = json.loads((root / "compare" / COMPARISON).read_text("utf-8"))
    publish_reward(root / "reward", folder / "reward")
    for name in POLICIES:
        publish_policy(name, root / name, folder / name, comparison)


def publish_policy(method: str, source: Path, target: Path, comparison: dict[str, Any]) -> Manifest:
    """Copy a policy's artifact and add its card; the comparison joins the manifest's metrics."""
    manifest = _copied(source, target)
    text = (target / "metrics.jsonl").read_text("utf-8")
    log = [json.loads(line) for line in text.splitlines()]
    (target / CARD).write_text(policy_card(method, manifest, comparison, log), "utf-8")
    return seal_whole(target, replace(manifest, metrics={**manifest.metrics, "comparison": comparison}))


def publish_reward(source: Path, target: Path) -> Manifest:
    """Copy a reward artifact that stands on a package."""
    manifest = _copied(source, target)
    assert manifest.base is not None, "train_reward pins the package that it adapts"
    base = base_folder(BaseConfig(manifest.base.package, manifest.base.subfolder))
    return seal(target, manifest, base)


def _copied(source: Path, target: Path) -> Manifest:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))
    return replace(from_json((target / MANIFEST).read_text("utf-8")), digest="")
