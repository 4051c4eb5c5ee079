"""Conversation to final token ids: `load_encoder` gives the `core.ports.Encoder` of an artifact.

Literal special tokens inside a user's text, e.g. ``<|im_end|>`` or ``[SEP]``, become special tokens, as
they do in plain `transformers`, which is the reference for every id.

Even a lone text is tokenized as a batch: `Tokenizer.encode` keeps the GIL, so that threads would take turns
and the event loop would wait with them.
"""

from bisect import bisect_right
from dataclasses import dataclass

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from guerdon_service.core.artifact import Artifact
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import Encoder
from guerdon_service.core.render import render_pair_prompt
from guerdon_service.tokenization.chat import Render, chat_renderer
from guerdon_service.tokenization.completion import completion_encoder
from guerdon_service.tokenization.segments import Segments, fit
from guerdon_service.tokenization.tokenizer import load_tokenizer

_PROBE = "a"
"""Any text that gives a token; shows which special tokens the tokenizer puts around text."""


def load_encoder(artifact: Artifact) -> Encoder:
    """Encoder of the artifact's manifest: its template, its pair encoding, its `max_tokens`.

    Raises:
        InvalidInput: no usable tokenizer, no template anywhere where the encoding needs one, or no EOS where
            it needs that.
    """
    tokenizer, manifest = load_tokenizer(artifact), artifact.manifest
    if manifest.encoding == "pair":
        return _pair_encoder(tokenizer.backend_tokenizer, manifest.max_tokens)
    render = chat_renderer(tokenizer, _template(tokenizer, artifact))
    if manifest.encoding == "completion":
        return completion_encoder(tokenizer, render, manifest.max_tokens)
    head = _head(tokenizer.backend_tokenizer)
    return TemplateEncoder(
        tokenizer.backend_tokenizer, render, head, tokenizer.bos_token_id, manifest.max_tokens
    )


@dataclass(frozen=True, slots=True)
class TemplateEncoder:
    """Chat template, then tokens of the whole text, with the BOS exactly once.

    head: special tokens that the tokenizer itself puts before a text; added where the template wrote none.
    """

    tokenizer: Tokenizer
    render: Render
    head: list[int]
    bos_token_id: int | None
    max_tokens: int

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        """Token ids that ``apply_chat_template(messages, tokenize=True)`` gives, and a missing BOS.

        The prompt segment ends with the last token that lies wholly before the response; a token
        across the border belongs to the response.

        Raises:
            InputTooLong: the response does not fit.
            InvalidInput: the template refuses the conversation, or renders next to nothing.
        """
        text, response_start = self.render(conversation, param)
        encoding = self.tokenizer.encode_batch([text], add_special_tokens=False)[0]
        ids = encoding.ids
        split = bisect_right(encoding.offsets, response_start, key=lambda span: span[1])
        written = self._written(ids)
        head = ids[:written] or self.head
        split = max(written if head else 1, min(split, len(ids) - 1))  # neither segment may be empty
        return fit(Segments(head, ids[written:split], [], ids[split:]), self.max_tokens, param)

    def _written(self, ids: list[int]) -> int:
        """How many leading special tokens the template wrote."""
        if self.head and ids[: len(self.head)] == self.head:
            return len(self.head)
        return 1 if ids and ids[0] == self.bos_token_id else 0


@dataclass(frozen=True, slots=True)
class PairEncoder:
    """Two texts, prompt and response, as an encoder's tokenizer pairs them.

    head, joint, tail: special tokens before, between and after the two texts.
    """

    tokenizer: Tokenizer
    head: list[int]
    joint: list[int]
    tail: list[int]
    max_tokens: int

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        """Token ids that ``tokenizer(render_pair_prompt(prompt), response)`` gives.

        Raises:
            InputTooLong: the response does not fit.
        """
        texts = [render_pair_prompt(conversation.prompt), conversation.response]
        prompt, response = (e.ids for e in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        return fit(Segments(self.head, prompt, self.joint, response + self.tail), self.max_tokens, param)


def _pair_encoder(tokenizer: Tokenizer, max_tokens: int) -> PairEncoder:
    probe = tokenizer.encode(_PROBE, _PROBE)
    sides = probe.sequence_ids
    a, b = sides.index(0), sides.index(1)
    a_end, b_end = a + sides.count(0), b + sides.count(1)
    ids = probe.ids
    return PairEncoder(tokenizer, ids[:a], ids[a_end:b], ids[b_end:], max_tokens)


def _head(tokenizer: Tokenizer) -> list[int]:
    probe = tokenizer.encode(_PROBE)
    return probe.ids[: probe.sequence_ids.index(0)]


def _template(tokenizer: PreTrainedTokenizerFast, artifact: Artifact) -> str:
    own = artifact.folder / "chat_template.jinja"
    if artifact.manifest.template is not None:
        return artifact.manifest.template
    if own.is_file():
        return own.read_text(encoding="utf-8")
    try:
        return tokenizer.get_chat_template()
    except ValueError as err:  # none at all, or several and no default
        raise InvalidInput(
            f"model {artifact.manifest.name} has no chat template, and one is never guessed; give "
            "manifest.template",
            param="manifest.template",
        ) from err
