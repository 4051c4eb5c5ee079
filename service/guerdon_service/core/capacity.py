"""How long items wait at a replica that computes whatever waits as one batch, and how many replicas suffice.

A replica is an M/G/1 queue with gated batch service. Replicas share no queue: behind a balancer each gets
its share of a Poisson stream, which is Poisson again. With S the time that an item's tokens add to a batch,
t0 the fixed time of a batch, lambda the arrival rate at the replica, rho = lambda E[S], and H the time of
one batch:

    E[H]   = t0 + rho E[H] + p0 E[S]
    E[H^2] = t0^2 + 2 t0 rho E[H] + rho^2 E[H^2] + lambda E[S^2] E[H] + p0 (E[S^2] + 2 t0 E[S])

because a batch holds what arrived during the one before, or, with probability p0, the one item that ended
the idleness (Bailey, "On queueing processes with bulk service", J. R. Stat. Soc. B 16, 1954; for inference
servers Inoue, "Queueing analysis of GPU-based inference servers with dynamic batching", arXiv 1912.06322,
whose exact mean for items of one length tests/core compare with this one's).
p0 takes H as a gamma variable. An item that finds the replica busy waits for a uniform rest U of the
length-biased batch, and is then in a batch with all that arrived during it: U H + t0 + rho H + S, and noise
of variance lambda E[S^2] H. The quantile is that of a gamma variable with the mean and the variance of this
mixture (Wilson and Hilferty, "The distribution of chi-square", PNAS 17, 1931).
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil, isfinite
from statistics import NormalDist

from guerdon_service.core.errors import InvalidInput

MAX_UTILISATION = 0.8
"""Above, a burst is worked off slowly, and the approximation is worse than the 20 % that tests/core check."""
MAX_REPLICAS = 100_000
"""Where the search for enough of them ends."""
_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Workload:
    """What arrives, at all replicas together: Poisson, its lengths independent of each other.

    Args:
        arrival_rate: items per second.
        mean_tokens: of an item.
        cv_tokens: standard deviation of an item's tokens in units of their mean.
    """

    arrival_rate: float
    mean_tokens: float
    cv_tokens: float = 0.7


@dataclass(frozen=True, slots=True)
class Device:
    """One replica's.

    Args:
        tokens_per_s: what it computes when batches are full, their fixed time included.
        batch_overhead_s: fixed time of a batch: what a lone item takes beyond its tokens' share.
        max_batch_tokens: of a full batch, the service's limit on that device (`core.limits`).
    """

    tokens_per_s: float
    batch_overhead_s: float = 0.002
    max_batch_tokens: int = 2048

    @property
    def token_s(self) -> float:
        """Seconds that one more token adds to a batch."""
        return 1 / self.tokens_per_s - self.batch_overhead_s / self.max_batch_tokens


@dataclass(frozen=True, slots=True)
class Capacity:
    """What so many replicas give. `utilisation` is the share of their tokens per second that is used."""

    replicas: int
    utilisation: float
    mean_s: float
    p99_s: float


def capacity(workload: Workload, device: Device, replicas: int) -> Capacity:
    """Latency from an item's arrival to its batch's end; what transport and tokenizer take comes on top.

    Raises:
        InvalidInput: a figure is not positive and finite, or the replicas are fully used.
    """
    _check(workload, device)
    rate = workload.arrival_rate / replicas
    used = rate * workload.mean_tokens / device.tokens_per_s
    if used >= 1.0:
        raise InvalidInput(
            f"{replicas} replicas compute {replicas * device.tokens_per_s:g} tokens/s and "
            f"{workload.arrival_rate * workload.mean_tokens:g} arrive; give more replicas",
            param="replicas",
        )
    s1 = workload.mean_tokens * device.token_s
    s2 = s1**2 * (1 + workload.cv_tokens**2)
    mean, variance = _latency(rate, s1, s2, device.batch_overhead_s)
    return Capacity(replicas, used, mean, _gamma_quantile(mean, variance, 0.99))


def replicas_for(workload: Workload, device: Device, p99_s: float) -> Capacity:
    """The fewest replicas whose 99th percentile is within `p99_s` seconds, at `MAX_UTILISATION` at most.

    Raises:
        InvalidInput: a figure is not positive and finite, or no number of replicas is fast enough.
    """
    _check(workload, device)
    fewest = ceil(workload.arrival_rate * workload.mean_tokens / device.tokens_per_s / MAX_UTILISATION)
    counts = range(max(1, fewest), max(fewest, MAX_REPLICAS) + 1)
    place = bisect_left(counts, True, key=lambda count: capacity(workload, device, count).p99_s <= p99_s)
    if place == len(counts):
        best = capacity(workload, device, counts[-1]).p99_s
        raise InvalidInput(
            f"p99_ms is {1000 * p99_s:g}, and an idle replica needs {1000 * best:.3g} ms for the "
            "longest item of a hundred; allow more, shorten the items or take a faster device",
            param="p99_ms",
        )
    return capacity(workload, device, counts[place])


def _latency(rate: float, s1: float, s2: float, t0: float) -> tuple[float, float]:
    """Mean and variance of one item's latency; `s1` and `s2` are the first two moments of S."""
    used = rate * s1
    h1, h2, idle = _batch_moments(rate, s1, s2, t0)
    busy = rate * h1 / (rate * h1 + idle)  # share of the time, and so of the arrivals
    # Length-biased: E[H*] = E[H^2] / E[H], and E[H*^2] by the third moment of a gamma variable.
    b1 = h2 / h1
    b2 = b1 * (2 * h2 - h1 * h1) / h1
    wait1 = (0.5 + used) * b1
    wait2 = (1 / 3 + used + used * used) * b2 + rate * s2 * b1
    mean = t0 + s1 + busy * wait1
    return mean, (s2 - s1 * s1) + busy * wait2 - (busy * wait1) ** 2


