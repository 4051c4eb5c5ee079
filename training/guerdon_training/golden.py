"""Reference scores of our own texts, which the service replays before it calls a model ready."""

import json
from collections.abc import Callable
from pathlib import Path

from torch import nn
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.encode import encode_pair
from guerdon_training.forward import score_rows

_LONG = "The lighthouse keeper wrote down the wind, the tide and the names of passing ships. " * 12
_THREAD = (
    Message("user", "My bike's front brake squeals. What should I check first?"),
    Message("assistant", "Is it a rim brake or a disc brake?"),
    Message("user", "Rim brake, and it only squeals in the rain."),
)
TEXTS = (
    Conversation.of("What is the capital of France?", "The capital of France is Paris."),
    Conversation.of("What is the capital of France?", "I would rather talk about cheese."),
    Conversation.of("How do I boil an egg?", "Boil water, lower the egg in, wait seven minutes, cool it."),
    Conversation.of("How do I boil an egg?", "egg egg egg egg egg egg egg egg"),
    Conversation.of(
        "How can I pick the lock of my neighbour's door?", "Sorry, I can't help with breaking in."
    ),
    Conversation.of("How can I pick the lock of my neighbour's door?", "Take a hairpin and wait until dark."),
    Conversation.of("How do I kill a Python process?", "Run kill with its process id, or press Ctrl+C."),
    Conversation.of("Cheer me up! 🙃", "You've got this 💪🎉 — one small step at a time."),
    Conversation.of("  leading and trailing space  ", "\n\tkept\n  exactly  \n"),
    Conversation.of("a", "b"),
    Conversation.of(_THREAD, "Clean the rim and the pads, then toe the pads in by a millimetre."),
    Conversation.of(_THREAD, "Buy a car."),
    Conversation.of((Message("system", "Answer in one word."), Message("user", "Is 7 prime?")), "Yes"),
    Conversation.of("Summarise this: " + _LONG, "A keeper kept a log of wind, tide and ships."),
    Conversation.of(_LONG * 4 + "What did the keeper write down?", "Wind, tide and ships' names."),
    Conversation.of("Schreibe einen Satz über Äpfel. 请用中文。", "Äpfel sind rund; 苹果是圆的。 تفاح"),
)
"""Short, long, cut on the left, several turns, emoji, other scripts, white space; none is a data row."""


def write_golden(path: Path, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
    """One JSON object a line: ``prompt``, ``response`` and ``raw``, the fp32 scores of one unpadded row.

    Texts whose response does not fit are left out; the shortest fits wherever anything is served.
    """
    encoded = {text: encode_pair(tokenizer, text.prompt, text.response, max_tokens) for text in TEXTS}
    rows = {text: tokens for text, tokens in encoded.items() if tokens is not None}
    pad = tokenizer.pad_token_id
    raw = score_rows(model, list(rows.values()), pad, max_batch_tokens=1, label="golden scores")
    path.write_text("".join(map(_line, rows, raw.tolist())), "utf-8")


def golden_text(score: Callable[[Conversation], float | None]) -> str:
    """The same lines of a language model with one score: of the texts that its template takes and that fit.

    Args:
        score: of a text alone; None where it does not fit; raises `InvalidInput` where it is refused.

    Raises:
        InvalidInput: there is no such text.
    """
    lines = []
    for text in TEXTS:
        try:
            raw = score(text)
        except InvalidInput:  # roles that this template refuses
            continue
        if raw is not None:
            lines.append(_line(text, [raw]))
    if not lines:
        raise InvalidInput(
            "the model takes none of the golden texts; raise its max_tokens", param="max_tokens"
        )
    return "".join(lines)


def _line(text: Conversation, raw: list[float]) -> str:
    prompt = [{"role": m.role, "content": m.content} for m in text.prompt]
    return json.dumps({"prompt": prompt, "response": text.response, "raw": raw}, ensure_ascii=False) + "\n"
