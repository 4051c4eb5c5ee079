"""A score is the same bits alone, in any batch, in any order, and in best-of-n."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.native_bf16 import computed_in
from guerdon_service.backends.prepacked import prepack
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.encoded import Encoded
from tests.backends.artifacts import answers, sequence, tiny_artifact
from tests.tiny import ARCHS, DECODERS

DTYPES = ("float32", "bfloat16")
MIX = [sequence(n, seed=n) for n in (2, 3, 7, 8, 9, 15, 16, 17, 33, 64, 130, 257)] + answers(40, (1, 5, 30))


@functools.cache
def backend(arch: str, dtype: str) -> TorchBackend:
    return TorchBackend.load(tiny_artifact(arch, 2), dtype=dtype)


@functools.cache
def alone(arch: str, dtype: str, i: int) -> bytes:
    return backend(arch, dtype).forward([MIX[i]])[0].tobytes()


def bits(arch: str, dtype: str, batch: list[Encoded]) -> list[bytes]:
    return [row.tobytes() for row in backend(arch, dtype).forward(batch)[0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", ARCHS)
def test_alone_packed_and_permuted_are_equal_bits(arch: str, dtype: str) -> None:
    singles = [alone(arch, dtype, i) for i in range(len(MIX))]
    order = np.random.default_rng(0).permutation(len(MIX))
    assert bits(arch, dtype, MIX) == singles
    assert bits(arch, dtype, [MIX[i] for i in order]) == [singles[i] for i in order]
    assert len(set(singles)) == len(MIX), "different conversations must not all score the same"


@pytest.mark.parametrize("num_threads", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", ["bert", "modernbert", "xlm_roberta", *DECODERS])
def test_a_batch_shared_out_to_threads_has_the_bits_of_one_thread(
    arch: str, dtype: str, num_threads: int
) -> None:
    one_thread = [alone(arch, dtype, i) for i in range(len(MIX))]
    torch.set_num_threads(num_threads)
    loaded = TorchBackend.load(tiny_artifact(arch, 2), dtype=dtype)
    assert [row.tobytes() for row in loaded.forward(MIX)[0]] == one_thread
    assert [loaded.forward([encoded])[0].tobytes() for encoded in MIX] == one_thread
    loaded.close()


@pytest.mark.parametrize("dtype", DTYPES)
def test_forwards_side_by_side_have_the_bits_of_one_alone(dtype: str) -> None:
    torch.set_num_threads(2)
    loaded = TorchBackend.load(tiny_artifact("bert", 2), dtype=dtype)
    assert (loaded.num_parallel, backend("deberta_v2", dtype).num_parallel) == (2, 1)
    orders = [np.random.default_rng(seed).permutation(len(MIX)) for seed in range(12)]
    with ThreadPoolExecutor(3) as callers:
        found = list(callers.map(lambda order: loaded.forward([MIX[i] for i in order])[0], orders))
    for order, rows in zip(orders, found, strict=True):
        assert [row.tobytes() for row in rows] == [alone("bert", dtype, i) for i in order]
    loaded.close()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", ["deberta_v2", *DECODERS])
def test_two_threads_are_as_pure_as_one(arch: str, dtype: str) -> None:
    torch.set_num_threads(2)
    loaded = TorchBackend.load(tiny_artifact(arch, 2), dtype=dtype)
    singles = [loaded.forward([encoded])[0].tobytes() for encoded in MIX]
    assert [row.tobytes() for row in loaded.forward(MIX)[0]] == singles
    loaded.close()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", ["bert", "llama", "gemma2"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_mix_leaves_every_score_alone(arch: str, dtype: str, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(MIX) - 1), min_size=1, max_size=8))
    strangers = data.draw(st.lists(st.tuples(st.integers(2, 200), st.integers(0, 99)), max_size=4))
    batch = [MIX[i] for i in chosen] + [sequence(n, seed) for n, seed in strangers]
    order = data.draw(st.permutations(range(len(batch))))
    scored = bits(arch, dtype, [batch[i] for i in order])
    for place, i in enumerate(order):
        if i < len(chosen):
            assert scored[place] == alone(arch, dtype, chosen[i])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", DECODERS)
def test_candidates_of_one_prompt_share_it_and_keep_their_bits(arch: str, dtype: str) -> None:
    candidates = answers(90, (20, 20, 1, 47, 33), seed=5)
    loaded = backend(arch, dtype)
    scores, stats = loaded.forward([*candidates, sequence(50, 1)])
    singles = [loaded.forward([c])[0].tobytes() for c in candidates]
    assert [row.tobytes() for row in scores[: len(candidates)]] == singles
    assert stats.num_tokens == sum(c.num_tokens for c in candidates) + 50
    assert stats.num_computed == 90 + 121 + 50 + 11  # one prompt, five answers, a stranger, up to 16 | 264
    assert loaded.shares_prefix


@pytest.mark.parametrize("num_threads", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", DECODERS)
def test_candidates_shared_out_after_their_prompt_keep_their_bits(
    arch: str, dtype: str, num_threads: int
) -> None:
    candidates = answers(150, (20, 20, 1, 47, 33), seed=5)
    expected = [backend(arch, dtype).forward([c])[0].tobytes() for c in candidates]
    torch.set_num_threads(num_threads)
    loaded = TorchBackend.load(tiny_artifact(arch, 2), dtype=dtype)
    scores, stats = loaded.forward(candidates)
    assert [row.tobytes() for row in scores] == expected
    rows = {2: 152 + 64 + 64, 3: 152 + 48 + 40 + 40}[num_threads]  # the prompt once, each part up to 8 | rows
    assert stats.num_computed == rows
    loaded.close()


def test_candidates_are_shared_out_through_layers_that_are_not_our_own() -> None:
    artifact = tiny_artifact("llama", 2)
    model = load_classifier(artifact, torch.float32, "cpu")  # not prepacked
    torch.set_num_threads(2)
    loaded = TorchBackend(model, artifact.manifest, "float32")
    candidates = answers(150, (20, 20, 1, 47, 33), seed=5)
    singles = np.concatenate([loaded.forward([c])[0] for c in candidates])
    np.testing.assert_allclose(loaded.forward(candidates)[0], singles, atol=1e-5)
    loaded.close()


def test_equal_prefixes_of_different_length_are_not_confused() -> None:
    whole = sequence(60, 3)
    other = Encoded(whole.input_ids, 20, truncated=False)
    loaded = backend("llama", "float32")
    together = loaded.forward([whole, other])[0]
    assert together[0].tobytes() == loaded.forward([whole])[0].tobytes()
    assert together[1].tobytes() == loaded.forward([other])[0].tobytes()
    np.testing.assert_allclose(together[0], together[1], atol=1e-5)


def test_padding_is_at_most_seven_rows() -> None:
    batch = [sequence(n) for n in (13, 22, 40)]
    stats = backend("bert", "float32").forward(batch)[1]
    assert (stats.num_tokens, stats.num_computed) == (75, 80)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arch", ["bert", "llama"])
def test_fixed_rows_as_on_cuda_are_pure_and_right(arch: str, dtype: str) -> None:
    artifact = tiny_artifact(arch, 2)
    model = load_classifier(artifact, getattr(torch, dtype), "cpu")
    if computed_in(getattr(torch, dtype), "cpu") == torch.float32:
        model = model.float()
    prepack(model.base_model)
    fixed = TorchBackend(model, artifact.manifest, dtype, fixed_rows=512)
    scores, stats = fixed.forward(MIX)
    assert [row.tobytes() for row in scores] == [fixed.forward([e])[0].tobytes() for e in MIX]
    assert stats.num_computed == 1024  # 709 tokens are too many for one forward
    np.testing.assert_allclose(scores, backend(arch, dtype).forward(MIX)[0], atol=1e-5)