def _batch_moments(rate: float, s1: float, s2: float, t0: float) -> tuple[float, float, float]:
    """E[H], E[H^2] and the probability that nothing arrives during H, as a fixed point."""
    used, idle = rate * s1, 0.5
    h1 = h2 = 0.0
    for _ in range(_ROUNDS):
        h1 = (t0 + idle * s1) / (1 - used)
        extra = idle * (s2 + 2 * t0 * s1)
        h2 = (t0 * t0 + 2 * t0 * used * h1 + rate * s2 * h1 + extra) / (1 - used * used)
        variance = max(h2 - h1 * h1, 1e-12 * h1 * h1)
        # The damping keeps a small overhead's fixed point from being overshot to and fro.
        idle = 0.5 * idle + 0.5 * (1 + rate * variance / h1) ** (-h1 * h1 / variance)
    return h1, h2, idle


def _gamma_quantile(mean: float, variance: float, level: float) -> float:
    shape = mean * mean / variance
    root = 1 - 1 / (9 * shape) + NormalDist().inv_cdf(level) / (3 * shape**0.5)
    return float(mean * root**3)


def _check(workload: Workload, device: Device) -> None:
    given = {
        "arrival_rate": workload.arrival_rate,
        "mean_tokens": workload.mean_tokens,
        "tokens_per_s": device.tokens_per_s,
        "batch_overhead_ms": device.batch_overhead_s,
        "max_batch_tokens": device.max_batch_tokens,
        "cv_tokens": workload.cv_tokens,
    }
    for name, value in given.items():
        if not (isfinite(value) and value > 0):
            raise InvalidInput(f"{name} is {value:g}; give a finite number above 0", param=name)
    if device.token_s <= 0:
        raise InvalidInput(
            f"batch_overhead_ms is {1000 * device.batch_overhead_s:g}, longer than a full batch takes at "
            f"{device.tokens_per_s:g} tokens/s; one of the two is wrong",
            param="batch_overhead_ms",
        )
