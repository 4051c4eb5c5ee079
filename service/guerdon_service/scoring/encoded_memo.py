"""Conversations that were encoded lately: who asks again pays no tokenizing."""

from collections import OrderedDict
from dataclasses import dataclass
from sys import getsizeof

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded

MEMO_BYTES = 32 * 1024 * 1024
"""Default bound: some 10,000 conversations of 1,000 characters."""
ENTRY_BYTES = 640
"""What an entry takes besides its strings and token ids: tuple, array, and the ordered dict's share."""

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A conversation's tokens and the fingerprint of its score."""

    encoded: Encoded
    fingerprint: bytes


class EncodedMemo:
    """The least recently used leave first, bounded by bytes. For one thread: the event loop's.

    Tenants share nothing, so that the time of an answer tells nobody what another one asked.
    """

    def __init__(self, max_bytes: int = MEMO_BYTES) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._entries: OrderedDict[_Key, tuple[Known, int]] = OrderedDict()
        """With the bytes that each was counted with: a string grows where somebody asks it for its UTF-8."""

    def get(self, tenant: str, conversation: Conversation) -> Known | None:
        """What is known of it, now the most recently used; None when nothing is."""
        key = _key(tenant, conversation)
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, tenant: str, conversation: Conversation, known: Known) -> None:
        """Keep it, dropping the least recently used for room."""
        key = _key(tenant, conversation)
        _, before = self._entries.get(key, (None, 0))
        num_bytes = _size(key, known)
        self._entries[key] = known, num_bytes
        self._num_bytes += num_bytes - before
        while self._num_bytes > self._max_bytes:
            self._num_bytes -= self._entries.popitem(last=False)[1][1]


def _key(tenant: str, conversation: Conversation) -> _Key:
    """Strings in one flat tuple, which hash and compare without Python code."""
    return (tenant, conversation.response, *(s for m in conversation.prompt for s in (m.role, m.content)))


def _size(key: _Key, known: Known) -> int:
    return ENTRY_BYTES + sum(getsizeof(text) for text in key) + known.encoded.input_ids.nbytes
