"""Recipe: direct preference optimisation of a language model on preference pairs.

Read from top to bottom. The kept epoch is chosen on the valid pairs alone; the test pairs are scored once, at
the end. Runs in one process or, by ``accelerate launch``, in several; an interrupted run goes on after its
last whole epoch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.statistics.rates import wilson
from guerdon_training.config_file import read_config
from guerdon_training.data import PreferencePair
from guerdon_training.policy.config import PolicyData, PolicyLora, PolicyOptim
from guerdon_training.policy.drift import DriftConfig, check_drift, measure_drift
from guerdon_training.policy.encode import encode_prompt
from guerdon_training.policy.fit import Job, Terms, fit
from guerdon_training.policy.implicit_reward import ImplicitReward, write_implicit_reward
from guerdon_training.policy.load import load_policy
from guerdon_training.policy.logprobs import example_logprobs
from guerdon_training.policy.objective import LossConfig, check_loss, pair_figures, summarise
from guerdon_training.policy.packing import check_packing
from guerdon_training.policy.pairs import (
    ExamplePair,
    PairBatch,
    encode_pairs,
    num_targets,
    pair_batch,
    pair_logprobs,
    read_splits,
)
from guerdon_training.policy.plan import epoch_steps, num_steps, packed
from guerdon_training.policy.recipe import Recipe, begin, num_too_long, publish, whole_model
from guerdon_training.policy.reference import as_reference, reference_digest, stored_reference
from guerdon_training.splits import check_splits
from guerdon_training.standard_error import said_by


@dataclass(frozen=True, slots=True)
class DpoConfig:
    """Everything that `guerdon train dpo` reads; `policy.config.PolicyConfig` says what most keys mean.

    In `optim`, an example is a pair.
    """

    name: str
    version: str
    output: str
    base: str
    max_tokens: int
    seed: int
    data: PolicyData
    optim: PolicyOptim
    lora: PolicyLora = field(default_factory=PolicyLora)
    loss: LossConfig = field(default_factory=LossConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    save: str = "merged"


def train_dpo(config_path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Train, measure and write the policy that the YAML file at `config_path` describes.

    Args:
        overrides: ``key=value`` each, as after ``--set``.

    Raises:
        InvalidInput: the config, the data or the base cannot be used; nothing was written then.
        GuerdonError: see `policy.fit.fit`.
    """
    config = read_config(config_path, DpoConfig, overrides)
    check_loss(config.loss)
    check_drift(config.drift)
    recipe = begin(config)
    optim = config.optim

    # 1. Data: both responses of a pair as token ids, after the same prompt tokens.
    records, num_ties = read_splits(config, said_by(recipe.accelerator))
    check_splits(config.data.files, {split: ((p.id, p.prompt) for p in records[split]) for split in records})
    pairs = {split: encode_split(recipe, split, found) for split, found in records.items()}
    prompts = held_out_prompts(recipe, records["test"], config.drift)

    # 2. Model, and what it thinks of every response before it learns anything.
    model = load_policy(recipe.origin.folder, config.lora, config.seed)
    check_packing(model)

    def compute_reference() -> dict[str, Tensor]:
        with as_reference(model.to(recipe.accelerator.device), recipe.origin.folder) as reference:
            return {s: pair_logprobs(reference, found, optim.max_row_tokens) for s, found in pairs.items()}

    with recipe.accelerator.main_process_first():
        reference = stored_reference(
            recipe.folder / "reference.safetensors",
            reference_digest(recipe.lineage["base"]["weights_sha256"], pairs),
            compute_reference,
        )

    # 3. Fit; keep the epoch with the lowest valid loss.
    lengths = [pair.num_tokens for pair in pairs["train"]]

    def plan(epoch: int) -> Iterator[list[PairBatch]]:
        for step in epoch_steps(len(lengths), optim.examples_per_step, config.seed, epoch):
            rows = packed(step, lengths, optim.max_row_tokens)
            yield [pair_batch([pairs["train"][i] for i in row], reference["train"][row]) for row in rows]

    def evaluate(policy: nn.Module, split: str) -> dict[str, float]:
        logprobs = pair_logprobs(policy, pairs[split], optim.max_row_tokens)
        return summarise(logprobs - reference[split], num_targets(pairs[split]), config.loss)

    job = Job(
        optim=optim,
        num_steps=num_steps(len(lengths), optim.examples_per_step),
        plan=plan,
        terms=lambda policy, batch: dpo_terms(policy, batch, config.loss),
        evaluate=lambda policy: evaluate(policy, "valid"),
        identity=recipe.identity,
        folder=recipe.run,
    )
    progress = fit(recipe.accelerator, model, job)

    # 4. Measure on test, once; write the artifact.
    metrics: dict[str, Any] = {
        "epoch": progress.best_epoch,
        "num_train": len(pairs["train"]),
        **num_too_long(records, pairs),
        **num_ties,
        **{split: evaluate(model, split) for split in ("valid", "test")},
    }
    accuracy = wilson(metrics["test"]["accuracy"] * len(pairs["test"]), len(pairs["test"]))
    metrics["test_accuracy_interval"] = asdict(accuracy)
    if prompts and recipe.accelerator.is_main_process:
        metrics["drift"] = measure_drift(
            whole_model(recipe, model, load_policy),
            recipe.origin.folder,
            recipe.tokenizer,
            prompts,
            config.drift,
            config.seed,
            optim.max_row_tokens,
        )
    if recipe.accelerator.is_main_process:
        base, loss = recipe.lineage["base"], config.loss
        description = ImplicitReward(loss.beta, loss.per_token, config.base, base["weights_sha256"])
        write_implicit_reward(recipe.folder, description)
    return publish(recipe, model, metrics)


