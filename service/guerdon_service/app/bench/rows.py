"""The measurements behind `guerdon bench`; both sides of every ratio alternate in one run."""

import asyncio
import json
from collections.abc import Sequence

from guerdon_service.app.bench.bare import Bare, padded_model, padded_tokens_per_s
from guerdon_service.app.bench.figure import Figure, at_least, at_most, median, plain
from guerdon_service.app.bench.http_load import Load, closed_loop, open_loop
from guerdon_service.app.bench.process import running, service
from guerdon_service.app.bench.texts import Item, candidates, mixed_items
from guerdon_service.core.limits import Limits

BUDGET = Limits().max_batch_tokens
SCORE = "/v1/score"


def score_body(items: Sequence[Item], deadline_ms: int | None = None) -> bytes:
    """One `/v1/score` request."""
    shown = [{"prompt": i.prompt, "response": i.response} for i in items]
    return json.dumps({"items": shown, "deadline_ms": deadline_ms}).encode()


def singles(items: Sequence[Item]) -> list[bytes]:
    """One request per item."""
    return [score_body([item]) for item in items]


def drive(port: int, bodies: Sequence[bytes], concurrency: int, path: str = SCORE) -> Load:
    """A closed loop; a failed request makes a figure worthless, so it raises.

    Raises:
        RuntimeError: a request did not answer 200.
    """
    load = asyncio.run(closed_loop(port, path, bodies, concurrency))
    if load.num_failed:
        raise RuntimeError(f"{load.num_failed} of {len(bodies)} requests failed; see the service's log")
    return load


def whole_service(source: str, backend: str, dtype: str, rounds: int, count: int) -> list[Figure]:
    """Service at concurrency 64 against the bare packed loop of the same back end and dtype."""
    bare = Bare.load(source, backend, dtype)
    items = mixed_items(count, seed=1)
    encoded = bare.encode(items)
    tokens = sum(e.num_tokens for e in encoded)
    shares, latencies = [], []
    command, environ = service(source, dtype=dtype, backend=backend)
    with running(command, environ) as process:
        drive(process.port, singles(items[:64]), 64)
        before = process.metrics()
        for _ in range(rounds):
            bare_rate = bare.packed_tokens_per_s(encoded, BUDGET)
            load = drive(process.port, singles(items), 64)
            shares.append(tokens / load.elapsed_s / bare_rate)
            latencies.append(load)
        after = process.metrics()
        lag_ms = 1000 * lag_p99(before, after)
    label = f"{backend} {dtype}"
    best = latencies[-1]
    return [
        at_least(f"{label}: service / bare packed loop, concurrency 64", shares, 0.85),
        plain(f"{label}: items/s", [x.requests_per_s for x in latencies], "items/s",
              p50_ms=best.quantile_ms(0.5), p95_ms=best.quantile_ms(0.95), p99_ms=best.quantile_ms(0.99)),
        plain(f"{label}: tokens/s", [tokens / x.elapsed_s for x in latencies], "tokens/s"),
        at_most(f"{label}: padding waste", [waste(before, after)], 0.02, ""),
        at_most(f"{label}: event-loop lag p99", [lag_ms], 10.0, "ms"),
    ]  # fmt: skip


def against_padded(source: str, rounds: int, count: int) -> list[Figure]:
    """Bare loops against each other: packed fp32 and bf16, and length-sorted padded fp32."""
    fp32, bf16 = (Bare.load(source, "torch", dtype) for dtype in ("float32", "bfloat16"))
    padded = padded_model(fp32.artifact)
    encoded = fp32.encode(mixed_items(count, seed=2))
    over_padded, over_fp32 = [], []
    for _ in range(rounds):
        padded_rate = padded_tokens_per_s(padded, encoded)
        fp32_rate = fp32.packed_tokens_per_s(encoded, BUDGET)
        bf16_rate = bf16.packed_tokens_per_s(encoded, BUDGET)
        over_padded.append(fp32_rate / padded_rate)
        over_fp32.append(bf16_rate / fp32_rate)
    return [
        at_least("packed fp32 / length-sorted padded fp32", over_padded, 1.2),
        at_least("packed bf16 / packed fp32", over_fp32, 1.8),
    ]


def against_naive(source: str, rounds: int, count: int) -> list[Figure]:
    """Services against each other at concurrency 16: Guerdon fp32 and bf16, and the naive one."""
    bodies = singles(mixed_items(count, seed=3))
    ratios: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    with running(["guerdon_service.app.bench.naive", source], {}) as naive:
        for dtype, ratio in ratios.items():
            with running(*service(source, dtype=dtype)) as ours:
                drive(ours.port, bodies[:16], 16)
                drive(naive.port, bodies[:16], 16)
                for _ in range(rounds):
                    slow = drive(naive.port, bodies, 16).requests_per_s
                    ratio.append(drive(ours.port, bodies, 16).requests_per_s / slow)
    return [
        at_least("service fp32 / naive server, concurrency 16", ratios["float32"], 2.0),
        at_least("service bf16 / naive server, concurrency 16", ratios["bfloat16"], 3.5),
    ]


