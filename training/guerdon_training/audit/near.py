"""Near-duplicate texts: MinHash candidates by banding, confirmed by the exact Jaccard similarity."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from guerdon_training.audit.minhash import NUM_PERMUTATIONS, shingle, signatures

THRESHOLD = 0.8
"""Jaccard similarity of character 5-gram sets from which two texts count as near-duplicates."""

NUM_BANDS = 16
"""Bands of 4 rows: a pair at the threshold is a candidate with probability 1 - (1 - 0.8**4)**16 = 0.9998."""

_MIN_ESTIMATE = THRESHOLD - 3 * (THRESHOLD * (1 - THRESHOLD) / NUM_PERMUTATIONS) ** 0.5
_MAX_ALL_PAIRS = 64  # larger buckets are linked in a chain and to their first member: linear, not quadratic


def near_clusters(texts: Sequence[str]) -> Mapping[str, int]:
    """Each distinct text to the number of its cluster.

    Clusters are the connected components of "Jaccard >= `THRESHOLD`" (single linkage). The same texts give
    the same numbers.
    """
    distinct = list(dict.fromkeys(texts))
    hashed = signatures(distinct)
    pairs = _candidates(hashed)
    estimate = (hashed[pairs[:, 0]] == hashed[pairs[:, 1]]).mean(axis=1)
    pairs = pairs[estimate >= _MIN_ESTIMATE]
    edges = pairs[_jaccard(pairs, distinct) >= THRESHOLD]
    ones = np.ones(len(edges), np.int8)
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(len(distinct),) * 2)
    _, labels = connected_components(graph, directed=False)
    return dict(zip(distinct, labels.tolist(), strict=True))


def _candidates(hashed: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Index pairs [P, 2], i < j, that share at least one band."""
    rows = NUM_PERMUTATIONS // NUM_BANDS
    found = [np.empty((0, 2), np.int64)]
    for band in range(NUM_BANDS):
        part = np.ascontiguousarray(hashed[:, band * rows : (band + 1) * rows])
        keys = part.view(f"V{part.itemsize * rows}").ravel()
        _, bucket, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(sizes)
        found += [_bucket_pairs(order[ends[k] - sizes[k] : ends[k]]) for k in np.flatnonzero(sizes > 1)]
    return np.unique(np.concatenate(found), axis=0)


def _bucket_pairs(members: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(members) <= _MAX_ALL_PAIRS:
        i, j = np.triu_indices(len(members), 1)
        return np.stack([members[i], members[j]], axis=1)
    first = np.broadcast_to(members[0], len(members) - 1)
    return np.concatenate(
        [np.stack([first, members[1:]], axis=1), np.stack([members[:-1], members[1:]], axis=1)]
    )


def _jaccard(pairs: NDArray[np.int64], texts: Sequence[str]) -> NDArray[np.float64]:
    """Exact similarity of each index pair [P]."""
    sets = {i: np.unique(shingle([texts[i]])[0]) for i in np.unique(pairs).tolist()}
    out = np.empty(len(pairs))
    for k, (i, j) in enumerate(pairs.tolist()):
        shared = len(np.intersect1d(sets[i], sets[j], assume_unique=True))
        out[k] = shared / (len(sets[i]) + len(sets[j]) - shared)
    return out
