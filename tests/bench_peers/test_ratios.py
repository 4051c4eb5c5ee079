"""From runs to ratios: who is compared with whom, round by round, and what the table says of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.bench_peers import goals, table
from tests.bench_peers.catalogue import guerdon_servers, peer_servers
from tests.bench_peers.load import Run
from tests.bench_peers.reference import agreement
from tests.bench_peers.rounds import Measured, alternate, rotated
from tests.bench_peers.rows import NEEDS, ROWS, Row
from tests.bench_peers.server import Live, Server

SERVERS = {f"{s.model} {s.label}": s for s in [*guerdon_servers("redis://localhost"), *peer_servers()]}


def live(name: str, model: str = "minilm-rm") -> Live:
    """A server of the catalogue that nobody started: no process has its number."""
    child: Any = SimpleNamespace(pid=2**30)
    return Live(SERVERS[f"{model} {name}"], 0, child, Path("log"))


def measured(name: str, *items_per_s: float, model: str = "minilm-rm", short_s: float = 0.1) -> Measured:
    """One run a round at these rates; its short items took `short_s`."""
    runs = [Run(100, 100 / rate, {"short": [short_s] * 5, "long": [1.0]}) for rate in items_per_s]
    return Measured(live(name, model), runs)


def test_every_server_takes_every_place() -> None:
    orders = [rotated(["a", "b", "c"], number) for number in range(-1, 2)]
    assert {tuple(places) for places in zip(*orders, strict=True)} == {
        ("c", "a", "b"),
        ("a", "b", "c"),
        ("b", "c", "a"),
    }


def test_rounds_alternate_after_a_warm_up_that_does_not_count() -> None:
    asked: list[tuple[str, int]] = []

    def measure(at: Live, number: int) -> Run:
        asked.append((at.server.label, number))
        return Run(8, 2.0)

    found = alternate([live("guerdon fp32"), live("vllm bf16")], 2, measure, "W1")
    assert [number for _, number in asked] == [-1, -1, 0, 0, 1, 1]
    assert asked[2][0] != asked[4][0]
    assert [(m.label, [r.items_per_s for r in m.runs]) for m in found] == [
        ("guerdon fp32", [4.0, 4.0]),
        ("vllm bf16", [4.0, 4.0]),
    ]


def test_a_server_that_fails_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(at: Live, number: int) -> Run:
        if at.server.label == "vllm bf16" and number == 1:
            raise RuntimeError("answered 500")
        return Run(8, 2.0)

    found = alternate([live("vllm bf16"), live("naive fp32")], 2, measure, "W1")
    assert [m.label for m in found] == ["naive fp32"]
    assert "vllm bf16 fails and is left out: answered 500" in capsys.readouterr().err


def test_ratios_are_of_the_same_round_and_of_the_best_peer() -> None:
    found = [
        measured("guerdon int8", 200, 300, 160),
        measured("guerdon fp32", 60, 60, 60),
        measured("vllm bf16", 100, 100, 80),
        measured("naive fp32", 30, 30, 30),
        measured("infinity onnx fp32", 40, 50, 40),
    ]
    int8, fp32 = goals.singles("W1", found)
    assert (int8.name, int8.value, int8.spread) == ("W1: guerdon int8 / vllm bf16", 2.0, (2.0, 3.0))
    assert (fp32.name, fp32.value, fp32.spread) == (
        "W1: guerdon fp32 / infinity onnx fp32",
        1.5,
        (60 / 50, 1.5),
    )
    assert int8.passed and fp32.passed
    assert not goals.faster("W1", found[1], found[2], 1.3)[0].passed


def test_nothing_is_said_of_a_comparison_with_nobody() -> None:
    assert goals.singles("W1", [measured("guerdon bf16", 10)]) == []
    assert goals.singles("W1", [measured("naive fp32", 10)]) == []
    assert goals.short_behind_long("W4", [measured("guerdon bf16", 10)]) == []


def test_the_decoder_is_compared_with_and_without_a_prefix_cache() -> None:
    found = [
        measured("guerdon bf16", 12, model="smollm2-rm"),
        measured("vllm bf16", 8, model="smollm2-rm"),
        measured("vllm no prefix cache bf16", 3, model="smollm2-rm"),
        measured("openrlhf-like bf16", 2, model="smollm2-rm"),
    ]
    without, with_one, tokens = goals.decoder_best_of_16("W2", found, [1.02])
    assert (without.value, without.asked, without.passed) == (4.0, ">= 3", True)
    assert (with_one.value, with_one.asked, with_one.passed) == (1.5, ">= 1.3", True)
    assert (tokens.value, tokens.passed) == (1.02, True)


def test_repeats_are_compared_with_what_peers_must_compute() -> None:
    hits = [measured("guerdon L1 fp32", 5000), measured("guerdon Redis fp32", 1000)]
    l1, redis = goals.repeats("W3", hits, [measured("vllm bf16", 80), measured("guerdon bf16", 120)])
    assert (l1.value, l1.passed) == (62.5, True)
    assert (redis.value, redis.passed) == (12.5, False)


def test_short_items_are_compared_by_their_latency() -> None:
    found = [
        measured("guerdon bf16", 50, short_s=0.02),
        measured("vllm bf16", 50, short_s=0.1),
        measured("naive fp32", 60, short_s=0.4),
    ]
    (figure,) = goals.short_behind_long("W4", found)
    assert figure.name == "W4: short p95, guerdon bf16 / vllm bf16"
    assert figure.value == pytest.approx(0.2) and figure.passed


def test_the_table_names_servers_ratios_and_agreement() -> None:
    found = [measured("guerdon bf16", 130, 150), measured("vllm bf16", 100, 100)]
    agreed = {"guerdon bf16": agreement([0.1, 0.2, 0.4], [0.1, 0.2, 0.3])}
    row = Row("W1", "W1 singles", found, goals.singles("W1", found), agreed)
    lines = table.text([row]).splitlines()
    assert lines[0] == "W1 singles"
    assert lines[2].split()[:5] == ["guerdon", "bf16", "130.0", "130.0,", "150.0"]
    assert "1.0000" in lines[2] and "1.0e-01" in lines[2]
    assert "guerdon bf16 / vllm bf16" in lines[-1] and ">= 1.3" in lines[-1] and "ok" in lines[-1]
    (stored,) = table.as_json([row])
    assert stored["servers"][0]["items_per_s"] == pytest.approx([130, 150])
    assert stored["servers"][0]["p95_ms"][0] == pytest.approx({"short": 100.0, "long": 1000.0})


def test_agreement_sees_order_and_size() -> None:
    turned = agreement([3.0, 2.0, 1.0], [1.0, 2.0, 3.0])
    assert turned.spearman == pytest.approx(-1.0) and turned.max_abs == pytest.approx(2.0)
    assert agreement([0.5], [0.25]).spearman == 1.0


def test_every_row_has_guerdon_and_a_peer_of_its_model() -> None:
    for name, (model, _) in ROWS.items():
        taking_part: list[Server] = [s for s in SERVERS.values() if name in s.rows]
        assert {s.model for s in taking_part} == {model}
        assert any(s.is_ours for s in taking_part)
        assert name in NEEDS or any(not s.is_ours for s in taking_part)
