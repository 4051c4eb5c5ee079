"""Recipe: a reward model on a language model, from preference pairs, as an artifact that can be served.

Read from top to bottom. Every choice is made on the valid pairs; the test pairs are scored once, at the end.
Runs in one process or, by ``accelerate launch``, in several, which share each step; one of them measures and
writes. An interrupted run goes on after its last whole epoch.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, Profile, from_json
from guerdon_service.core.statistics.calibration_fit import calibrated_log_loss
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.artifact import MANIFEST
from guerdon_training.config_file import config_yaml, read_config
from guerdon_training.directions import profile_metrics
from guerdon_training.golden import golden_text
from guerdon_training.losses import bradley_terry, centring
from guerdon_training.measure import (
    Scored,
    accuracies,
    by_attribute,
    fit_calibration,
    normalised_heads,
    write_scores,
)
from guerdon_training.policy.artifact import write_policy
from guerdon_training.policy.fit import Job, Terms, fit
from guerdon_training.policy.pairs import ExamplePair, read_splits
from guerdon_training.policy.plan import epoch_steps, num_steps, packed
from guerdon_training.policy.recipe import begin, whole_model
from guerdon_training.policy.reward_model import check_reward_base, load_reward_lm
from guerdon_training.policy.scored_pairs import (
    ScoreBatch,
    encode_pair,
    pair_scores,
    score_batch,
    service_encoder,
)
from guerdon_training.reward_lm_card import render_card
from guerdon_training.reward_lm_config import (
    RewardLmConfig,
    RewardLoss,
    check_config,
    check_precision,
    served_form,
)
from guerdon_training.reward_lm_measure import score_alone, score_split
from guerdon_training.splits import check_splits
from guerdon_training.standard_error import said_by
from guerdon_training.usable import check_calibration


def train_reward_lm(config_path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Train, measure and write the artifact that the YAML file at `config_path` describes.

    Args:
        overrides: ``key=value`` each, as after ``--set``.

    Raises:
        InvalidInput: the config, the data or the base cannot be used; nothing was written then.
        GuerdonError: see `policy.fit.fit`.
    """
    config = read_config(config_path, RewardLmConfig, overrides)
    check_config(config)
    recipe = begin(config)
    check_precision(recipe.accelerator)
    check_reward_base(recipe.origin.folder)
    optim = config.optim

    # 1. Data: both conversations of a pair as the tokens that the service will read.
    encode = service_encoder(served_form(config), recipe.tokenizer)
    records, num_ties = read_splits(config, said_by(recipe.accelerator))
    check_splits(config.data.files, {split: ((p.id, p.prompt) for p in records[split]) for split in records})
    encoded = {split: [encode_pair(encode, pair) for pair in found] for split, found in records.items()}
    train, valid, _ = (fitting(config, found, split) for split, found in encoded.items())
    fitted = [
        pair for pair, found in zip(records["valid"], encoded["valid"], strict=True) if found is not None
    ]
    check_calibration(fitted, config.data.valid)
    lengths = [pair.num_tokens for pair in train]

    def plan(epoch: int) -> Iterator[list[ScoreBatch]]:
        for step in epoch_steps(len(train), optim.examples_per_step, config.seed, epoch):
            rows = packed(step, lengths, optim.max_row_tokens)
            yield [score_batch([train[i] for i in row]) for row in rows]

    # 2. Model: the base, with adapters or whole, and a new head.
    model = load_reward_lm(recipe.origin.folder, config.lora, config.seed)

    # 3. Fit; keep the epoch with the lowest calibrated log loss on valid.
    job = Job(
        optim=optim,
        num_steps=num_steps(len(train), optim.examples_per_step),
        plan=plan,
        terms=lambda scorer, batch: reward_terms(scorer, batch, config.loss),
        evaluate=lambda scorer: evaluate(scorer, valid, [p.share for p in fitted], optim.max_row_tokens),
        identity=recipe.identity,
        folder=recipe.run,
    )
    progress = fit(recipe.accelerator, model, job)
    if not recipe.accelerator.is_main_process:
        recipe.accelerator.wait_for_everyone()
        return from_json((recipe.folder / MANIFEST).read_text("utf-8"))

    # 4. What will be served, in fp32: normalise and calibrate on valid; measure on test, once.
    whole = whole_model(recipe, model, load_reward_lm)
    model = recipe.accelerator.unwrap_model(whole, keep_fp32_wrapper=False)

    def score(split: str) -> list[Scored]:
        return score_split(model, records[split], encoded[split], optim.max_row_tokens)

    names, on_valid = [config.attribute], score("valid")
    heads = normalised_heads(names, on_valid)
    profiles = {config.attribute: Profile({config.attribute: 1.0})}
    calibration = fit_calibration(on_valid, heads, profiles[config.attribute].weights)
    scores = {"valid": on_valid, "test": score("test")}
    figures = {
        split: accuracies(by_attribute(found, heads), names)[config.attribute]
        for split, found in scores.items()
    }
    training = {
        "epoch": progress.best_epoch,
        "num_train": len(train),
        "num_train_too_long": len(records["train"]) - len(train),
        **num_ties,
    }

    # 5. Write the artifact: golden scores, card, whole weights; the manifest's digest seals it.
    manifest = replace(
        served_form(config),
        heads=heads,
        profiles=profiles,
        calibration=calibration,
        parents=recipe.lineage,
        metrics={config.attribute: figures, "training": training}
        | profile_metrics(scores["test"], heads, profiles, calibration),
    )
    golden = golden_text(lambda text: score_alone(model, encode, text))
    with whole_folder(recipe.folder):
        (recipe.folder / "config.yaml").write_text(config_yaml(config), "utf-8")
        shutil.copyfile(recipe.run / "metrics.jsonl", recipe.folder / "metrics.jsonl")
        write_scores(recipe.folder / "scores.jsonl", scores)
        (recipe.folder / "golden.jsonl").write_text(golden, "utf-8")
        (recipe.folder / "MODEL_CARD.md").write_text(render_card(config, str(config_path), manifest), "utf-8")
        sealed = write_policy(recipe.folder, model.classifier, recipe.tokenizer, manifest, config.save)
    shutil.rmtree(recipe.run)
    recipe.accelerator.wait_for_everyone()
    return sealed


