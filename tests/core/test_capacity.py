"""The capacity model against the real queue in virtual time."""

import asyncio
import json
from dataclasses import dataclass, replace
from itertools import chain
from math import log

import numpy as np
import pytest
from scipy.stats import poisson

from guerdon.cli.main import main
from guerdon_service.core.capacity import MAX_UTILISATION, Capacity, Device, Workload, capacity, replicas_for
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.query import Lane
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import TokenQueue

STATED_ERROR = 0.2
"""Of the mean and of the 99th percentile up to `MAX_UTILISATION`; docs/scaling.md promises it."""
NUM_ITEMS = 10_000
CPU, GPU = Device(6500.0), Device(160_000.0, 0.005, 16_384)


@dataclass
class Arrivals:
    """Poisson arrivals of log-normal lengths at several replicas, the next one in turn or one at random."""

    workload: Workload
    num_replicas: int = 1
    in_turn: bool = True

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        self.at = np.cumsum(rng.exponential(1 / self.workload.arrival_rate, NUM_ITEMS))
        sigma2 = log(1 + self.workload.cv_tokens**2)
        lengths = rng.lognormal(log(self.workload.mean_tokens) - sigma2 / 2, sigma2**0.5, NUM_ITEMS)
        self.lengths = np.maximum(1, lengths.round().astype(int))
        turns = np.arange(NUM_ITEMS) % self.num_replicas
        self.where = turns if self.in_turn else rng.integers(0, self.num_replicas, NUM_ITEMS)

    def latencies_s(self, device: Device) -> np.ndarray:
        """After a warm-up, of all replicas."""
        found = [self._at_one(device, np.flatnonzero(self.where == i)) for i in range(self.num_replicas)]
        return np.concatenate([each[len(each) // 20 :] for each in found])

    def _at_one(self, device: Device, mine: np.ndarray) -> np.ndarray:
        """One back end that takes from the real queue; time passes only in its forwards."""
        queue, now, left, latencies = TokenQueue(device.max_batch_tokens), 0.0, list(mine[::-1]), []
        future = asyncio.get_running_loop().create_future()
        tokens = np.zeros(int(self.lengths.max()), np.int32)
        while left or queue.num_items:
            now = now if queue.num_items else max(now, self.at[left[-1]])
            while left and self.at[left[-1]] <= now:
                i = left.pop()
                encoded = Encoded(tokens[: self.lengths[i]], 1, truncated=False)
                queue.put([Pending(b"", encoded, Lane.INTERACTIVE, float("inf"), None, future, self.at[i])])
            batch, _ = queue.take(now)
            now += device.batch_overhead_s + device.token_s * sum(p.encoded.num_tokens for p in batch)
            latencies += [now - p.queued_at for p in batch]
        return np.array(latencies)


def at(utilisation: float, device: Device, replicas: int = 1, cv_tokens: float = 0.7) -> Workload:
    return Workload(utilisation * replicas * device.tokens_per_s / 200, 200, cv_tokens)


def assert_close(found: Capacity, latencies_s: np.ndarray) -> None:
    assert found.mean_s == pytest.approx(latencies_s.mean(), rel=STATED_ERROR)
    assert found.p99_s == pytest.approx(np.quantile(latencies_s, 0.99), rel=STATED_ERROR)


@pytest.mark.parametrize("utilisation", [0.1, 0.5, MAX_UTILISATION])
@pytest.mark.parametrize(
    "device", [CPU, replace(CPU, batch_overhead_s=0.02), GPU], ids=["cpu", "slow", "gpu"]
)
async def test_one_replica_in_virtual_time(device: Device, utilisation: float) -> None:
    workload = at(utilisation, device)
    assert_close(capacity(workload, device, 1), Arrivals(workload).latencies_s(device))


async def test_longer_tails_of_lengths() -> None:
    workload = at(0.5, GPU, cv_tokens=1.0)
    assert_close(capacity(workload, GPU, 1), Arrivals(workload).latencies_s(GPU))


async def test_replicas_behind_a_balancer_in_virtual_time() -> None:
    """Random choice is what the model describes; a strict turn is kinder."""
    workload = at(0.7, CPU, replicas=4)
    found = capacity(workload, CPU, 4)
    assert_close(found, Arrivals(workload, 4, in_turn=False).latencies_s(CPU))
    assert np.quantile(Arrivals(workload, 4).latencies_s(CPU), 0.99) < found.p99_s * (1 + STATED_ERROR)


async def test_the_replicas_that_it_names_keep_the_percentile_and_one_fewer_does_not() -> None:
    workload, p99_s = at(0.6, CPU, replicas=5), 0.4
    found = replicas_for(workload, CPU, p99_s)
    measured = {
        n: Arrivals(workload, n, in_turn=False).latencies_s(CPU) for n in (found.replicas, found.replicas - 1)
    }
    p99 = {n: float(np.quantile(latencies, 0.99)) for n, latencies in measured.items()}
    assert found.p99_s <= p99_s < capacity(workload, CPU, found.replicas - 1).p99_s
    assert p99[found.replicas] <= p99_s * (1 + STATED_ERROR)
    assert p99[found.replicas - 1] > p99_s * (1 - STATED_ERROR)


V100 = (0.1438e-3, 1.8874e-3)
"""Seconds an item and a batch, as Inoue (arXiv 1912.06322, section 3.3) fits them to a GPU's figures."""


def exact_mean_s(rate: float, item_s: float, batch_s: float, num_states: int = 400) -> float:
    """Mean latency of equal items, exactly: his chain of batch sizes (equations 3 to 5) and equation 36.

    The next batch is what arrived during this one, or the one item that ends the idleness.
    """
    sizes = np.arange(1, num_states + 1)
    arrivals = poisson.pmf(np.arange(num_states + 1), rate * (batch_s + item_s * sizes)[:, None])
    chain_of = arrivals[:, 1:]
    chain_of[:, 0] += arrivals[:, 0]
    chain_of /= chain_of.sum(axis=1, keepdims=True)
    share = np.linalg.lstsq(
        np.vstack([chain_of.T - np.eye(num_states), np.ones(num_states)]),
        np.r_[np.zeros(num_states), 1],
        rcond=None,
    )[0]
    size1, size2 = share @ sizes, share @ sizes**2
    return float(item_s + batch_s + (1 + 2 * rate * item_s) * (size2 - size1) / (2 * rate * size1))


@pytest.mark.parametrize("used", [0.05, 0.1, 0.3, 0.5, 0.7])
def test_equal_items_wait_as_long_as_the_exact_chain_says(used: float) -> None:
    item_s, batch_s = V100
    budget = 1_000_000  # his batches have no bound
    device = Device(1 / (item_s + batch_s / budget), batch_s, budget)
    found = capacity(Workload(used / item_s, 1, 1e-6), device, 1)
    assert found.mean_s == pytest.approx(exact_mean_s(used / item_s, item_s, batch_s), rel=1e-4)


def test_utilisation_bounds_the_replicas_where_the_percentile_does_not() -> None:
    found = replicas_for(at(0.6, CPU, replicas=100), CPU, 1000.0)
    assert found.replicas == 75
    assert found.utilisation == pytest.approx(MAX_UTILISATION)


@pytest.mark.parametrize(
    ("workload", "device", "p99_s", "param"),
    [
        (Workload(0.0, 200), CPU, 1.0, "arrival_rate"),
        (Workload(10.0, float("nan")), CPU, 1.0, "mean_tokens"),
        (Workload(10.0, 200, -1.0), CPU, 1.0, "cv_tokens"),
        (Workload(10.0, 200), Device(-5.0), 1.0, "tokens_per_s"),
        (Workload(10.0, 200), Device(6500.0, 5.0), 1.0, "batch_overhead_ms"),
        (Workload(10.0, 200), CPU, 0.02, "p99_ms"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    workload: Workload, device: Device, p99_s: float, param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        replicas_for(workload, device, p99_s)
    assert refused.value.param == param


def test_more_arrivals_than_the_replicas_compute_are_refused() -> None:
    with pytest.raises(InvalidInput, match="give more replicas"):
        capacity(at(1.0, CPU, replicas=3), CPU, 3)


def test_a_model_on_cuda_has_the_batches_of_its_device(capsys: pytest.CaptureFixture[str]) -> None:
    figures = ["--tokens-per-s", "50000", "--arrival-rate", "200", "--mean-tokens", "200", "--p99-ms", "900"]
    workload, told = Workload(200.0, 200.0), []
    for more in ([], ["--device", "cuda"], ["--device", "cuda", "--max-batch-tokens", "4096"]):
        assert main(["capacity", *figures, "--batch-overhead-ms", "20", *more, "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out)["p99_s"])
    devices = [Device(50_000.0, 0.02, tokens) for tokens in (2048, 16_384, 4096)]
    assert told == [replicas_for(workload, device, 0.9).p99_s for device in devices]
    assert len(set(told)) == 3


def test_the_command_prints_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"--tokens-per-s": "6500", "--arrival-rate": "100", "--mean-tokens": "200", "--p99-ms": "400"}
    argv = ["capacity", *chain.from_iterable(figures.items())]
    assert main([*argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = replicas_for(Workload(100.0, 200.0), CPU, 0.4)
    assert told == {
        "replicas": expected.replicas,
        "utilisation": expected.utilisation,
        "mean_s": expected.mean_s,
        "p99_s": expected.p99_s,
    }
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith(f"replicas     {expected.replicas}\nutilisation  ")
    assert main([*argv[:-1], "1"]) == 2
    assert "allow more" in capsys.readouterr().err
