"""Recipe: a reward model on a language model, from preference pairs, as an artifact that can be served.

Read from top to bottom. Every choice is made on the valid pairs; the test pairs are scored once, at the end.
Runs in one process or, by ``accelerate launch``, in several, which share each step; one of them measures and
writes. An interrupted run goes on after its last whole epoch.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, Profile, from_json
from guerdon_service.core.statistics.calibration_fit import calibrated_log_loss
from guerdon_service.core.template_clock import stop_clock
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.artifact import MANIFEST
from guerdon_training.card import facts, measured
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
from guerdon_training.policy.config import PolicyData, PolicyLora, PolicyOptim
from guerdon_training.policy.fit import BEST, Job, Terms, fit
from guerdon_training.policy.pairs import ExamplePair, read_split
from guerdon_training.policy.plan import epoch_steps, num_steps, packed
from guerdon_training.policy.recipe import Recipe, begin, is_in_parts
from guerdon_training.policy.reward_model import RewardLm, load_reward_lm
from guerdon_training.policy.rows import pack
from guerdon_training.policy.scored_pairs import (
    ScoreBatch,
    encode_pair,
    encode_text,
    pair_scores,
    score_batch,
)
from guerdon_training.ppo.reward_text import Encode, encoder_of
from guerdon_training.problems import refuse_first
from guerdon_training.splits import check_splits
from guerdon_training.tagging import Tagged

OTHER_METRICS = ("training", "calibration", "directions")
"""Names in `manifest.metrics` beside that of the attribute."""


@dataclass(frozen=True, slots=True)
class RewardLoss:
    """Bradley-Terry with two options, both as in `guerdon train reward`.

    flip_rate: assumed share of wrong labels; 0.0 believes them all.
    centring: weight of the centring penalty; 0.01 is that of Eisenstein et al. (arXiv 2312.09244).
    """

    flip_rate: float = 0.0
    centring: float = 0.01


@dataclass(frozen=True, slots=True)
class RewardLmConfig:
    """Everything that `guerdon train reward-lm` reads; `policy.config.PolicyConfig` says what most keys mean.

    In `optim`, an example is a pair.

    max_tokens: what the served model accepts; the prompt is cut to it on the left, a response never.
    attribute: what the reward is called.
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
    loss: RewardLoss = field(default_factory=RewardLoss)
    attribute: str = "preference"

    @property
    def save(self) -> str:
        """The service loads whole weights."""
        return "merged"


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
    check_precision(recipe)
    optim = config.optim

    # 1. Data: both conversations of a pair as the tokens that the service will read.
    encode = service_encoder(config, recipe.tokenizer)
    records = {split: read_split(config, split) for split in config.data.splits}
    check_splits(config.data.files, {split: ((p.id, p.prompt) for p in records[split]) for split in records})
    encoded = {split: [encode_pair(encode, pair) for pair in found] for split, found in records.items()}
    train, valid, _ = (fitting(config, found, split) for split, found in encoded.items())
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
        evaluate=lambda scorer: evaluate(scorer, valid, optim.max_row_tokens),
        identity=recipe.identity,
        folder=recipe.run,
    )
    progress = fit(recipe.accelerator, model, job)
    if not recipe.accelerator.is_main_process:
        recipe.accelerator.wait_for_everyone()
        return from_json((recipe.folder / MANIFEST).read_text("utf-8"))

    # 4. What will be served, in fp32: normalise and calibrate on valid; measure on test, once.
    model = whole_model(recipe, model)

    def score(split: str) -> list[Scored]:
        return score_split(model, [Tagged(pair, 0) for pair in records[split]], encoded[split], optim)

    on_valid = score("valid")
    heads = normalised_heads([config.attribute], on_valid)
    profiles = {config.attribute: Profile({config.attribute: 1.0})}
    calibration = fit_calibration(on_valid, heads, profiles[config.attribute].weights)
    scores = {"valid": on_valid, "test": score("test")}
    figures = {
        split: accuracies(by_attribute(found, heads), [config.attribute])[config.attribute]
        for split, found in scores.items()
    }
    training = {
        "epoch": progress.best_epoch,
        "num_train": len(train),
        "num_train_too_long": len(records["train"]) - len(train),
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


def check_config(config: RewardLmConfig) -> None:
    """Refuse values that no run could use.

    Raises:
        InvalidInput: the key is named.
    """
    problems = {
        "max_tokens must be at least 8": config.max_tokens < 8,
        "attribute must not be empty": not config.attribute,
        f"attribute must be none of {', '.join(OTHER_METRICS)}, by which metrics name other things": (
            config.attribute in OTHER_METRICS
        ),
        "loss.flip_rate must be in [0, 0.5)": not 0 <= config.loss.flip_rate < 0.5,
        "loss.centring must be at least 0": not config.loss.centring >= 0,
    }
    refuse_first(problems)


def check_precision(recipe: Recipe) -> None:
    """Refuse FSDP in half precision, which would round the scores too: margins of 3 in steps of 1/64.

    Raises:
        InvalidInput: it is asked for.
    """
    precision = recipe.accelerator.mixed_precision
    if recipe.accelerator.is_fsdp2 and precision != "no":
        raise InvalidInput(
            f"--mixed_precision is {precision}, which FSDP takes for the scores too; "
            "give no, or launch with DDP or DeepSpeed",
            param="accelerate",
        )


def served_form(config: RewardLmConfig) -> Manifest:
    """What the service is told of how to read a conversation, before anything is measured."""
    return Manifest(
        name=config.name,
        version=config.version,
        heads=(),
        profiles={},
        max_tokens=config.max_tokens,
        encoding="template",
        pooling="last",
    )


def service_encoder(config: RewardLmConfig, tokenizer: PreTrainedTokenizerBase) -> Encode:
    """Conversation to the tokens that the service gives the model.

    A clock in the chat template is stopped, in the tokenizer that is saved too.

    Raises:
        InvalidInput: there are several templates, or a clock that cannot be stopped.
    """
    if not isinstance(tokenizer.chat_template, str):
        raise InvalidInput("the tokenizer of base has several chat templates; keep one", param="base")
    tokenizer.chat_template = stop_clock(tokenizer.chat_template)
    return encoder_of(served_form(config), tokenizer)


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


def evaluate(model: nn.Module, pairs: Sequence[ExamplePair], max_row_tokens: int) -> dict[str, float]:
    """Log loss at the best temperature, accuracy (a tie is half) and mean margin."""
    scores = pair_scores(model, pairs, max_row_tokens).double()
    margins = (scores[:, 0] - scores[:, 1]).numpy()
    return {
        "loss": calibrated_log_loss(margins),
        "accuracy": float(np.mean((np.sign(margins) + 1.0) / 2.0)),
        "margin": float(margins.mean()),
    }


def whole_model(recipe: Recipe, model: RewardLm) -> RewardLm:
    """The trained model in one piece and in fp32, whatever precision and parts it was trained in."""
    if not is_in_parts(model):
        whole: RewardLm = recipe.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        return whole
    fresh = load_reward_lm(recipe.origin.folder, recipe.config.lora, recipe.config.seed)
    fresh.load_state_dict(load_file(recipe.run / BEST), strict=False)
    return fresh.to(recipe.accelerator.device)


def score_split(
    model: RewardLm, tagged: Sequence[Tagged], encoded: Sequence[ExamplePair | None], optim: PolicyOptim
) -> list[Scored]:
    """Scores of every pair, in the order given."""
    kept = [(place, pair) for place, pair in enumerate(encoded) if pair is not None]
    raw = pair_scores(model, [pair for _, pair in kept], optim.max_row_tokens).double()
    scored = [Scored(t, None) for t in tagged]
    for (place, _), row in zip(kept, raw.unsqueeze(2).numpy(), strict=True):
        scored[place] = Scored(tagged[place], row)
    return scored


@torch.no_grad()
def score_alone(model: RewardLm, encode: Encode, text: Conversation) -> float | None:
    """Score of one conversation in a row of its own; None where it does not fit.

    Raises:
        InvalidInput: the chat template refuses it.
    """
    example = encode_text(encode, text, "a golden text")
    return None if example is None else float(model(pack([example])))


def render_card(config: RewardLmConfig, config_file: str, manifest: Manifest) -> str:
    """Markdown card of a measured but not yet sealed artifact."""
    base, optim, lora = manifest.parents["base"], config.optim, config.lora
    training = manifest.metrics["training"]
    trained = f"LoRA of rank {lora.rank}, merged" if lora.rank else "every weight trained"
    parts = [
        f"# {config.name} {config.version}",
        f"A reward model: the head `{config.attribute}`, read at the last token of a conversation, on the "
        f"language model `{base['source']}`. It reads at most {config.max_tokens} tokens; a longer prompt "
        "loses its beginning, a response is never cut. It compares responses to one prompt: no pair of its "
        "training compares prompts.",
        f"Trained with `guerdon train reward-lm {config_file}` (`config.yaml` holds every setting): "
        f"Bradley-Terry loss, {trained}, {training['num_train']} pairs, learning rate "
        f"{optim.learning_rate:g}, {optim.examples_per_step} pairs a step, assumed flip rate "
        f"{config.loss.flip_rate:g}; epoch {training['epoch']} of {optim.epochs} is kept, by the log loss on "
        "valid.",
        facts(manifest, f"`{base['source']}`, SHA-256 {base['weights_sha256']}"),
        *measured(manifest, [config.attribute]),
    ]
    return "\n\n".join(parts) + "\n"
