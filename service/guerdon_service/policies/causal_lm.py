"""A causal language model and its tokenizer, ready to generate."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.one_load import ONE_LOAD
from guerdon_service.core.policy_files import PolicyFiles
from guerdon_service.core.tokenizer_files import check_tokenizer
from guerdon_service.policies.certify import check_decoding
from guerdon_service.policies.gguf import dequantised
from guerdon_service.policies.shared_attention import SHARED, register_shared_attention

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class CausalLM:
    """The model in evaluation mode.

    ends: token ids that end a response. context: most tokens of prompt and response together.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    ends: tuple[int, ...]
    context: int


def load_causal_lm(files: PolicyFiles, dtype: str, device: str) -> CausalLM:
    """Load weights, merge the adapter where there is one. Safetensors only; no code of the folder runs.

    Raises:
        InvalidInput: files that cannot be loaded, an unknown dtype, no tokenizer, no chat template, or
            nothing that ends a response; none of these is ever guessed. Or `check_decoding` failed.
    """
    if dtype not in _DTYPES:
        raise InvalidInput(f"dtype is {dtype!r}; use one of {', '.join(_DTYPES)}", param="dtype")
    folder = dequantised(files.weights) if files.weights.is_file() else files.weights
    check_tokenizer(folder, "source")
    register_shared_attention()
    plain: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, **plain)
        with ONE_LOAD:
            model = _weights(folder, files.adapter, plain)
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as err:
        raise InvalidInput(f"policy {folder.name} cannot be loaded ({err})", param="source") from err
    if not tokenizer.chat_template:
        raise InvalidInput(
            f"the tokenizer of {folder.name} has no chat template; add chat_template.jinja", param="source"
        )
    model = model.to(device=device, dtype=_DTYPES[dtype]).eval().requires_grad_(False)
    context = int(model.config.get_text_config().max_position_embeddings)
    ends = _ends(model, tokenizer)
    check_decoding(model, ends)
    return CausalLM(model, tokenizer, ends, context)


def _weights(folder: Path, adapter: Path | None, plain: Mapping[str, Any]) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, attn_implementation=SHARED, **plain
    )
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)


def _ends(model: Any, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What `generate` stops at, and the tokenizer's EOS, which for a chat model ends the turn."""
    named = model.generation_config.eos_token_id
    ids = [*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id]
    ends = tuple(dict.fromkeys(i for i in ids if isinstance(i, int)))
    if not ends:
        raise InvalidInput(
            "the policy has no EOS, so no response could end; set eos_token_id in generation_config.json",
            param="source",
        )
    return ends
