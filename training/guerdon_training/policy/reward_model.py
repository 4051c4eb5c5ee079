"""A causal language model with one score in place of its vocabulary, read at the last token."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from guerdon_service.core.errors import InvalidInput
from guerdon_training.model import unreported
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import with_adapters
from guerdon_training.policy.rows import Row

SERVED = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text")
"""Kinds of decoder (`model_type`) that the service serves with a score."""
HEAD = "score.weight"


class RewardLm(nn.Module):
    """A classifier that scores packed rows.

    Args:
        classifier: ``*ForSequenceClassification`` of a decoder with one output, bare or with adapters.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier
        self._no_split_modules = classifier._no_split_modules  # each layer is a part of its own under FSDP

    def forward(self, row: Row) -> Tensor:
        """Score of each example, read at its last token: float32 [S].

        The head is computed in its own precision, whatever that of the trunk is.
        """
        classifier: Any = self.classifier
        model: Any = classifier.get_base_model() if isinstance(classifier, PeftModel) else classifier
        row = row.to(next(self.parameters()).device)
        states = model.base_model(
            input_ids=row.input_ids, position_ids=row.position_ids, use_cache=False
        ).last_hidden_state[0, row.ends]
        with torch.autocast(states.device.type, enabled=False):
            scores: Tensor = model.score(states.to(model.score.weight.dtype)).squeeze(-1)
        return scores.float()


def load_reward_lm(folder: Path, lora: PolicyLora, seed: int) -> RewardLm:
    """The base in fp32 with dropout off, a new head, and LoRA adapters where `lora.rank` is above 0.

    The head begins as ``N(0, 1 / sqrt(d + 1))`` (Huang et al., "The N implementation details of RLHF with
    PPO", 2023) and trains in full.

    Args:
        folder: a base that `check_reward_base` lets through.

    Raises:
        InvalidInput: the base lacks weights; or `lora` has a value that it cannot use.
    """
    torch.manual_seed(seed)
    model: Any = _classifier(folder)
    nn.init.normal_(model.score.weight, std=(model.score.in_features + 1) ** -0.5)
    adapted = with_adapters(model, lora, None)
    model.score.weight.requires_grad_(True)
    return RewardLm(adapted)


def check_reward_base(folder: Path) -> None:
    """Refuse a base that could not be trained to one score and served.

    Raises:
        InvalidInput: the base is of another kind than `SERVED`, or a classifier with several outputs.
    """
    kind = AutoConfig.from_pretrained(folder).model_type
    if kind not in SERVED:
        raise InvalidInput(
            f"config base is a {kind}, which the service could not serve with a score; give one "
            f"of {', '.join(SERVED)}",
            param="base",
        )
    num_outputs = next(_num_outputs(folder), 1)
    if num_outputs != 1:
        raise InvalidInput(
            f"config base is a classifier with {num_outputs} outputs, and reward-lm trains one score; give a "
            "language model, or a reward model with one output",
            param="base",
        )


def _num_outputs(folder: Path) -> Iterator[int]:
    """Rows of the head that a classifier brings along; a language model has none."""
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            if HEAD in weights.keys():  # noqa: SIM118 - no mapping
                yield weights.get_slice(HEAD).get_shape()[0]


def _classifier(folder: Path) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(folder)
    config.num_labels = 1  # as an argument, one other than the base's is warned of
    with unreported():  # that the head is new is no news
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True
        )
    lost = sorted(set(report["missing_keys"]) - {HEAD})
    if lost:
        raise InvalidInput(
            f"config base lacks {lost[0]}, and a random one would be trained; copy the base again",
            param="base",
        )
    return cast(PreTrainedModel, model)
