"""MinHash signatures of texts (Broder, 1997) over character 5-grams, in numpy.

The share of equal signature entries estimates the Jaccard similarity J of two shingle sets without bias, with
standard error sqrt(J (1 - J) / 64). Character shingles need no word boundaries, so any script works.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE_CHARS = 5
NUM_PERMUTATIONS = 64
_CHUNK_CHARS = 1 << 16  # hashed at a time: the working set stays in the processor's cache


def shingle(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Hashed shingles of every text, with repeats, in one array.

    A text shorter than a shingle is one shingle, padded with NUL.

    Returns:
        ``(values [S], starts [N + 1])``; text i owns ``values[starts[i]:starts[i + 1]]``.
    """
    padded = [t if len(t) >= SHINGLE_CHARS else t.ljust(SHINGLE_CHARS, "\0") for t in texts]
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    starts = np.concatenate([[0], np.cumsum(lengths - (SHINGLE_CHARS - 1))])
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32)
    windows = len(codes) - (SHINGLE_CHARS - 1)
    if windows <= 0:
        return np.empty(0, np.uint32), starts
    multipliers = np.random.default_rng(0).integers(0, 1 << 64, SHINGLE_CHARS, np.uint64) | np.uint64(1)
    hashed = np.zeros(windows, np.uint64)
    for i, multiplier in enumerate(multipliers):
        hashed += codes[i : i + windows].astype(np.uint64) * multiplier
    # A window that reaches into the next text belongs to neither.
    own = np.ones(windows, bool)
    ends = np.cumsum(lengths)[:-1]
    for i in range(1, SHINGLE_CHARS):
        own[ends - i] = False
    return _mix(hashed[own]), starts


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The finaliser of SplitMix64 (Steele et al., 2014), upper half."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)


def signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Least value of each permutation over each text's shingles.

    The permutations are ``a x + b mod 2**32`` with odd a, on values that are already mixed. Shingles are not
    kept, so the memory is that of the result.

    Returns:
        uint32 [N, 64].
    """
    generator = np.random.default_rng(1)
    a = generator.integers(0, 1 << 32, NUM_PERMUTATIONS, np.uint32) | np.uint32(1)
    b = generator.integers(0, 1 << 32, NUM_PERMUTATIONS, np.uint32)
    out = np.empty((len(texts), NUM_PERMUTATIONS), np.uint32)
    for first, last in _chunks(texts):
        values, starts = shingle(texts[first:last])
        for i in range(NUM_PERMUTATIONS):
            out[first:last, i] = np.minimum.reduceat(values * a[i] + b[i], starts[:-1])
    return out


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Runs of whole texts with about `_CHUNK_CHARS` characters each."""
    first = num_chars = 0
    for last, text in enumerate(texts, start=1):
        num_chars += len(text)
        if num_chars >= _CHUNK_CHARS or last == len(texts):
            yield first, last
            first, num_chars = last, 0
