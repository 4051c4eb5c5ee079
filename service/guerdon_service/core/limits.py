"""Bounds on what one caller, one request and one queue may hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the service; checked cheapest first, before any tokenizing."""

    max_body_bytes: int = 8 * 1024 * 1024
    """Largest request body, in bytes."""
    max_json_depth: int = 32
    """Deepest nesting of a JSON body."""
    max_items: int = 10_000
    """Most items (pairs, candidates) in one request."""
    max_item_chars: int = 262_144
    """Most characters in one conversation, counted before tokenizing."""
    max_batch_tokens: int = 2048
    """Token budget of one forward."""
    max_queued_tokens: int = 2_000_000
    """Tokens that may wait in one model's queue before requests are refused."""
    default_deadline_s: float = 60.0
    """Deadline of a request that names none, in seconds."""
