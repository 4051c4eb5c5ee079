"""The stages of the pipeline, top to bottom: what each reads, what it leaves, and what runs it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from guerdon_service.core.manifest import Manifest
from guerdon_training.artifact import MANIFEST
from guerdon_training.config_file import config_yaml
from guerdon_training.dpo import train_dpo
from guerdon_training.pipeline.audit_stage import run_audit
from guerdon_training.pipeline.cards import REWARDS, write_cards
from guerdon_training.pipeline.compare import COMPARISON, POLICIES, RESPONSES, compare_policies
from guerdon_training.pipeline.config import PipelineConfig
from guerdon_training.pipeline.halves import write_halves
from guerdon_training.pipeline.report_stage import write_report
from guerdon_training.pipeline.run import Stage
from guerdon_training.pipeline.wiring import half
from guerdon_training.ppo.recipe import train_ppo
from guerdon_training.reward import train_reward
from guerdon_training.sft import train_sft

Recipe = Callable[[Path, Sequence[str]], Manifest]


def pipeline_stages(config: PipelineConfig) -> tuple[Stage, ...]:
    """Every stage, in the order in which they run."""
    root = Path(config.output)
    pairs, halves = config.pairs, _halves(config)

    def manifest(*names: str) -> tuple[Path, ...]:
        return tuple(root / name / MANIFEST for name in names)

    # 1. Is the data fit to be trained on?
    audit = Stage(
        "audit",
        root / "audit",
        config.audit,
        tuple(map(Path, (*config.audit.files, *config.audit.against))),
        (root / "audit" / "report.json", root / "audit" / "report.html"),
        lambda: run_audit(config.audit, root / "audit"),
    )

    # 2. Half of the pairs trains; the other trains the model that judges.
    halving = Stage(
        "halves",
        root / "halves",
        pairs,
        (Path(pairs.train), Path(pairs.valid)),
        tuple(halves.values()),
        lambda: _write_halves(config),
    )

    # 3. Demonstrations.
    sft = _recipe_stage("sft", root, config.sft, train_sft, _files(config.sft.data), ())

    # 4. The reward model that policies train on, calibrated, and the one that judges them.
    flips = tuple(f for f in (config.reward.objective.flip_rates,) if f)
    reward, gold = (
        _recipe_stage(name, root, recipe, train_reward, (*_files(recipe.data), *flips), ())
        for name, recipe in (("reward", config.reward), ("gold", config.gold))
    )

    # 5. Policies: from pairs directly, and by way of the reward model.
    dpo = _recipe_stage("dpo", root, config.dpo, train_dpo, _files(config.dpo.data), manifest("sft"))
    prompts = (config.ppo.data.train, config.ppo.data.valid)
    ppo = _recipe_stage("ppo", root, config.ppo, train_ppo, prompts, manifest("sft", "reward", "gold"))

    # 6. Are they better, and how far did they go for it?
    comparison = Stage(
        "compare",
        root / "compare",
        config.compare,
        (Path(config.compare.prompts), *manifest("sft", "reward", "gold", "dpo", "ppo")),
        (root / "compare" / COMPARISON, root / "compare" / RESPONSES),
        lambda: compare_policies(config, root / "compare"),
    )

    # 7. Artifacts with cards, ready to be registered; and one page about everything.
    cards = Stage(
        "artifacts",
        root / "artifacts",
        config.card,
        (
            *(Path(f) for f in (pairs.test, config.card.ratings) if f),
            *comparison.outputs,
            *audit.outputs,
            *manifest("sft", "reward", "gold", "dpo", "ppo"),
        ),
        tuple(root / "artifacts" / name / MANIFEST for name in (*REWARDS, *POLICIES)),
        lambda: write_cards(config, root / "artifacts"),
    )
    report = Stage(
        "report",
        root / "report",
        config.card,
        (*comparison.outputs, *audit.outputs, *cards.outputs),
        (root / "report" / "report.html",),
        lambda: write_report(config.name, root, made),
    )
    made = (audit, halving, sft, reward, gold, dpo, ppo, comparison, cards)
    return (*made, report)


def _recipe_stage(
    name: str, root: Path, config: Any, recipe: Recipe, files: Sequence[str], made: tuple[Path, ...]
) -> Stage:
    """A recipe on its part of the config, which is left in ``configs/`` to run alone."""

    def run() -> None:
        path = root / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config_yaml(config), "utf-8")
        recipe(path, ())

    inputs = (*map(Path, files), *made)
    return Stage(name, root / name, config, inputs, (root / name / MANIFEST,), run)


def _files(data: Any) -> tuple[str, str, str]:
    return data.train, data.valid, data.test


def _halves(config: PipelineConfig) -> dict[tuple[str, str], Path]:
    return {
        (name, split): Path(half(config.output, name, split))
        for split in ("train", "valid")
        for name in ("a", "b")
    }


def _write_halves(config: PipelineConfig) -> None:
    for split in ("train", "valid"):
        targets = {name: Path(half(config.output, name, split)) for name in ("a", "b")}
        write_halves(Path(getattr(config.pairs, split)), targets)
