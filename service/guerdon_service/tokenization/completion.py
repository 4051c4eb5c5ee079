"""Conversation to what a policy reads and writes: the encoding ``completion``."""

from dataclasses import dataclass

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.tokenization.chat import Render
from guerdon_service.tokenization.segments import Segments, fit


@dataclass(frozen=True, slots=True)
class CompletionEncoder:
    """Tokens of the rendered prompt, then of the response up to its EOS.

    What a template writes after the EOS (ChatML's newline) a policy never generates, and so it is no part of
    how likely a response is.
    """

    tokenizer: Tokenizer
    render: Render
    bos_token_id: int | None
    eos_token_id: int
    max_tokens: int

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        """Token ids that the policy's training took: prompt tokens are cut on the left, after a BOS.

        Raises:
            InputTooLong: the response does not fit.
            InvalidInput: the template refuses the conversation.
        """
        text, start = self.render(conversation, param)
        prompt, whole = self._ids(text[:start]), self._ids(text)
        # generation goes on from the prompt's ids; where a merge over the border hides them, parts are joined
        joined = whole[: len(prompt)] == prompt
        response = self._ending(whole[len(prompt) :] if joined else self._ids(text[start:]))
        num_head = int(prompt[:1] == [self.bos_token_id])
        return fit(Segments(prompt[:num_head], prompt[num_head:], [], response), self.max_tokens, param)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def _ending(self, ids: list[int]) -> list[int]:
        """Up to the last EOS, which is added where there is none."""
        if self.eos_token_id not in ids:
            return [*ids, self.eos_token_id]
        return ids[: len(ids) - ids[::-1].index(self.eos_token_id)]


def completion_encoder(
    tokenizer: PreTrainedTokenizerFast, render: Render, max_tokens: int
) -> CompletionEncoder:
    """The encoder of a policy's tokenizer.

    Raises:
        InvalidInput: it has no EOS, so no response could end.
    """
    if tokenizer.eos_token_id is None:
        raise InvalidInput(
            "the tokenizer has no EOS, so no response could end; set eos_token", param="tokenizer"
        )
    return CompletionEncoder(
        tokenizer.backend_tokenizer, render, tokenizer.bos_token_id, tokenizer.eos_token_id, max_tokens
    )
