"""The runs of a reward model from one start, and the model that is made of all of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import peft
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh

from guerdon_training.config import LoraConfig, RewardConfig
from guerdon_training.convex import fit_convex
from guerdon_training.fit import Fitted, fit
from guerdon_training.head_layout import head_layout
from guerdon_training.model import build_model, check_pooling
from guerdon_training.policy.artifact import RUN
from guerdon_training.rows import Rows
from guerdon_training.trunk import SplitEncoder
from guerdon_training.warm import average_runs


def fit_run(
    config: RewardConfig,
    base: Path,
    pad_token_id: int,
    train: Rows,
    valid: Rows,
    number: int,
    identity: str,
    accelerator: Accelerator,
) -> Fitted:
    """One training from the start that all share, in an order of its own, in a folder of its own.

    Args:
        number: of the run, from 0.
        identity: see `run_identity`.

    Raises:
        GuerdonError: see `fit.fit` and `convex.fit_convex`.
    """
    run = Path(config.output) / RUN / f"{number:03}"
    model = _model(config, base, config.lora)
    first_layer = min(config.lora.layers, default=None)
    pooling = check_pooling(config.pooling)
    encoder = SplitEncoder(model.get_base_model(), first_layer, pad_token_id, pooling=pooling)
    if config.optim.l2:
        return fit_convex(model, encoder, train, config, run, is_writer=accelerator.is_main_process)
    if accelerator.is_fsdp2:
        encoder.shard(init_device_mesh("cpu", (accelerator.num_processes,)))
    return fit(model, encoder, train, valid, config, config.seed + number, run, identity, accelerator)


def model_of_runs(config: RewardConfig, base: Path, runs: Sequence[Fitted]) -> peft.PeftModel:
    """One model whose weights are the average of all runs', without what only training needs."""
    count = config.ensemble.runs  # rank and alpha must hold the factors of all: see `warm`
    lora = replace(config.lora, rank=count * config.lora.rank, alpha=count * config.lora.alpha)
    model = _model(config, base, lora)
    report = model.load_state_dict(average_runs([run.state for run in runs]), strict=False)
    assert not report.unexpected_keys, "a trained parameter has no place in the served model"
    return model


def _model(config: RewardConfig, base: Path, lora: LoraConfig) -> peft.PeftModel:
    return build_model(
        base,
        config.base.package,
        head_layout(config).num_outputs,
        lora,
        config.seed,
        num_layers=config.base.num_layers,
        pooling=check_pooling(config.pooling),
    )