def shared_prompt(decoder: str, rounds: int) -> list[Figure]:
    """`/v1/rank` of 16 candidates of 60 tokens behind a 300-token prompt, against 16 single scores."""
    ratios = []
    with running(*service(decoder)) as process:
        for i in range(rounds + 1):
            items = candidates(16, 290, 56, seed=i)
            one_by_one = drive(process.port, singles(items), 1).elapsed_s
            rank = {"prompt": items[0].prompt, "candidates": [c.response for c in items]}
            ranked = drive(process.port, [json.dumps(rank).encode()], 1, "/v1/rank")
            ratios.append(one_by_one / ranked.elapsed_s)
    return [at_least("rank of 16 / sixteen single scores, 135M decoder fp32", ratios[1:], 3.8)]


def cache_hits(source: str, rounds: int, count: int) -> list[Figure]:
    """Requests of 32 items: all in the cache against none."""
    ratios, rates = [], []
    with running(*service(source, cache=True)) as process:
        drive(process.port, singles(mixed_items(16, seed=99)), 4)
        for i in range(rounds):
            items = mixed_items(count, seed=100 + i)
            bodies = [score_body(items[j : j + 32]) for j in range(0, count, 32)]
            misses = drive(process.port, bodies, 4).elapsed_s
            hits = drive(process.port, bodies * 10, 4).elapsed_s / 10
            ratios.append(misses / hits)
            rates.append(count / hits)
        rate = hit_rate(process.metrics())
    return [
        at_least("cache hits / misses, requests of 32", ratios, 20.0),
        plain("cache hits", rates, "items/s", hit_rate=rate),
    ]


def open_arrivals(source: str, share: float, rounds: int, count: int) -> list[Figure]:
    """Latency under Poisson arrivals at a share of what the closed loop reached, in ms and in batch times.

    A batch time is how long a full batch takes at the closed loop's pace.
    """
    loads, batches = [], []
    with running(*service(source)) as process:
        drive(process.port, singles(mixed_items(64, seed=40)), 64)
        for i in range(rounds):
            bodies = singles(mixed_items(count, seed=41 + i))
            before = process.metrics()
            closed = drive(process.port, bodies, 64)
            tokens = delta(before, process.metrics(), "guerdon_tokens_total")
            batches.append(1000 * BUDGET * closed.elapsed_s / tokens)
            rate_per_s = share * closed.requests_per_s
            loads.append(asyncio.run(open_loop(process.port, SCORE, bodies, rate_per_s, seed=4)))
    p50, p95 = ([load.quantile_ms(q) for load in loads] for q in (0.5, 0.95))
    p99 = [load.quantile_ms(0.99) for load in loads]
    name = f"open loop at {share:.0%} of capacity: p99"
    in_batches = [latency / batch for latency, batch in zip(p99, batches, strict=True)]
    return [
        plain(name, p99, "ms", p50_ms=median(p50), p95_ms=median(p95), batch_ms=median(batches)),
        at_most(f"{name} / time of a full batch", in_batches, 1.5, ""),
    ]


def start_up(source: str, rounds: int) -> list[Figure]:
    """Seconds from exec to ready, and memory after a little work."""
    ready, rss = [], []
    for _ in range(rounds):
        with running(*service(source)) as process:
            drive(process.port, singles(mixed_items(64, seed=5)), 16)
            ready.append(process.ready_s)
            rss.append(process.rss_mib())
    return [at_most("ready after", ready, 10.0, "s"), at_most("resident memory", rss, 1228.8, "MiB")]


def waste(before: dict[str, float], after: dict[str, float]) -> float:
    """Share of computed tokens that nobody asked for."""
    computed = delta(before, after, "guerdon_computed_tokens_total")
    return 1.0 - delta(before, after, "guerdon_tokens_total") / computed


def hit_rate(metrics: dict[str, float]) -> float:
    """Share of look-ups that the in-process cache answered."""
    hits = metrics['guerdon_cache_total{layer="l1",outcome="hit"}']
    return hits / (hits + metrics['guerdon_cache_total{layer="l1",outcome="miss"}'])


def lag_p99(before: dict[str, float], after: dict[str, float]) -> float:
    """99th percentile of the event loop's lag in seconds: upper bound of its histogram bucket."""
    name = "guerdon_event_loop_lag_seconds_bucket"
    buckets = sorted(
        (float(key.split('le="')[1].split('"')[0]), after[key] - before.get(key, 0.0))
        for key in after
        if key.startswith(name)
    )
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count >= 0.99 * total)


def delta(before: dict[str, float], after: dict[str, float], name: str) -> float:
    """Growth of a counter, summed over its labels."""
    return sum(v - before.get(k, 0.0) for k, v in after.items() if k.startswith(name))
