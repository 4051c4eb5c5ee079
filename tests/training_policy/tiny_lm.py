"""A tiny random Llama with a chat template, and records to train it on."""

import json
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests.tiny import MAX_POSITIONS, VOCAB_SIZE, tiny

WORDS = [
    "what",
    "how",
    "why",
    "one",
    "two",
    "three",
    "river",
    "autumn",
    "leaves",
    "rain",
    "model",
    "answer",
    "question",
]


def build_lm(folder: Path, *, family: str = "qwen2", seed: int = 0, dropout: float = 0.0) -> Path:
    """Write config, weights and tokenizer of a two-layer Llama with the chat template of `family`."""
    tokenizer = AutoTokenizer.from_pretrained(tiny(family))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_POSITIONS,
        initializer_range=0.1,
        attention_dropout=dropout,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    """One record a line."""
    path.write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")


def demonstrations(count: int, seed: int) -> list[dict[str, Any]]:
    """Prompts of random words; the response repeats the first and adds a phrase that is always the same."""
    random = Random(seed)
    records: list[dict[str, Any]] = []
    for i in range(count):
        words = random.choices(WORDS, k=random.randint(2, 6))
        prompt: Any = [{"role": "user", "content": " ".join(words)}]
        if i % 5 == 0:
            prompt = " ".join(words)  # text is one user turn
        response = f"The capital of {words[0]} is Paris." + " rain" * random.randint(0, 6)
        records.append({"id": f"{seed}-{i}", "prompt": prompt, "response": response, "source": "made"})
    return records


def pairs(count: int, seed: int) -> list[dict[str, Any]]:
    """Comparisons in which the polite response is preferred."""
    random = Random(seed)
    records: list[dict[str, Any]] = []
    for i in range(count):
        words = " ".join(random.choices(WORDS, k=random.randint(2, 6)))
        records.append(
            {
                "id": f"{seed}-{i}",
                "prompt": [{"role": "user", "content": words}],
                "chosen": "I am sorry, but I cannot help with that" + " rain" * random.randint(0, 4),
                "rejected": "What is the capital of France?" + " leaves" * random.randint(0, 4),
                "source": "made" if i % 3 else "other",
            }
        )
    return records
