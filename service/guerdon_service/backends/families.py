"""The architectures that are served, and what differs between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.positions import reserved_positions

Pool = Literal["first", "mean", "rightmost"]


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture.

    prefix: of the class names that `config.architectures` may hold.
    head: pooled rows, fp32 [N, hidden], to raw logits [N, H], through the model's own modules.
    head_modules: dotted paths of those modules; they stay in fp32.
    causal: a token sees only its past, so equal prompts share their computation.
    packed: its attention can run per segment of one packed row.
    padding_positions: positions start after the padding index and skip pad tokens (RoBERTa).
    absolute: positions are rows of a table, where `position_biased_input` does not switch it off (DeBERTa).
    """

    prefix: str
    head: Callable[[Any, Tensor], Tensor]
    head_modules: tuple[str, ...]
    causal: bool = False
    packed: bool = True
    padding_positions: bool = False
    absolute: bool = False


def _bert_head(model: Any, rows: Tensor) -> Tensor:
    return model.classifier(model.pooler(rows[:, None]))  # type: ignore[no-any-return]


def _modernbert_head(model: Any, rows: Tensor) -> Tensor:
    return model.classifier(model.head(rows))  # type: ignore[no-any-return]


def _roberta_head(model: Any, rows: Tensor) -> Tensor:
    return model.classifier(rows[:, None])  # type: ignore[no-any-return]


def _score_head(model: Any, rows: Tensor) -> Tensor:
    return model.score(rows)  # type: ignore[no-any-return]


def _decoder(prefix: str) -> Family:
    return Family(prefix, _score_head, ("score",), causal=True)


def _roberta(prefix: str) -> Family:
    return Family(prefix, _roberta_head, ("classifier",), padding_positions=True, absolute=True)


FAMILIES: dict[str, Family] = {
    "bert": Family("Bert", _bert_head, ("pooler", "classifier"), absolute=True),
    # disentangled attention reads relative positions inside its own module
    "deberta-v2": Family("DebertaV2", _bert_head, ("pooler", "classifier"), packed=False, absolute=True),
    "modernbert": Family("ModernBert", _modernbert_head, ("head", "classifier")),
    "roberta": _roberta("Roberta"),
    "xlm-roberta": _roberta("XLMRoberta"),
    "llama": _decoder("Llama"),
    "mistral": _decoder("Mistral"),
    "qwen2": _decoder("Qwen2"),
    "qwen3": _decoder("Qwen3"),
    "gemma2": _decoder("Gemma2"),
    "gemma3_text": _decoder("Gemma3"),
}
"""By `config.model_type`. Nothing else is loaded."""

_BATCH_DEPENDENT_ROPE = ("dynamic", "longrope")
"""Rotary scalings that look at the longest position of the whole batch."""


def family_of(config: PreTrainedConfig) -> Family:
    """The family of a checked configuration."""
    return FAMILIES[config.model_type]


def check_attention(config: PreTrainedConfig, family: Family) -> None:
    """Refuse configurations that turn an encoder into a decoder or the reverse.

    Raises:
        InvalidInput: the field is named.
    """
    flipped = {
        "is_decoder": not family.causal and getattr(config, "is_decoder", False),
        "use_bidirectional_attention": family.causal
        and getattr(config, "use_bidirectional_attention", False),
        "is_causal": family.causal and not getattr(config, "is_causal", True),
    }
    for name, wrong in flipped.items():
        if wrong:
            raise InvalidInput(
                f"config.json: {name} changes the attention of {config.model_type}; remove it", param="source"
            )


def check_positions(config: PreTrainedConfig, max_tokens: int) -> None:
    """Refuse conversations that may be longer than a table of positions: on CUDA one would end the process.

    Raises:
        InvalidInput: the manifest allows more tokens than there are rows for.
    """
    if not (family_of(config).absolute and getattr(config, "position_biased_input", True)):
        return
    room = config.max_position_embeddings - reserved_positions(config)
    if max_tokens > room:
        raise InvalidInput(
            f"manifest.max_tokens is {max_tokens}, but the model has positions for {room}; lower it",
            param="manifest.max_tokens",
        )


def runs_packed(config: PreTrainedConfig) -> bool:
    """True when a row of several sequences gives each the score that it has alone."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = [r for r in rope.values() if isinstance(r, dict)] or [rope]
    kinds = {r.get("rope_type", r.get("type")) for r in nested}
    return family_of(config).packed and not kinds & set(_BATCH_DEPENDENT_ROPE)


def keep_layers(config: PreTrainedConfig, num_layers: int) -> None:
    """Make the trunk end after its first `num_layers` layers.

    Raises:
        InvalidInput: it has fewer.
    """
    if num_layers > config.num_hidden_layers:
        raise InvalidInput(
            f"manifest.num_layers is {num_layers}, but the base has {config.num_hidden_layers} layers",
            param="manifest.num_layers",
        )
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:num_layers]


def lift_pooler(model: PreTrainedModel) -> None:
    """Move BERT's pooler out of the trunk, where it would run on every forward, to its head's other part."""
    trunk: Any = model.base_model
    if getattr(trunk, "pooler", None) is not None:
        model.pooler, trunk.pooler = trunk.pooler, None


def pool_of(config: PreTrainedConfig) -> Pool:
    """How `transformers` pools one unpadded row of this model."""
    if family_of(config).causal:
        return "rightmost"
    return "mean" if getattr(config, "classifier_pooling", "cls") == "mean" else "first"


def head_logits(model: PreTrainedModel, rows: Tensor) -> Tensor:
    """Raw logits fp32 [N, H] of pooled rows [N, hidden], after `lift_pooler`.

    No activation is applied, whatever `problem_type` says.
    """
    return family_of(model.config).head(model, rows)
