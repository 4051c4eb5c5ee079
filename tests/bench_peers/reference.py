"""What each item is worth by a plain fp32 forward, one at a time: speed must not be bought with scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from guerdon_service.app.bench.texts import Item
from tests.bench_peers.wire import Encoding


@dataclass(frozen=True, slots=True)
class Agreement:
    """Scores against the reference's.

    spearman: of their orders; 1 where there is nothing to order.
    max_abs: largest difference, in raw score; spread: standard deviation of the reference's.
    """

    spearman: float
    max_abs: float
    spread: float


class Reference:
    """A model folder as `transformers` reads it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's own."""
        return AutoTokenizer.from_pretrained(self._folder)

    def text(self, item: Item) -> str:
        """One text: by the chat template, or prompt and response on lines of their own."""
        if self.tokenizer.chat_template is None:
            return f"{item.prompt}\n{item.response}"
        roles = zip(("user", "assistant"), (item.prompt, item.response), strict=True)
        messages = [{"role": role, "content": content} for role, content in roles]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False))

    def scores(self, items: Sequence[Item], encoding: Encoding) -> list[float]:
        """Raw score of each item, float32 forward without padding."""
        disable_progress_bar()
        model = AutoModelForSequenceClassification.from_pretrained(self._folder, dtype=torch.float32).eval()
        with torch.inference_mode():
            return [model(**self.inputs(item, encoding)).logits[0, 0].item() for item in items]

    def inputs(self, item: Item, encoding: Encoding) -> Any:
        """What the model reads of an item."""
        if encoding == "pair":
            return self.tokenizer(item.prompt, item.response, return_tensors="pt")
        adds_specials = self.tokenizer.chat_template is None
        return self.tokenizer(self.text(item), add_special_tokens=adds_specials, return_tensors="pt")


def agreement(scores: Sequence[float], reference: Sequence[float]) -> Agreement:
    """How well two lists of equal length agree."""
    got, want = np.asarray(scores), np.asarray(reference)
    order = float(spearmanr(got, want).statistic) if len(want) > 1 else 1.0
    return Agreement(order, float(np.abs(got - want).max()), float(want.std()))
