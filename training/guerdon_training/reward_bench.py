"""What a reward run costs, beside a plain `transformers.Trainer` loop over the same pairs.

``python -m guerdon_training.reward_bench CONFIG NUM_PAIRS ROUNDS [KEY=VALUE ...]`` where the config's paths
start. The plain loop pools as the base does, so the config's `pooling` must be ``model``. The two alternate;
CPU time counts, because others may use the machine.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments

from guerdon_training.alternate import Speeds, alternate
from guerdon_training.config import RewardConfig
from guerdon_training.config_file import read_config
from guerdon_training.data import read_pairs
from guerdon_training.forward import collate
from guerdon_training.head_layout import head_layout
from guerdon_training.learner import build_learner
from guerdon_training.losses import bradley_terry
from guerdon_training.model import base_folder, build_model, load_tokenizer
from guerdon_training.rows import Comparison, Rows, build_rows
from guerdon_training.steps import epoch_steps
from guerdon_training.tagging import tag
from guerdon_training.trunk import SplitEncoder, has_native_bf16

MICRO_BATCH = 16
"""Pairs of one forward of the plain loop: as many as keep its padding low, yet its products large."""


def measure_speed(config: RewardConfig, num_pairs: int, rounds: int) -> Speeds:
    """An epoch of each, over the first pairs of ``data.train`` that train a head.

    The unit is a token of both responses of every pair, prompts included. Ours: frozen layers once, bf16
    products where the CPU has them, each response of a prompt once, sorted by length. Plain: the same model,
    dtype and pairs a step, chosen and rejected in one batch, and no dropout either, which would make its
    attention slow on a CPU.
    """
    torch.set_num_threads(config.optim.num_threads)
    folder = base_folder(config.base)
    tokenizer = load_tokenizer(folder)
    pairs = tag(read_pairs(Path(config.data.train)), config.heads, trained=True)[:num_pairs]
    rows = build_rows(pairs, tokenizer, config.max_tokens)
    return alternate(lambda _: _ours(config, rows), lambda _: _plain(config, rows, tokenizer), rounds)


def _num_tokens(rows: Rows) -> int:
    sides = [row for c in rows.comparisons for row in (c.chosen, c.rejected)]
    return sum(len(rows.tokens[row].input_ids) for row in sides)


def _model(config: RewardConfig) -> Any:
    outputs = head_layout(config).num_outputs
    folder, package = base_folder(config.base), config.base.package
    return build_model(folder, package, outputs, config.lora, config.seed, num_layers=config.base.num_layers)


def _ours(config: RewardConfig, rows: Rows) -> Callable[[], int]:
    """An epoch as `fit` runs it."""
    model, optim = _model(config).eval(), config.optim
    parameters = [p for p in model.parameters() if p.requires_grad]
    encoder = SplitEncoder(model.get_base_model(), min(config.lora.layers, default=None), 0)
    learner = build_learner(encoder, rows, config, Accelerator(cpu=True))
    optimizer = torch.optim.AdamW(parameters, lr=optim.learning_rate)

    def epoch() -> int:
        states = encoder.lower(rows.tokens, optim.max_batch_tokens, "frozen layers")
        order = Random(config.seed)  # noqa: S311 - a repeatable order, not a secret
        for step in epoch_steps(rows, optim.pairs_per_step, optim.max_batch_tokens, order):
            learner.backward(states, step)
            nn.utils.clip_grad_norm_(parameters, optim.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        return _num_tokens(rows)

    return epoch


class _PairTrainer(Trainer):
    """The usual subclass: one forward for both sides, Bradley-Terry."""

    def compute_loss(  # type: ignore[override]
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: object
    ) -> Tensor:
        heads = inputs.pop("heads")
        logits = model(**inputs).logits.float()
        chosen, rejected = logits.gather(1, heads.repeat(2)[:, None]).chunk(2)
        return bradley_terry(chosen, rejected).mean()


def _plain(config: RewardConfig, rows: Rows, tokenizer: PreTrainedTokenizerBase) -> Callable[[], int]:
    """An epoch of `transformers.Trainer`."""

    def batch(comparisons: Sequence[Comparison]) -> dict[str, Tensor]:
        sides = [c.chosen for c in comparisons] + [c.rejected for c in comparisons]
        inputs = collate([rows.tokens[row] for row in sides], tokenizer.pad_token_id)
        return inputs | {"heads": torch.tensor([c.head for c in comparisons])}

    folder = tempfile.TemporaryDirectory()
    arguments = TrainingArguments(
        output_dir=folder.name,
        num_train_epochs=1,
        per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=max(1, config.optim.pairs_per_step // MICRO_BATCH),
        learning_rate=config.optim.learning_rate,
        bf16=has_native_bf16(),
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        remove_unused_columns=False,
    )
    model, comparisons = _model(config), cast("Any", rows.comparisons)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trainer = _PairTrainer(model, arguments, data_collator=batch, train_dataset=comparisons)

    def epoch() -> int:
        with folder:
            trainer.train()
        return _num_tokens(rows)

    return epoch


if __name__ == "__main__":
    read = read_config(Path(sys.argv[1]), RewardConfig, sys.argv[4:])
    speeds = measure_speed(read, int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(speeds.text("train reward", "Trainer", "tokens"))
