"""Plain `transformers`, fp32, one unpadded row: what every score of a plain folder must equal."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from guerdon_service.core.conversation import Conversation


def ids_of(folder: Path, conversation: Conversation) -> dict[str, torch.Tensor]:
    """The model's own inputs: its chat template where it has one, the pair of texts otherwise."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None:
        pair = tokenizer(conversation.prompt[0].content, conversation.response, return_tensors="pt")
        return {k: v for k, v in pair.items() if k != "attention_mask"}
    turns = [{"role": m.role, "content": m.content} for m in conversation.prompt]
    turns.append({"role": "assistant", "content": conversation.response})
    encoding: Any = tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")
    return {"input_ids": encoding["input_ids"]}


def raw_scores(folder: Path, conversation: Conversation) -> list[float]:
    """Logits, head by head."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        logits = model.eval()(**ids_of(folder, conversation)).logits[0]
    return [float(x) for x in logits]
