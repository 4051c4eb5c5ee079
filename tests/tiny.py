"""Tiny random `*ForSequenceClassification` folders of every supported family, with tokenizers of real shape.

Each family keeps its own traps: Llama's tokenizer adds the BOS that its chat template writes too, and
its pad token is its EOS; Mistral has no pad token at all; Qwen2's template inserts a default system turn;
Qwen3's puts an empty think block before the last reply; Gemma 2 refuses a system turn.
"""

import functools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

ENCODERS = ("bert", "deberta_v2", "modernbert", "xlm_roberta")
DECODERS = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3")
ARCHS = ENCODERS + DECODERS

SLIDING_WINDOW = 16
"""Tokens; small, so that short tests cross it."""
MAX_POSITIONS = 512
VOCAB_SIZE = 640
"""Rows of the embedding; a little more than the tokenizer knows, as real models have."""

_SENTENCES = (
    "The quick brown fox jumps over the lazy dog while the river runs quietly to the sea.",
    "What is the capital of France? The capital of France is Paris, a city on the Seine.",
    "Please write a short poem about autumn leaves, rain and the smell of wet earth.",
    "def add(a, b):\n    return a + b  # a comment with numbers 0123456789",
    "I am sorry, but I cannot help with that request; here is something safer instead.",
    "Explain how a reward model ranks two answers that people wrote to one question.",
    "Überraschend schöne Grüße aus Köln! Ça va très bien, merci. ¿Dónde está la biblioteca?",
    "Each candidate is scored alone, in any batch, in any order, and the numbers are the same.",
    "user assistant system model tool helpful harmless honest true false better worse best first second",
)

_LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }}</s>"
    "{% else %}[INST] {{ m['content'] }} [/INST]{% endif %}{% endfor %}"
)
_QWEN2 = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if loop.last and m['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_GEMMA_TURNS = (
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n{{ m['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}" + _GEMMA_TURNS
)
_GEMMA3 = "{{ bos_token }}{% for m in messages %}" + _GEMMA_TURNS


@dataclass(frozen=True)
class Family:
    """Tokenizer and configuration of one architecture. `bos` set: the post-processor adds it."""

    model_type: str
    special: tuple[str, ...]
    roles: dict[str, str]
    config: dict[str, Any] = field(default_factory=dict)
    template: str | None = None
    single: str = "$A"
    pair: str = "$A $B"


_BERT_ROLES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_XLMR_ROLES = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}
_IM_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_IM_ROLES = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
_GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
_GEMMA_ROLES = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
_CLS_SEP = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
_GQA = {"num_attention_heads": 4, "num_key_value_heads": 2}
_GEMMA = _GQA | {
    "head_dim": 16,
    "sliding_window": SLIDING_WINDOW,
    "query_pre_attn_scalar": 16,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "num_hidden_layers": 3,
}

FAMILIES = {
    # Heads of 32 columns, as kernels want them; the others' have 16.
    "bert": Family("bert", _BERT_SPECIAL, _BERT_ROLES, {"num_attention_heads": 2}, **_CLS_SEP),
    "deberta_v2": Family(
        "deberta-v2",
        _BERT_SPECIAL,
        _BERT_ROLES,
        {
            "num_attention_heads": 4,
            "relative_attention": True,
            "position_buckets": 16,
            "max_relative_positions": -1,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "type_vocab_size": 0,
            "layer_norm_eps": 1e-7,
        },
        **_CLS_SEP,
    ),
    "modernbert": Family(
        "modernbert",
        _BERT_SPECIAL,
        _BERT_ROLES,
        {
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "local_attention": SLIDING_WINDOW,
            "global_attn_every_n_layers": 3,
        },
        **_CLS_SEP,
    ),
    "xlm_roberta": Family(
        "xlm-roberta",
        ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
        _XLMR_ROLES,
        {"num_attention_heads": 4, "type_vocab_size": 1, "max_position_embeddings": MAX_POSITIONS + 2},
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
    ),
    "llama": Family(
        "llama",
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|eot_id|>"},
        _GQA,
        _LLAMA,
        "<|begin_of_text|> $A",
        "<|begin_of_text|> $A <|begin_of_text|> $B",
    ),
    "mistral": Family(
        "mistral",
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        _GQA | {"sliding_window": None, "head_dim": 16},
        _MISTRAL,
        "<s> $A",
        "<s> $A <s> $B",
    ),
    "qwen2": Family("qwen2", _IM_SPECIAL, _IM_ROLES, _GQA | {"use_sliding_window": False}, _QWEN2),
    "qwen3": Family("qwen3", _IM_SPECIAL, _IM_ROLES, _GQA | {"head_dim": 16}, _QWEN3),
    "gemma2": Family(
        "gemma2",
        _GEMMA_SPECIAL,
        _GEMMA_ROLES,
        _GEMMA | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 30.0},
        _GEMMA2,
        "<bos> $A",
        "<bos> $A <bos> $B",
    ),
    "gemma3": Family(
        "gemma3_text", _GEMMA_SPECIAL, _GEMMA_ROLES, _GEMMA, _GEMMA3, "<bos> $A", "<bos> $A <bos> $B"
    ),
}


def build_tiny(arch: str, folder: Path, *, num_labels: int = 1, seed: int = 0) -> Path:
    """Write config, safetensors weights and a fast tokenizer into `folder`; returns it.

    Same arguments, same bytes of weights. `arch` is one of `ARCHS`.
    """
    family = FAMILIES[arch]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(family)
    tokenizer.save_pretrained(folder)
    _model(family, tokenizer, num_labels, seed).save_pretrained(folder)
    return folder


@functools.cache
def tiny(arch: str, num_labels: int = 1, seed: int = 0) -> Path:
    """`build_tiny` once per process, in a folder that is removed at exit. Do not write into it."""
    holder = tempfile.TemporaryDirectory(prefix=f"guerdon-{arch}-")
    _HOLDERS.append(holder)
    return build_tiny(arch, Path(holder.name) / arch, num_labels=num_labels, seed=seed)


_HOLDERS: list[tempfile.TemporaryDirectory[str]] = []  # finalised, and so removed, at exit


def _model(family: Family, tokenizer: PreTrainedTokenizerFast, num_labels: int, seed: int) -> PreTrainedModel:
    config = AutoConfig.for_model(
        family.model_type,
        **{
            "vocab_size": VOCAB_SIZE,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "max_position_embeddings": MAX_POSITIONS,
            "initializer_range": 0.1,
            "num_labels": num_labels,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "cls_token_id": tokenizer.cls_token_id,
            "sep_token_id": tokenizer.sep_token_id,
            "tie_word_embeddings": True,
        }
        | family.config,
    )
    generator = torch.get_rng_state()
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # biases and norms: so that losing one shows
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
            elif name.startswith(("score", "classifier")):
                parameter.normal_(0.0, 0.3)
    torch.set_rng_state(generator)
    return cast(PreTrainedModel, model)


@functools.cache
def _trained(kind: str) -> str:
    """Subword model as JSON, trained on the inline sentences; the same in every process."""
    if kind == "wordpiece":
        return _wordpiece().to_str()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 40,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(kind.split()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    return tokenizer.to_str()


def _wordpiece() -> Tokenizer:
    """The trainer numbers the pieces inside words in an order of chance, and breaks ties by number: they
    are given to it first, as special tokens, which they do not stay."""
    inside = [f"##{letter}" for letter in sorted(set("".join(_SENTENCES)))]
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCAB_SIZE - 40, special_tokens=[*_BERT_SPECIAL, *inside], show_progress=False
    )
    trained.train_from_iterator(_SENTENCES, trainer)
    tokenizer = Tokenizer(models.WordPiece(trained.get_vocab(), unk_token="[UNK]"))
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    wordpiece = family.model_type == "bert"
    kind = "wordpiece" if wordpiece else " ".join(family.special)
    tokenizer = Tokenizer.from_str(_trained(kind))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in family.special])
    if family.single != "$A":
        tokenizer.post_processor = processors.TemplateProcessing(
            single=family.single,
            pair=family.pair,
            special_tokens=[(t, tokenizer.token_to_id(t)) for t in family.special if t in family.pair],
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"][:: 1 if wordpiece else 2],
        **family.roles,
    )
    if family.template:
        fast.chat_template = family.template
    return fast