def fitting(config: RewardLmConfig, pairs: Sequence[ExamplePair | None], split: str) -> list[ExamplePair]:
    """Those of which both responses fit.

    Raises:
        InvalidInput: none does.
    """
    found = [pair for pair in pairs if pair is not None]
    if not found:
        file, limit = config.data.files[split], config.max_tokens
        raise InvalidInput(f"no pair of {file} fits max_tokens = {limit}; raise it", param="max_tokens")
    return found


def reward_terms(model: nn.Module, batch: ScoreBatch, loss: RewardLoss) -> Terms:
    """Losses of a batch's pairs, summed, and what to watch beside them."""
    chosen, rejected = model(batch.row).view(-1, 2).unbind(1)
    losses = bradley_terry(chosen, rejected, 1.0 - loss.flip_rate)
    margin = (chosen - rejected).detach()
    watched = {
        "accuracy": 0.5 * (1.0 + torch.sign(margin)),
        "margin": margin,
        "chosen": chosen.detach(),
        "rejected": rejected.detach(),
    }
    total = (losses + loss.centring * centring(chosen, rejected)).sum()
    return Terms(total, {name: value.sum() for name, value in watched.items()})


def evaluate(
    model: nn.Module, pairs: Sequence[ExamplePair], shares: Sequence[float], max_row_tokens: int
) -> dict[str, float]:
    """Log loss at the best temperature, accuracy (a tie is half) and mean margin.

    Args:
        shares: of each pair's votes, those for the chosen response.
    """
    scores = pair_scores(model, pairs, max_row_tokens).double()
    margins = (scores[:, 0] - scores[:, 1]).numpy()
    return {
        "loss": calibrated_log_loss(margins, shares),
        "accuracy": float(np.mean((np.sign(margins) + 1.0) / 2.0)),
        "margin": float(margins.mean()),
    }
