"""The whole of it with one peer, on a tiny model: Guerdon and the server that people write first."""

import sys
from pathlib import Path

import pytest

from tests.bench_peers import table
from tests.bench_peers.__main__ import Comparison
from tests.bench_peers.catalogue import ENCODER, guerdon_servers, peer_servers
from tests.bench_peers.reference import Reference
from tests.bench_peers.rows import tokens_once
from tests.bench_peers.workload import best_of_16, mixed_singles
from tests.tiny import tiny

pytestmark = pytest.mark.timeout(600)


def test_guerdon_and_a_peer_are_measured_and_their_scores_checked(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / ENCODER).symlink_to(tiny("bert"))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "bin").symlink_to(Path(sys.executable).parent)
    servers = [
        s
        for s in [*guerdon_servers("redis://localhost"), *peer_servers()]
        if s.label in ("guerdon fp32", "naive fp32", "infinity torch fp32")
    ]
    comparison = Comparison(tmp_path, servers, rounds=2, scale=0.0015)
    (w1,) = comparison.rows(["W1"])
    assert comparison.missing == ["infinity torch fp32"]
    assert sorted(m.label for m in w1.measured) == ["guerdon fp32", "naive fp32"]
    assert all(len(m.runs) == 2 for m in w1.measured)
    assert max(a.max_abs for a in w1.agreements.values()) < 1e-4
    assert min(a.spearman for a in w1.agreements.values()) > 0.999
    assert "W1 singles, minilm-rm: guerdon fp32 / naive fp32" in table.text([w1])


def test_a_shared_prompt_counts_once() -> None:
    reference = Reference(tiny("llama"))
    (single,) = mixed_singles(1, seed=0)
    ids = reference.inputs(single.items[0], "text")["input_ids"]
    assert tokens_once(reference, [single]) == ids.shape[1]
    (ask,) = best_of_16(1, seed=0)
    each = [reference.inputs(item, "text")["input_ids"].shape[1] for item in ask.items]
    once = tokens_once(reference, [ask])
    assert max(each) < once < sum(each) / 3
