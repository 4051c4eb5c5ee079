"""Policies and their tokenizers, ready for training."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import peft
import torch
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.tokenizer_files import check_tokenizer
from guerdon_training.policy.config import PolicyLora
from guerdon_training.problems import refuse_first


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The base's tokenizer.

    Raises:
        InvalidInput: there is none, or it has no chat template, or no EOS; neither is ever guessed.
    """
    check_tokenizer(folder, "base")
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise InvalidInput(
            f"the tokenizer of {folder.name} has no chat template; add chat_template.jinja to the base",
            param="base",
        )
    if tokenizer.eos_token_id is None:
        raise InvalidInput(
            f"the tokenizer of {folder.name} has no EOS, so no response could end; set eos_token",
            param="base",
        )
    return tokenizer


def load_policy(folder: Path, lora: PolicyLora, seed: int) -> nn.Module:
    """fp32 causal LM with dropout off, and LoRA adapters where `lora.rank` is above 0.

    Dropout stays off in train mode too: a policy whose log-probabilities differ from pass to pass breaks
    every ratio (Huang et al., "The N implementation details of RLHF with PPO", 2023).

    Raises:
        InvalidInput: `lora` has a value that this model cannot use.
    """
    torch.manual_seed(seed)
    model = cast(PreTrainedModel, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))
    return with_adapters(model, lora, peft.TaskType.CAUSAL_LM)


def with_adapters(model: PreTrainedModel, lora: PolicyLora, task: peft.TaskType | None) -> nn.Module:
    """The model with dropout off, and with LoRA adapters where `lora.rank` is above 0.

    Raises:
        InvalidInput: `lora` has a value that this model cannot use.
    """
    disable_dropout(model)
    if lora.rank == 0:
        refuse_first(
            {"last_layers is of adapters, and rank is 0; give a rank, or leave it out": lora.last_layers > 0},
            "lora.",
        )
        return model
    _check_lora(model, lora)
    return cast(nn.Module, peft.get_peft_model(model, _adapter(model, lora, lora.target_modules, task)))


def _adapter(
    model: PreTrainedModel, lora: PolicyLora, target_modules: Sequence[str], task: peft.TaskType | None = None
) -> peft.LoraConfig:
    num_layers = model.config.get_text_config().num_hidden_layers
    first = num_layers - (lora.last_layers or num_layers)
    return peft.LoraConfig(
        task_type=task,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=list(target_modules),
        layers_to_transform=list(range(first, num_layers)),
    )


def _check_lora(model: PreTrainedModel, lora: PolicyLora) -> None:
    num_layers = model.config.get_text_config().num_hidden_layers
    # with the last layer, in some models: an adapter merged into it would change both
    shared = cast(nn.Embedding, model.get_input_embeddings()).weight
    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m.weight is not shared]

    def found(*targets: str) -> list[str]:
        adapter = _adapter(model, lora, targets)
        return [name for name in linear if check_target_module_exists(adapter, name)]

    ends = sorted({name.split(".")[-1] for name in linear})
    known = ", ".join(end for end in ends if found(end))
    unknown = [repr(target) for target in lora.target_modules if not target or not found(target)]
    problems = {
        f"rank is {lora.rank}; give 0 for none, or more": lora.rank < 0,
        f"alpha is {lora.alpha}; give at least 1": lora.alpha < 1,
        f"last_layers is {lora.last_layers}; the base has {num_layers} layers": (
            not 0 <= lora.last_layers <= num_layers
        ),
        f"target_modules is empty; the base's are {known}": not lora.target_modules,
        f"target_modules names {', '.join(unknown)}; the layers that train have {known}": bool(unknown),
    }
    refuse_first(problems, "lora.")


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout probability to 0, in modules and in the config that attention reads."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]
