"""Recipe: a reward model with several heads from preference pairs, as an artifact that can be served.

Read from top to bottom. Every choice is made on the valid pairs; the test pairs are scored once, at the end.
Runs in one process or, by ``accelerate launch``, in several, which share each step; one of them measures and
writes.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import peft
import torch
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.manifest import Manifest, PackageBase, Profile, from_json
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.artifact import MANIFEST, seal
from guerdon_training.card import render_card
from guerdon_training.config import LoraConfig, RewardConfig, SourceConfig
from guerdon_training.config_file import config_yaml, read_config
from guerdon_training.convex import fit_convex
from guerdon_training.crossed import crossed_pairs
from guerdon_training.data import PreferencePair, file_sha256, read_pairs
from guerdon_training.directions import profile_metrics
from guerdon_training.distributed import begin_processes, load_everywhere
from guerdon_training.environment import environment
from guerdon_training.fit import Fitted, fit
from guerdon_training.flip_rates import read_flip_rates
from guerdon_training.golden import write_golden
from guerdon_training.head_layout import head_layout
from guerdon_training.measure import (
    Scored,
    accuracies,
    by_attribute,
    fit_calibration,
    normalised_heads,
    score_pairs,
    write_scores,
)
from guerdon_training.model import (
    base_folder,
    base_version,
    build_model,
    check_max_tokens,
    check_pooling,
    load_tokenizer,
)
from guerdon_training.policy.artifact import RUN
from guerdon_training.pooled import Pooled
from guerdon_training.reward_check import check_reward
from guerdon_training.rows import Rows, build_rows
from guerdon_training.run_identity import run_identity
from guerdon_training.splits import check_splits
from guerdon_training.tagging import Tagged, tag
from guerdon_training.targets import with_targets
from guerdon_training.trunk import SplitEncoder
from guerdon_training.usable import check_fits, check_sources, check_usable
from guerdon_training.warm import average_runs


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
    train, valid, test = (
        read_pairs(Path(file), ties=config.objective.uses_ties and split == "train")
        for split, file in asdict(config.data).items()
    )
    crossed = _crossed(config)
    check_sources([*train, *valid, *test, *(t.pair for t in crossed)], config.heads)
    train_pairs = _train_pairs(config, train, crossed)
    valid_pairs, test_pairs = (tag(pairs, config.heads, trained=False) for pairs in (valid, test))
    check_usable(valid_pairs, config.heads, config.data.valid)
    check_usable(test_pairs, config.heads, config.data.test)
    by_split = {"train": train_pairs, "valid": valid_pairs, "test": test_pairs}
    check_splits(
        asdict(config.data), {s: ((t.pair.id, t.pair.prompt) for t in p) for s, p in by_split.items()}
    )

    # 2. Model: frozen base, LoRA on the upper layers; fit, keep the epoch with the lowest log loss on valid.
    base, pooling = base_folder(config.base), check_pooling(config.pooling)
    check_max_tokens(base, config.max_tokens)
    tokenizer = load_tokenizer(base)
    train_rows, valid_rows = (
        build_rows(pairs, tokenizer, config.max_tokens) for pairs in (train_pairs, valid_pairs)
    )
    check_fits(train_rows, config.heads, config.data.train, config.max_tokens)
    check_fits(valid_rows, config.heads, config.data.valid, config.max_tokens)
    folder, parents = Path(config.output), _parents(config)
    runs = [
        _run(config, base, tokenizer, train_rows, valid_rows, number, parents, accelerator)
        for number in range(config.ensemble.runs)
    ]

    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        return from_json((folder / MANIFEST).read_text("utf-8"))

    # 3. One model of all runs, without what only training needs.
    layout = head_layout(config)
    model = _model(config, base, layout.num_outputs, _lora_of_runs(config))
    state = average_runs([run.state for run in runs])
    report = model.load_state_dict(state, strict=False)
    assert not report.unexpected_keys, "a trained parameter has no place in the served model"
    pooled = Pooled(model, pooling)

    def score(pairs: list[Tagged], label: str) -> list[Scored]:
        return score_pairs(pooled, tokenizer, pairs, config.max_tokens, label)

    # 4. Normalise and calibrate on valid; measure on test, once.
    scores = {"valid": score(valid_pairs, "valid"), "test": score(test_pairs, "test")}
    heads = normalised_heads(names, scores["valid"], layout.members)
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


def _train_pairs(
    config: RewardConfig, pairs: Sequence[PreferencePair], crossed: Sequence[Tagged]
) -> list[Tagged]:
    objective, flip_rate = config.objective, config.optim.flip_rate
    tagged = tag(pairs, config.heads, trained=True)
    check_usable(tagged, config.heads, config.data.train)
    flip_rates = read_flip_rates(Path(objective.flip_rates)) if objective.flip_rates else {}
    return with_targets([*tagged, *crossed], objective, flip_rate, flip_rates)


def _crossed(config: RewardConfig) -> list[Tagged]:
    return [
        Tagged(pair, number)
        for number, source in _crossed_sources(config)
        for pair in crossed_pairs(Path(source.crossed), source.source)
    ]


def _crossed_sources(config: RewardConfig) -> list[tuple[int, SourceConfig]]:
    return [(number, s) for number, head in enumerate(config.heads) for s in head.sources if s.crossed]


def _run(
    config: RewardConfig,
    base: Path,
    tokenizer: PreTrainedTokenizerBase,
    train: Rows,
    valid: Rows,
    number: int,
    parents: Mapping[str, Any],
    accelerator: Accelerator,
) -> Fitted:
    """One training from the start that all share, in an order of its own."""
    run = Path(config.output) / RUN / f"{number:03}"
    outputs = head_layout(config).num_outputs
    model = _model(config, base, outputs, config.lora)
    first_layer = min(config.lora.layers, default=None)
    pooling = check_pooling(config.pooling)
    encoder = SplitEncoder(model.get_base_model(), first_layer, tokenizer.pad_token_id, pooling=pooling)
    if accelerator.is_fsdp2 and not config.optim.l2:
        encoder.shard(init_device_mesh("cpu", (accelerator.num_processes,)))
    if config.optim.l2:
        return fit_convex(model, encoder, train, config, run, is_writer=accelerator.is_main_process)
    return fit(
        model, encoder, train, valid, config, config.seed + number, run, run_identity(parents), accelerator
    )


def _model(config: RewardConfig, base: Path, num_outputs: int, lora: LoraConfig) -> peft.PeftModel:
    return build_model(
        base,
        config.base.package,
        num_outputs,
        lora,
        config.seed,
        num_layers=config.base.num_layers,
        pooling=check_pooling(config.pooling),
    )


def _lora_of_runs(config: RewardConfig) -> LoraConfig:
    """Rank and alpha that hold the average of all runs: see `warm`."""
    runs = config.ensemble.runs
    return replace(config.lora, rank=runs * config.lora.rank, alpha=runs * config.lora.alpha)


def _save_adapter(model: peft.PeftModel, folder: Path) -> None:
    model.save_pretrained(str(folder), save_embedding_layers=False)  # none trains; else the hub is asked
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty template; MODEL_CARD.md is the card


def _learned_ties(config: RewardConfig, runs: Sequence[Fitted]) -> dict[str, Any]:
    """Davidson's nu of each head: two equal responses tie with probability nu / (2 + nu)."""
    if config.objective.kind != "davidson":
        return {}
    nu = torch.stack([run.nu for run in runs]).mean(0).tolist()
    return {"davidson_nu": {head.name: value for head, value in zip(config.heads, nu, strict=True)}}


def _parents(config: RewardConfig) -> dict[str, Any]:
    """Everything that the weights were made from; data by what it was for, never by name."""
    data = config.data
    files = {"train": data.train, "valid": data.valid, "test": data.test}
    files |= {"flip_rates": config.objective.flip_rates} if config.objective.flip_rates else {}
    files |= {
        f"{config.heads[number].name} crossed {source.source}": source.crossed
        for number, source in _crossed_sources(config)
    }
    return {
        "data_sha256": {use: file_sha256(Path(file)) for use, file in files.items()},
        "config_sha256": hashlib.sha256(config_yaml(config).encode()).hexdigest(),
        "base": base_version(config.base.package),
        **environment(),
    }
