"""Bytes of requests at work, as every transport counts them: what is held until it is answered."""

SMALL_BYTES = 16 * 1024
"""Of one request: what has no more is neither counted nor refused for what others hold. A rollback must come
through, and most requests have less."""
LEAST_BYTES = 8 * 1024 * 1024
"""In a bound of so many requests of the largest size, that size is no smaller: small ones are many."""


def counted_bytes(num_bytes: int) -> int:
    """What counts of a request of so many."""
    return num_bytes if num_bytes > SMALL_BYTES else 0


def largest_bytes(max_bytes: int) -> int:
    """The size of the requests of which a bound says how many there may be; the largest has `max_bytes`."""
    return max(max_bytes, LEAST_BYTES)
