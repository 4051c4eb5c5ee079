"""What the hand-written servers share: a model folder, read once, and a padded forward of texts."""

import os
from collections.abc import Callable, Sequence

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MAX_TOKENS = 2048


def load(padding_side: str = "right") -> Callable[[Sequence[str]], list[float]]:
    """Scores of texts by the model of ``$MODEL`` in ``$DTYPE``; a chat template writes its own specials."""
    folder = os.environ["MODEL"]
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=padding_side)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=os.environ["DTYPE"]).eval()
    longest = min(MAX_TOKENS, model.config.max_position_embeddings)
    adds_specials = tokenizer.chat_template is None

    def score(texts: Sequence[str]) -> list[float]:
        batch = tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=longest,
            add_special_tokens=adds_specials,
            return_tensors="pt",
        )
        with torch.inference_mode():
            rewards: list[float] = model(**batch).logits[:, 0].float().tolist()
        return rewards

    return score
