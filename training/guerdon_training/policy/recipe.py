"""What a policy recipe does before it trains and after."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import MIN_TOKENS, Manifest
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.config_file import config_yaml
from guerdon_training.data import file_sha256
from guerdon_training.distributed import begin_processes
from guerdon_training.model import check_max_tokens
from guerdon_training.policy.artifact import RUN, Origin, check_save, package_of, parents, write_policy
from guerdon_training.policy.base import policy_base
from guerdon_training.policy.config import PolicyConfig, PolicyLora, check_optim
from guerdon_training.policy.fit import BEST
from guerdon_training.policy.load import load_policy, load_tokenizer
from guerdon_training.problems import refuse_first
from guerdon_training.run_identity import run_identity
from guerdon_training.zero_options import zero_options

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A run that has begun.

    lineage: what the weights are made from, for `manifest.parents`. identity: see
        `run_identity`.
    folder: the artifact's. run: for what the run needs while it lasts.
    """

    config: PolicyConfig
    accelerator: Accelerator
    origin: Origin
    tokenizer: PreTrainedTokenizerBase
    lineage: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The artifact's."""
        return Path(self.config.output)

    @property
    def run(self) -> Path:
        """For checkpoints; gone once the artifact is written."""
        return self.folder / RUN

    @property
    def identity(self) -> str:
        """Of the lineage, for checkpoints."""
        return run_identity(self.lineage)


def begin(config: PolicyConfig) -> Recipe:
    """Check the config, find the base, note where everything comes from. Nothing is written.

    Raises:
        InvalidInput: the config, a data file or the base cannot be used.
    """
    refuse_first({f"max_tokens must be at least {MIN_TOKENS}": config.max_tokens < MIN_TOKENS})
    check_optim(config.optim)
    check_save(config.save, config.base, config.lora.rank)
    accelerator = begin_processes(zero=True)
    torch.set_num_threads(config.optim.num_threads)  # with several processes accelerate sets its own number
    origin = Origin(config.base, policy_base(config.base))
    check_max_tokens(origin.folder, config.max_tokens)
    digests = {split: file_sha256(_existing(Path(file))) for split, (file, _) in config.data.splits.items()}
    lineage = parents(origin, config, digests)
    return Recipe(config, accelerator, origin, load_tokenizer(origin.folder), lineage)


def num_too_long(
    records: Mapping[str, Sequence[object]], fitting: Mapping[str, Sequence[object]]
) -> dict[str, int]:
    """``num_SPLIT_too_long``: records that do not fit `max_tokens` and are left out of their split."""
    return {f"num_{split}_too_long": len(records[split]) - len(found) for split, found in fitting.items()}


def is_in_parts(model: nn.Module) -> bool:
    """Whether processes hold parts of the trained model, by FSDP or DeepSpeed."""
    return isinstance(model, FSDPModule) or zero_options() is not None


def whole_model(recipe: Recipe, model: M, load: Callable[[Path, PolicyLora, int], M]) -> M:
    """The trained model in one piece: itself, or, where processes hold parts, once more from the files.

    Args:
        load: what `model` is from.
    """
    if not is_in_parts(model):
        return model
    fresh = load(recipe.origin.folder, recipe.config.lora, recipe.config.seed)
    report = fresh.load_state_dict(load_file(recipe.run / BEST), strict=False)
    assert not report.unexpected_keys, "a trained parameter has no place in the model"
    return fresh.to(recipe.accelerator.device)


def publish(recipe: Recipe, model: nn.Module, metrics: Mapping[str, Any]) -> Manifest:
    """Write the artifact, by one process, and remove what the run needed.

    Other files of the artifact must be in its folder by now: the digest seals them too.
    """
    config, folder = recipe.config, recipe.folder
    manifest = Manifest(
        name=config.name,
        version=config.version,
        kind="policy",
        heads=(),
        profiles={},
        max_tokens=config.max_tokens,
        base=package_of(config.base) if config.save == "adapter" else None,
        parents=recipe.lineage,
        metrics=metrics,
    )
    if recipe.accelerator.is_main_process:
        with whole_folder(folder):
            (folder / "config.yaml").write_text(config_yaml(config), "utf-8")
            shutil.copyfile(recipe.run / "metrics.jsonl", folder / "metrics.jsonl")
            whole = whole_model(recipe, model, load_policy)
            manifest = write_policy(folder, whole, recipe.tokenizer, manifest, config.save)
        shutil.rmtree(recipe.run)
    recipe.accelerator.wait_for_everyone()
    return manifest


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist; give the path of a data file", param="data")
    return path