def dpo_terms(model: nn.Module, batch: PairBatch, loss: LossConfig) -> Terms:
    """Losses of a batch's pairs, summed, and what to watch beside them: `objective.pair_figures`."""
    logprobs = example_logprobs(model, batch.row).view(-1, 2)
    reference = batch.reference.to(logprobs.device)
    counts = torch.bincount(batch.row.owners, minlength=batch.row.num_examples).view(-1, 2)
    figures = pair_figures(logprobs - reference, counts.to(logprobs.device), loss)
    return Terms(figures["loss"].sum(), {k: v.sum() for k, v in figures.items() if k != "loss"})


def encode_split(recipe: Recipe, split: str, records: Sequence[PreferencePair]) -> list[ExamplePair]:
    """Pairs as token ids; those that do not fit `max_tokens` are left out.

    Raises:
        InvalidInput: nothing fits.
    """
    found = encode_pairs(recipe.tokenizer, records, recipe.config.max_tokens)
    if not found:
        file, limit = recipe.config.data.files[split], recipe.config.max_tokens
        raise InvalidInput(f"no pair of {file} fits max_tokens = {limit}; raise it", param="max_tokens")
    return found


def held_out_prompts(
    recipe: Recipe, records: Sequence[PreferencePair], drift: DriftConfig
) -> list[list[int]]:
    """Different prompts of the test pairs, the first `drift.num_prompts` that leave room for an answer.

    Raises:
        InvalidInput: none does, and some are asked for.
    """
    room = recipe.config.max_tokens - drift.max_new_tokens
    prompts: Mapping[object, list[int]] = {
        p.prompt: encode_prompt(recipe.tokenizer, p.prompt) for p in records
    }
    kept = [ids for ids in prompts.values() if len(ids) <= room][: drift.num_prompts]
    if drift.num_prompts and not kept:
        raise InvalidInput(
            f"no prompt of {recipe.config.data.test} leaves room for drift.max_new_tokens = "
            f"{drift.max_new_tokens} within max_tokens = {recipe.config.max_tokens}; lower the first, or set "
            "drift.num_prompts to 0, which leaves the drift out",
            param="drift.max_new_tokens",
        )
    return kept
