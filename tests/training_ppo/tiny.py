"""A tiny random Llama over a vocabulary of words, with a chat template; its pad token is its EOS."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from guerdon_service.core.conversation import Conversation

WORDS = ("red", "blue", "green", "one", "two", "three", "yes", "no")
SPECIAL = ("<unk>", "<user>", "<assistant>", "<end>")
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


def build_policy(folder: Path, *, num_layers: int = 2, dropout: float = 0.0) -> Path:
    """Write config, weights and tokenizer."""
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        eos_token="<end>",
        pad_token="<end>",
        additional_special_tokens=["<user>", "<assistant>"],
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        attention_dropout=dropout,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_prompts(path: Path, count: int = 12, start: int = 0) -> Path:
    """One to three words each, all different: those from number `start` on."""
    prompts = [[w] for w in WORDS] + [[a, b, a] for a in WORDS for b in WORDS]
    records = [{"prompt": [{"role": "user", "content": " ".join(p)}], "source": "made"} for p in prompts]
    path.write_text("".join(json.dumps(r) + "\n" for r in records[start : start + count]), "utf-8")
    return path


class WordShare:
    """`RewardSource`: the share of a response's words that are `word`; refuses an empty response."""

    def __init__(self, word: str = "red") -> None:
        self.word = word
        self.calls = 0

    @property
    def identity(self) -> dict[str, str]:
        """The word."""
        return {"name": f"share of {self.word}"}

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """See `RewardSource.score`."""
        self.calls += 1
        split = [c.response.split() for c in conversations]
        return [words.count(self.word) / len(words) if words else None for words in split]


def config_text(**values: Any) -> str:
    """TOML of dotted keys; those without a dot first."""
    ordered = sorted(values.items(), key=lambda kv: "." in kv[0])
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in ordered)
