"""An encoder from an installed package, with LoRA adapters and a fresh head per attribute."""

from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

import peft
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from guerdon_service.core.errors import InvalidInput
from guerdon_training.config import BaseConfig, LoraConfig


def base_folder(base: BaseConfig) -> Path:
    """Folder with the weights that the package carries.

    Raises:
        InvalidInput: the package is not installed, or has no such folder.
    """
    spec = find_spec(base.package)
    if spec is None or spec.origin is None:
        raise InvalidInput(f"package {base.package} is not installed; run make setup", param="base.package")
    folder = Path(spec.origin).parent / base.subfolder
    if not (folder / "model.safetensors").is_file():
        raise InvalidInput(
            f"{base.package} has no {base.subfolder}/model.safetensors", param="base.subfolder"
        )
    return folder


def base_version(package: str) -> str:
    """Distribution and version that an import name comes from, e.g. ``name 1.0``; "" where it has none."""
    names = packages_distributions().get(package, [])
    return ", ".join(f"{name} {version(name)}" for name in names)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The base's own tokenizer."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def build_model(folder: Path, package: str, num_heads: int, lora: LoraConfig, seed: int) -> peft.PeftModel:
    """Frozen base, LoRA on its linear layers, and `num_heads` outputs, initialised from `seed`.

    The adapter names its base by `package`, so that no path of this machine ends up in the artifact.
    """
    torch.manual_seed(seed)
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=num_heads)
    base.name_or_path = base.config._name_or_path = package
    return peft.get_peft_model(
        base,
        peft.LoraConfig(
            task_type=peft.TaskType.SEQ_CLS,
            r=lora.rank,
            lora_alpha=lora.alpha,
            target_modules=list(lora.target_modules),
            layers_to_transform=list(lora.layers),
            layers_pattern="layer",
            # a module that is trained in full needs no adapter, and "dense" would match the pooler's
            exclude_modules=rf".*({'|'.join(lora.save_modules)}).*",
            modules_to_save=list(lora.save_modules),
        ),
    )
