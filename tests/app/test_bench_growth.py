"""The rows of the bench that drive a service, on a tiny model; of times nothing is asserted."""

import pytest

from guerdon_service.app.bench import growth, rows
from guerdon_service.app.bench.texts import mixed_items
from tests.tiny import tiny

pytestmark = pytest.mark.timeout(600)


def test_growth_compares_requests_and_connections_of_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "ITEMS_PER_REQUEST", (1, 8, 64))
    monkeypatch.setattr(growth, "CONNECTIONS", (1, 4))
    monkeypatch.setattr(
        growth, "WORKLOADS", (growth.Workload("a", 32, 20, 40), growth.Workload("b", 32, 12, 20))
    )
    monkeypatch.setattr(growth, "IN_FLIGHT", 16)
    *figures, memory = growth.cost_growth(str(tiny("bert")), rounds=2)
    assert [figure.name[-3:] for figure in figures] == [", a", ", a", ", b", ", b"]
    for figure, sizes in zip(figures, 2 * ((1, 8, 64), (1, 4)), strict=True):
        assert 0 < figure.value <= 1 and figure.asked == ">= 0.95"
        assert set(figure.detail) == {f"at_{size}" for size in sizes}
        assert min(figure.detail.values()) > 0
    assert (memory.unit, memory.asked) == ("MiB", "")


def test_open_arrivals_are_timed_in_full_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "mixed_items", lambda count, seed: mixed_items(count, seed, 12, 20))
    p99, in_batches = rows.open_arrivals(str(tiny("bert")), share=0.7, rounds=2, count=24)
    assert p99.value >= p99.detail["p50_ms"] > 0
    assert in_batches.asked == "<= 1.5"
    assert in_batches.spread[0] > 0 and p99.detail["batch_ms"] > 0
