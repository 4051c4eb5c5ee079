"""An encoder from an installed package, with LoRA adapters and a fresh head per attribute."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import peft
import torch
from peft.utils.constants import DUMMY_TARGET_MODULES
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Pooling
from guerdon_service.core.positions import reserved_positions
from guerdon_service.core.tokenizer_files import check_tokenizer
from guerdon_service.core.weights_package import install_command
from guerdon_training.config import BaseConfig, LoraConfig


def base_folder(base: BaseConfig) -> Path:
    """Folder with the weights that the package carries.

    Raises:
        InvalidInput: the package is not installed, or has no such folder.
    """
    spec = find_spec(base.package)
    if spec is None or spec.origin is None:
        raise InvalidInput(
            f"package {base.package} is not installed; run {install_command(base.package)}",
            param="base.package",
        )
    folder = Path(spec.origin).parent / base.subfolder
    if not (folder / "model.safetensors").is_file():
        raise InvalidInput(
            f"{base.package} has no {base.subfolder}/model.safetensors", param="base.subfolder"
        )
    return folder


def base_version(package: str) -> str:
    """Distribution and version that an import name comes from, e.g. ``name 1.0``; "" where it has none."""
    return ", ".join(f"{name} {version(name)}" for name in _distributions().get(package, []))


@cache
def _distributions() -> Mapping[str, list[str]]:
    """By import name; it is read off the files of all that is installed, which takes half a second."""
    return packages_distributions()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The base's own tokenizer.

    Raises:
        InvalidInput: there is none.
    """
    check_tokenizer(folder, "base")
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def build_model(
    folder: Path,
    package: str,
    num_heads: int,
    lora: LoraConfig,
    seed: int,
    *,
    num_layers: int = 0,
    pooling: Pooling = "model",
) -> peft.PeftModel:
    """Frozen base, LoRA on its linear layers, and `num_heads` outputs, initialised from `seed`.

    The adapter names its base by `package`, so that no path of this machine ends up in the artifact. Heads
    begin as ``N(0, 1 / sqrt(d + 1))`` (Huang et al., "The N implementation details of RLHF with PPO", 2023).

    Args:
        num_layers: of the base, from the first; 0 is all. pooling: what the head reads; the base's pooler
            was made for ``model``, for ``response`` it starts as the identity.

    Raises:
        InvalidInput: the base lacks one of `num_layers` or of `lora.layers`.
    """
    torch.manual_seed(seed)
    base = load_classifier(folder, num_heads, num_layers)
    num_kept = base.config.num_hidden_layers
    if lora.layers and not (min(lora.layers) >= 0 and max(lora.layers) < num_kept):
        raise InvalidInput(
            f"config lora.layers is {list(lora.layers)}; the base's layers are 0 to {num_kept - 1}",
            param="lora.layers",
        )
    base.name_or_path = base.config._name_or_path = package
    torch.nn.init.normal_(base.classifier.weight, std=(base.classifier.in_features + 1) ** -0.5)
    torch.nn.init.zeros_(base.classifier.bias)
    if pooling == "response":
        torch.nn.init.eye_(base.base_model.pooler.dense.weight)
        torch.nn.init.zeros_(base.base_model.pooler.dense.bias)
    placed = (
        {
            "target_modules": list(lora.target_modules),
            "layers_to_transform": list(lora.layers),
            "layers_pattern": "layer",
            # a module that is trained in full needs no adapter, and "dense" would match the pooler's
            "exclude_modules": rf".*({'|'.join(lora.save_modules)}).*",
        }
        if lora.layers
        else {"target_modules": DUMMY_TARGET_MODULES}
    )
    return peft.get_peft_model(
        base,
        peft.LoraConfig(
            task_type=peft.TaskType.SEQ_CLS,
            r=lora.rank,
            lora_alpha=lora.alpha,
            modules_to_save=list(lora.save_modules),
            **placed,
        ),
    )


def load_classifier(folder: Path, num_heads: int, num_layers: int = 0) -> Any:
    """The base in float32, a fresh classifier, and pooler if it has none; `num_layers` as in `build_model`.

    Raises:
        InvalidInput: the base has fewer layers, or lacks other weights.
    """
    config = AutoConfig.from_pretrained(folder)
    config.num_labels = num_heads  # as an argument, one other than the base's is warned of
    if num_layers > config.num_hidden_layers:
        raise InvalidInput(
            f"base.num_layers is {num_layers}, but the base has {config.num_hidden_layers} layers",
            param="base.num_layers",
        )
    config.num_hidden_layers = num_layers or config.num_hidden_layers
    with unreported():  # that the head is new, and upper layers are left out, is no news
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True
        )
    lost = sorted(
        name for name in report["missing_keys"] if not {"classifier", "pooler"} & {*name.split(".")}
    )
    if lost:
        raise InvalidInput(
            f"{folder} holds no {lost[0]}, and a random one would be used; install the base again, or give "
            "another",
            param="base",
        )
    return model


@contextmanager
def unreported() -> Iterator[None]:
    """No table of weights that are new or left out: both are meant, and what must be there is checked."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def check_max_tokens(folder: Path, max_tokens: int, setting: str = "max_tokens") -> None:
    """Refuse more tokens than the base has positions for: the first long text would stop the run, or be read
    at positions that were never trained.

    Args:
        setting: what the config says them by; its first word is the key.

    Raises:
        InvalidInput: `max_tokens` is above what the base reads.
    """
    most = _most_tokens(AutoConfig.from_pretrained(folder).get_text_config())
    if most is not None and max_tokens > most:
        raise InvalidInput(
            f"config {setting} is {max_tokens}, but the base reads {most} at most; lower it",
            param=setting.split()[0],
        )


def _most_tokens(config: Any) -> int | None:
    """Positions that tokens can have, by a configuration of text; None where it sets no end.

    RoPE may be stretched over more than the base was first trained on. Where each kind of layer has settings
    of its own, the configuration's number holds.
    """
    most: int | None = getattr(config, "max_position_embeddings", None)
    if most is None:
        return None
    rope = getattr(config, "rope_parameters", None) or {}
    stretched = rope.get("factor", 1.0) * (rope.get("original_max_position_embeddings") or most)
    return max(most, int(stretched)) - reserved_positions(config)


def check_pooling(pooling: str) -> Pooling:
    """The config's `pooling`, where a recipe can train it.

    Raises:
        InvalidInput: it cannot.
    """
    if pooling not in ("model", "response"):
        raise InvalidInput(f"config pooling is {pooling!r}; use model or response", param="pooling")
    return cast("Pooling", pooling)
