"""Recipe: a reward model with several heads from preference pairs, as an artifact that can be served.

Read from top to bottom. Every choice is made on the valid pairs; the test pairs are scored once, at the end.
Runs in one process or, by ``accelerate launch``, in several, which share each step; one of them measures and
writes.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import peft
import torch

from guerdon_service.core.manifest import Manifest, PackageBase, Profile, from_json
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.artifact import MANIFEST, remove_exports, seal, tidy_adapter
from guerdon_training.card import render_card
from guerdon_training.config import RewardConfig
from guerdon_training.config_file import config_yaml, read_config
from guerdon_training.data import file_sha256
from guerdon_training.directions import profile_metrics
from guerdon_training.distributed import begin_processes, load_everywhere
from guerdon_training.environment import environment
from guerdon_training.fit import Fitted
from guerdon_training.golden import write_golden
from guerdon_training.measure import (
    Scored,
    accuracies,
    by_attribute,
    fit_calibration,
    normalised_heads,
    score_pairs,
    write_scores,
)
from guerdon_training.memory import check_memory
from guerdon_training.model import (
    base_folder,
    base_version,
    check_max_tokens,
    check_pooling,
    load_tokenizer,
)
from guerdon_training.policy.artifact import RUN
from guerdon_training.pooled import Pooled
from guerdon_training.reward_check import check_reward
from guerdon_training.reward_pairs import crossed_sources, served_by_default, tagged_splits
from guerdon_training.reward_runs import fit_run, model_of_runs
from guerdon_training.rows import build_rows
from guerdon_training.run_identity import run_identity
from guerdon_training.standard_error import said_by
from guerdon_training.usable import check_calibration, check_fits


def train_reward(config_path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Train, measure and write the artifact that the YAML file at `config_path` describes.

    Args:
        overrides: ``key=value`` each, as after ``--set``.

    Raises:
        InvalidInput: the config, the data or the base cannot be used; nothing was written then.
        GuerdonError: see `fit.fit`.
    """
    config = read_config(config_path, RewardConfig, overrides)
    check_reward(config)
    accelerator = begin_processes(cpu=True)
    load_everywhere()  # every process runs the frozen layers
    torch.set_num_threads(config.optim.num_threads)  # with several processes accelerate sets its own number
    names = [head.name for head in config.heads]

    # 1. Data: every pair is tagged with the head that it trains, and with what it says.
    pairs = tagged_splits(config, said_by(accelerator))

    # 2. Model: frozen base, LoRA on the upper layers; fit, keep the epoch with the lowest log loss on valid.
    base, pooling = base_folder(config.base), check_pooling(config.pooling)
    check_max_tokens(base, config.max_tokens)
    tokenizer = load_tokenizer(base)
    train_rows, valid_rows, test_rows = (
        build_rows(pairs[split], tokenizer, config.max_tokens) for split in ("train", "valid", "test")
    )
    for rows, file in zip((train_rows, valid_rows, test_rows), asdict(config.data).values(), strict=True):
        check_fits(rows, config.heads, file, config.max_tokens)
    valid = [pairs["valid"][i] for i in valid_rows.positions]
    check_calibration(served_by_default(valid, config), config.data.valid)
    if not config.optim.l2:  # which keeps one vector a response
        check_memory((train_rows, valid_rows), base)
    folder, parents = Path(config.output), _parents(config)
    identity, pad = run_identity(parents), tokenizer.pad_token_id
    runs = [
        fit_run(config, base, pad, train_rows, valid_rows, number, identity, accelerator)
        for number in range(config.ensemble.runs)
    ]

    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        return from_json((folder / MANIFEST).read_text("utf-8"))

    # 3. One model of all runs, without what only training needs.
    model = model_of_runs(config, base, runs)
    pooled = Pooled(model, pooling)

    def score(split: str) -> list[Scored]:
        return score_pairs(pooled, tokenizer, pairs[split], config.max_tokens, split)

    # 4. Normalise and calibrate on valid; measure on test, once.
    scores = {split: score(split) for split in ("valid", "test")}
    heads = normalised_heads(names, scores["valid"], config.ensemble.heads)
    default_profile = min(config.profiles)
    calibration = fit_calibration(scores["valid"], heads, config.profiles[default_profile])
    figures = {split: accuracies(by_attribute(found, heads), names) for split, found in scores.items()}
    metrics = {name: {split: found[name] for split, found in figures.items()} for name in names}
    profiles = {name: Profile(weights) for name, weights in sorted(config.profiles.items())}
    metrics |= profile_metrics(scores["test"], heads, profiles, calibration)

    # 5. Write the artifact; the manifest's digest seals it.
    manifest = Manifest(
        name=config.name,
        version=config.version,
        heads=heads,
        profiles=profiles,
        max_tokens=config.max_tokens,
        encoding="pair",
        pooling=pooling,
        num_layers=config.base.num_layers or None,
        base=PackageBase(config.base.package, config.base.subfolder, file_sha256(base / "model.safetensors")),
        calibration=calibration,
        parents=parents | _learned_ties(config, runs),
        metrics=metrics,
    )
    with whole_folder(folder):
        remove_exports(folder)
        _save_adapter(model, folder / "adapter")
        logs = [path.read_text("utf-8") for path in sorted((folder / RUN).glob("*/metrics.jsonl"))]
        (folder / "metrics.jsonl").write_text("".join(logs), "utf-8")
        (folder / "config.yaml").write_text(config_yaml(config), "utf-8")
        write_scores(folder / "scores.jsonl", scores)
        write_golden(folder / "golden.jsonl", pooled, tokenizer, config.max_tokens)
        (folder / "MODEL_CARD.md").write_text(render_card(config, str(config_path), manifest), "utf-8")
        sealed = seal(folder, manifest, base)
    shutil.rmtree(folder / RUN)
    accelerator.wait_for_everyone()
    return sealed


def _save_adapter(model: peft.PeftModel, folder: Path) -> None:
    model.save_pretrained(str(folder), save_embedding_layers=False)  # none trains; else the hub is asked
    tidy_adapter(folder)


def _learned_ties(config: RewardConfig, runs: Sequence[Fitted]) -> dict[str, Any]:
    """Davidson's nu of each head: two equal responses tie with probability nu / (2 + nu)."""
    if config.objective.kind != "davidson":
        return {}
    nu = torch.stack([run.nu for run in runs]).mean(0).tolist()
    return {"davidson_nu": {head.name: value for head, value in zip(config.heads, nu, strict=True)}}


def _parents(config: RewardConfig) -> dict[str, Any]:
    """Everything that the weights were made from; data by what it was for, never by name."""
    files: dict[str, str] = asdict(config.data)
    files |= {"flip_rates": config.objective.flip_rates} if config.objective.flip_rates else {}
    files |= {
        f"{config.heads[number].name} crossed {source.source}": source.crossed
        for number, source in crossed_sources(config)
    }
    return {
        "data_sha256": {use: file_sha256(Path(file)) for use, file in files.items()},
        "config_sha256": hashlib.sha256(config_yaml(config).encode()).hexdigest(),
        "base": base_version(config.base.package),
        **environment(),
    }
