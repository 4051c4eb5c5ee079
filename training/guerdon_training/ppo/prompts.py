"""Prompts to respond to, and which of them make an update."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.source_row import read_rows
from guerdon_training.convert.trl import parse_prompt
from guerdon_training.policy.encode import encode_prompt
from guerdon_training.policy.select import select
from guerdon_training.record import check_unicode


@dataclass(frozen=True, slots=True)
class Prompt:
    """Turns as the reward model sees them, and the token ids that the policy continues."""

    messages: tuple[Message, ...]
    ids: tuple[int, ...]
    source: str


def read_prompts(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int,
    sources: Sequence[str] = (),
    limit: int = 0,
    seed: int = 0,
) -> list[Prompt]:
    """Distinct prompts of a file whose rows have `prompt`, text or messages; other columns are ignored.

    Args:
        max_tokens: longer prompts are left out; a prompt is never cut.
        sources: keep only these; empty keeps all.
        limit: prompts kept, drawn with `seed`; 0 keeps all.

    Raises:
        InvalidInput: the file or a row cannot be used, or no prompt is left; the message names the place.
    """
    found: dict[tuple[Message, ...], Prompt] = {}
    for row in read_rows(path):
        if row.values.get("prompt") is None:
            raise InvalidInput(f"{row.place} has no prompt; add text or [{{role, content}}]", param="data")
        check_unicode(row.values, str(row.place))
        messages = parse_prompt(row.values["prompt"], row.place)
        if messages in found:
            continue
        if not any(m.content for m in messages):
            raise InvalidInput(f"{row.place}: prompt is empty; drop the row", param="data")
        ids = tuple(encode_prompt(tokenizer, messages))
        if len(ids) <= max_tokens:
            found[messages] = Prompt(messages, ids, str(row.values.get("source") or ""))
    if not found:
        raise InvalidInput(
            f"{path} holds no prompt of at most {max_tokens} tokens; raise rollout.max_prompt_tokens",
            param="rollout.max_prompt_tokens",
        )
    return select(list(found.values()), sources, limit, seed, str(path))


def prompt_order(num_prompts: int, start: int, count: int, seed: int) -> list[int]:
    """Indices at places ``start .. start + count - 1`` of an endless run of shuffled passes.

    No prompt comes twice in a pass, and any stretch can be had without the ones before it, so a resumed run
    goes on exactly where it stopped.
    """
    passes: dict[int, list[int]] = {}
    order = []
    for place in range(start, start + count):
        number, offset = divmod(place, num_prompts)
        if number not in passes:
            passes[number] = list(range(num_prompts))
            Random(f"{seed}/{number}").shuffle(passes[number])  # noqa: S311 - reproducible, no secret
        order.append(passes[number][offset])
    return order
