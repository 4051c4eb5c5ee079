"""What transports ask for: one judgement, checked and kept."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

from guerdon_service.core.conversation import Conversation, check_conversation
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.feedback import Agreement, Feedback, FeedbackStore
from guerdon_service.core.limits import Limits
from guerdon_service.feedback.agreement import measure_agreement

MAX_TAGS = 64
"""Most tags of one judgement."""
MAX_TAG_CHARS = 256
"""Most characters of a tag's key or value, of an annotator's name and of a model's."""

_ID = re.compile(r"[!-~]{1,128}")


class FeedbackService:
    """`core.feedback.FeedbackTaker` over a store.

    Args:
        now: Unix seconds.
    """

    def __init__(self, store: FeedbackStore, limits: Limits, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._limits = limits
        self._now = now

    async def submit(self, feedback: Feedback) -> Feedback:
        """Check and store; an empty `id` is made and a zero `at` is now. The same id is kept once.

        Raises:
            InvalidInput: the texts are empty, equal or no Unicode, `shown` is not both of them, or the id,
                the annotator, the model or the tags are malformed.
            InputTooLong: a text is over `Limits.max_item_chars`.
        """
        check_feedback(feedback, self._limits)
        kept = replace(feedback, id=feedback.id or secrets.token_hex(16), at=feedback.at or self._now())
        await asyncio.to_thread(self._store.add, kept)
        return kept

    async def agreement(self, tenant: str | None) -> Agreement:
        """How far what is stored agrees, read anew each time; None is of every tenant."""
        return await asyncio.to_thread(lambda: measure_agreement(self._store.read(tenant)))


def check_feedback(feedback: Feedback, limits: Limits) -> None:
    """Refuse what could not be learnt from later; raises as `FeedbackService.submit` does."""
    for name, text in (("chosen", feedback.chosen), ("rejected", feedback.rejected)):
        conversation = Conversation(feedback.prompt, text)
        check_conversation(conversation, "prompt", name)
        if conversation.num_chars > limits.max_item_chars:
            raise InputTooLong(
                f"{name} and its prompt have {conversation.num_chars} characters, more than max_item_chars "
                f"({limits.max_item_chars}); shorten them",
                param=name,
            )
    if feedback.chosen == feedback.rejected:
        raise InvalidInput("rejected equals chosen; give two different responses", param="rejected")
    if feedback.shown and sorted(feedback.shown) != sorted((feedback.chosen, feedback.rejected)):
        raise InvalidInput("shown is not chosen and rejected in some order; give both or none", param="shown")
    if feedback.id and not _ID.fullmatch(feedback.id):
        raise InvalidInput(
            "id is malformed; use 1 to 128 printable ASCII characters without spaces, or none", param="id"
        )
    _check_names(feedback)


def _check_names(feedback: Feedback) -> None:
    if len(feedback.tags) > MAX_TAGS:
        raise InvalidInput(f"tags holds {len(feedback.tags)}; give at most {MAX_TAGS}", param="tags")
    names = [("annotator", feedback.annotator), ("model", feedback.model)]
    names += [("tags", text) for entry in feedback.tags.items() for text in entry]
    for param, text in names:
        if len(text) > MAX_TAG_CHARS:
            raise InvalidInput(
                f"{param} has a text of {len(text)} characters; give at most {MAX_TAG_CHARS}", param=param
            )
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise InvalidInput(f"{param} holds a lone surrogate; send valid Unicode", param=param)
