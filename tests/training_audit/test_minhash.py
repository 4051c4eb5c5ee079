"""MinHash estimates, and the clusters built from them against brute force."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from guerdon_training.audit.minhash import NUM_PERMUTATIONS, shingle, signatures
from guerdon_training.audit.near import THRESHOLD, near_clusters
from tests.training_audit.synthetic import WORDS


def _shingles(text: str) -> set[str]:
    text = text.ljust(5, "\0")
    return {text[i : i + 5] for i in range(len(text) - 4)}


def _jaccard(a: str, b: str) -> float:
    return len(_shingles(a) & _shingles(b)) / len(_shingles(a) | _shingles(b))


def _edited(text: str, random: Random, num_edits: int) -> str:
    words = text.split()
    for _ in range(num_edits):
        words[random.randrange(len(words))] = random.choice(WORDS)
    return " ".join(words)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_shingles_are_those_of_each_text_alone(texts: list[str]) -> None:
    values, starts = shingle(texts)
    for i, text in enumerate(texts):
        alone, _ = shingle([text])
        assert values[starts[i] : starts[i + 1]].tolist() == alone.tolist()
        assert len(alone) == max(1, len(text) - 4)
        assert len(set(alone.tolist())) == len(_shingles(text))


def test_estimate_is_unbiased_and_as_precise_as_the_theory_says() -> None:
    random = Random(0)
    base = [" ".join(random.choices(WORDS, k=40)) for _ in range(300)]
    other = [_edited(text, random, i % 25) for i, text in enumerate(base)]
    hashed = signatures(base + other)
    estimate = (hashed[:300] == hashed[300:]).mean(axis=1)
    true = np.array([_jaccard(a, b) for a, b in zip(base, other, strict=True)])
    error = estimate - true
    expected = np.sqrt(true * (1 - true) / NUM_PERMUTATIONS)
    assert abs(error.mean()) < 3 * expected.mean() / np.sqrt(300)
    assert np.sqrt(np.square(error).mean()) == pytest.approx(np.sqrt(np.square(expected).mean()), rel=0.15)
    assert (estimate[true == 1] == 1).all()


def test_clusters_equal_those_of_all_pairs() -> None:
    random = Random(1)
    texts = [" ".join(random.choices(WORDS, k=random.randint(1, 40))) for _ in range(60)]
    texts += [_edited(random.choice(texts[:60]), random, random.randint(0, 3)) for _ in range(140)]
    texts = list(dict.fromkeys(texts))
    sets = [_shingles(t) for t in texts]
    adjacency = np.array([[len(a & b) >= THRESHOLD * len(a | b) for b in sets] for a in sets])
    num_expected, expected = connected_components(adjacency, directed=False)
    found = near_clusters(texts)
    assert 60 <= num_expected < len(texts)
    pairs = {(found[t], e) for t, e in zip(texts, expected.tolist(), strict=True)}
    assert len(pairs) == num_expected == len(set(found.values()))


def test_a_large_bucket_of_equal_signatures_is_one_cluster() -> None:
    """200 texts with the same shingle set, repeated differently, share every band."""
    texts = ["abcdefgh" * n for n in range(2, 202)]
    assert len(set(near_clusters(texts).values())) == 1


def test_clusters_do_not_depend_on_repeats_and_bear_empty_texts() -> None:
    assert near_clusters(["a b", "", "a b", ""]) == near_clusters(["a b", ""])
    assert near_clusters([]) == {}
    assert len(set(near_clusters(["", "x", "\ud800 lone"]).values())) == 3
