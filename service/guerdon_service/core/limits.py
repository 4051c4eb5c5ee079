"""Bounds on what one caller, one request and one queue may hold."""

from dataclasses import dataclass, replace

from guerdon_service.core.errors import TooManyItems

MAX_TURNS = 500_000
"""Most turns before the responses of one request, those of a shared prompt counted for each: a turn may be
empty, so that neither bytes nor characters bound them, and each is looked at before anything waits.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the service; checked cheapest first, before any tokenizing."""

    max_body_bytes: int = 8 * 1024 * 1024
    """Largest request body, in bytes."""
    max_header_bytes: int = 64 * 1024
    """Request line and headers, or gRPC metadata, together, in bytes."""
    max_body_chunks: int = 16_384
    """Transfer chunks of one body: tiny ones make work that their bytes do not show."""
    max_json_depth: int = 32
    """Deepest nesting of a JSON body."""
    max_items: int = 10_000
    """Most items (pairs, candidates) in one request."""
    max_item_chars: int = 262_144
    """Most characters in one conversation, counted before tokenizing."""
    max_batch_tokens: int = 2048
    """Token budget of one batch."""
    max_batch_tokens_cuda: int = 16_384
    """The same of a model on CUDA, where a batch is several forwards: the host prepares one while the device
    computes the one before. A fourth of that is taken while little waits. Settings that give
    `max_batch_tokens` alone mean both."""
    max_queued_tokens: int = 2_000_000
    """Tokens that may wait in one model's queue before requests are refused."""
    max_connections: int = 4096
    """Connections that are open at once on one port."""
    max_streams: int = 1024
    """gRPC calls at work at once on one connection; more wait at the caller, or are refused."""
    max_calls: int = 8192
    """gRPC calls at work at once on all connections."""
    default_deadline_s: float = 60.0
    """Deadline of a request that names none, in seconds."""

    def on(self, device: str) -> "Limits":
        """These for a model on `device`, whose token budget of a batch is then `max_batch_tokens`."""
        if not device.startswith("cuda"):
            return self
        return replace(self, max_batch_tokens=self.max_batch_tokens_cuda)


def check_count(param: str, count: int, limits: Limits) -> None:
    """Refuse more entries than one request may hold; whoever reads them does so before looking at any.

    Raises:
        TooManyItems: `param` names the list.
    """
    if count > limits.max_items:
        raise TooManyItems(
            f"{param} holds {count} entries, the limit max_items is {limits.max_items}; send several",
            param=param,
        )


def check_turns(param: str, count: int) -> None:
    """Refuse more turns than `MAX_TURNS`; `param` names the list whose entries have them.

    Raises:
        TooManyItems: there are more.
    """
    if count > MAX_TURNS:
        raise TooManyItems(
            f"{param} make conversations of {count} turns in all, the limit is {MAX_TURNS}; send several",
            param=param,
        )
