"""A long list as requests that each stay under the service's limits."""

from collections.abc import Sequence


def plan_chunks(sizes: Sequence[int], max_items: int, max_bytes: int) -> list[range]:
    """Split ``range(len(sizes))`` into consecutive ranges, in order and as long as the limits let them be.

    Args:
        sizes: bytes of each item.
        max_items: most items in a chunk.
        max_bytes: most bytes in a chunk; a larger item gets a chunk of its own.
    """
    chunks: list[range] = []
    start, total = 0, 0
    for i, size in enumerate(sizes):
        if i > start and (i - start == max_items or total + size > max_bytes):
            chunks.append(range(start, i))
            start, total = i, 0
        total += size
    if len(sizes) > start:
        chunks.append(range(start, len(sizes)))
    return chunks
