"""Recipe: supervised fine-tuning of a language model on demonstrations.

Read from top to bottom. The kept epoch is chosen on the valid file alone; the test file is scored once, at
the end. Runs in one process or, by ``accelerate launch``, in several; an interrupted run goes on after its
last whole epoch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path

import torch
from torch import Tensor, nn

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_training.config_file import read_config
from guerdon_training.policy.config import PolicyData, PolicyLora, PolicyOptim
from guerdon_training.policy.demonstrations import Demonstration, read_demonstrations
from guerdon_training.policy.encode import Example, encode_example
from guerdon_training.policy.fit import Job, Terms, fit
from guerdon_training.policy.load import load_policy
from guerdon_training.policy.logprobs import row_logprobs
from guerdon_training.policy.packing import check_packing
from guerdon_training.policy.plan import epoch_steps, num_steps, packed
from guerdon_training.policy.recipe import Recipe, begin, num_too_long, publish
from guerdon_training.policy.rows import Row, pack
from guerdon_training.policy.select import select
from guerdon_training.splits import check_splits


@dataclass(frozen=True, slots=True)
class SftConfig:
    """Everything that `guerdon train sft` reads; `policy.recipe.PolicyConfig` says what each key means."""

    name: str
    version: str
    output: str
    base: str
    max_tokens: int
    seed: int
    data: PolicyData
    optim: PolicyOptim
    lora: PolicyLora = field(default_factory=PolicyLora)
    save: str = "merged"


@dataclass(frozen=True, slots=True)
class SftBatch:
    """One packed row; its units are its target tokens."""

    row: Row

    @property
    def num_units(self) -> int:
        """Target tokens."""
        return self.row.num_targets


def train_sft(config_path: Path, overrides: Sequence[str] = ()) -> Manifest:
    """Train, measure and write the policy that the YAML file at `config_path` describes.

    Args:
        overrides: ``key=value`` each, as after ``--set``.

    Raises:
        InvalidInput: the config, the data or the base cannot be used; nothing was written then.
        GuerdonError: see `policy.fit.fit`.
    """
    config = read_config(config_path, SftConfig, overrides)
    recipe = begin(config)
    optim = config.optim

    # 1. Data: demonstrations as token ids, the assistant's tokens marked.
    records = {split: read_split(recipe, split) for split in config.data.splits}
    check_splits(config.data.files, {split: ((d.id, d.prompt) for d in records[split]) for split in records})
    examples = {split: encode_split(recipe, split, found) for split, found in records.items()}
    train, valid, test = examples.values()
    lengths = [len(e.input_ids) for e in train]

    def plan(epoch: int) -> Iterator[list[SftBatch]]:
        for step in epoch_steps(len(train), optim.examples_per_step, config.seed, epoch):
            rows = packed(step, lengths, optim.max_row_tokens)
            yield [SftBatch(pack([train[i] for i in row])) for row in rows]

    # 2. Model: the base, with adapters or whole.
    model = load_policy(recipe.origin.folder, config.lora, config.seed)
    check_packing(model)

    # 3. Fit; keep the epoch with the lowest valid loss.
    job = Job(
        optim=optim,
        num_steps=num_steps(len(train), optim.examples_per_step),
        plan=plan,
        terms=lambda policy, batch: Terms(sft_loss(policy, batch)),
        evaluate=lambda policy: evaluate(policy, valid, optim.max_row_tokens),
        identity=recipe.identity,
        folder=recipe.run,
    )
    progress = fit(recipe.accelerator, model, job)

    # 4. Measure on test, once; write the artifact.
    metrics = {
        "epoch": progress.best_epoch,
        "num_train": len(train),
        **num_too_long(records, examples),
        "valid": evaluate(model, valid, optim.max_row_tokens),
        "test": evaluate(model, test, optim.max_row_tokens),
    }
    return publish(recipe, model, metrics)


def sft_loss(model: nn.Module, batch: SftBatch) -> Tensor:
    """Negative log-likelihood of a batch's target tokens, summed: a scalar, in nats."""
    return -row_logprobs(model, batch.row).sum()


@torch.no_grad()
def evaluate(model: nn.Module, examples: Sequence[Example], max_row_tokens: int) -> dict[str, float]:
    """Mean negative log-likelihood per target token, and its exponential."""
    rows = packed(range(len(examples)), [len(e.input_ids) for e in examples], max_row_tokens)
    batches = (SftBatch(pack([examples[i] for i in row])) for row in rows)
    total = sum(float(sft_loss(model, batch)) for batch in batches)
    loss = total / sum(e.num_targets for e in examples)
    return {"loss": loss, "perplexity": exp(min(loss, 700.0))}


def read_split(recipe: Recipe, split: str) -> list[Demonstration]:
    """Demonstrations of one file, those that the config asks for.

    Raises:
        InvalidInput: the file, or a line, cannot be used.
    """
    data = recipe.config.data
    file, limit = data.splits[split]
    return select(read_demonstrations(Path(file)), data.sources, limit, recipe.config.seed, file)


def encode_split(recipe: Recipe, split: str, records: Sequence[Demonstration]) -> list[Example]:
    """Demonstrations as token ids; those that do not fit `max_tokens` are left out.

    Raises:
        InvalidInput: nothing fits.
    """
    limit = recipe.config.max_tokens
    found = [encode_example(recipe.tokenizer, d.prompt, d.response, limit) for d in records]
    examples = [e for e in found if e is not None]
    if not examples:
        file = recipe.config.data.files[split]
        raise InvalidInput(f"no response of {file} fits max_tokens = {limit}; raise it", param="max_tokens")
    return examples
