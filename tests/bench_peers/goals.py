"""From runs to ratios: Guerdon against the best peer of each row, round by round, beside what was asked."""

from collections.abc import Callable, Iterable, Sequence

from guerdon_service.app.bench.figure import Figure, at_least, at_most, median, plain
from tests.bench_peers.rounds import Measured

Rates = Callable[[Measured], list[float]]


def rates(measured: Measured) -> list[float]:
    """Items per second of each round."""
    return [run.items_per_s for run in measured.runs]


def short_p95_ms(measured: Measured) -> list[float]:
    """95th percentile of the short items' latency of each round."""
    return [run.quantile_ms("short", 0.95) for run in measured.runs]


def ours(found: Iterable[Measured], precision: str, name: str = "guerdon") -> Measured | None:
    """Guerdon in one precision, if it was measured."""
    mine = (m for m in found if m.live.server.is_ours and m.live.server.name == name)
    return next((m for m in mine if m.live.server.precision == precision), None)


def best_peer(
    found: Iterable[Measured], precision: str | None = None, has_prefix_cache: bool | None = None
) -> Measured | None:
    """The peer with the highest median rate: of one precision, with or without a prefix cache, or of all."""
    peers = [
        m
        for m in found
        if not m.live.server.is_ours
        and precision in (None, m.live.server.precision)
        and has_prefix_cache in (None, m.live.server.has_prefix_cache)
    ]
    return max(peers, key=lambda m: median(rates(m)), default=None)


def faster(title: str, mine: Measured | None, peer: Measured | None, bound: float | None) -> list[Figure]:
    """Guerdon's rate over a peer's, round by round; nothing where one of them is missing."""
    if mine is None or peer is None:
        return []
    ratios = [a / b for a, b in zip(rates(mine), rates(peer), strict=True)]
    name = f"{title}: {mine.label} / {peer.label}"
    return [plain(name, ratios, "x") if bound is None else at_least(name, ratios, bound)]


def singles(title: str, found: Sequence[Measured]) -> list[Figure]:
    """W1 on the encoder: int8 and bf16 against the best of any precision, fp32 against the best fp32."""
    best = best_peer(found)
    return [
        *faster(title, ours(found, "int8"), best, 2.0),
        *faster(title, ours(found, "bf16"), best, 1.3),
        *faster(title, ours(found, "fp32"), best_peer(found, "fp32"), 1.5),
    ]


def decoder_singles(title: str, found: Sequence[Measured]) -> list[Figure]:
    """W1 on the decoder."""
    return faster(title, ours(found, "bf16"), best_peer(found), 1.3)


def best_of_16(title: str, found: Sequence[Measured]) -> list[Figure]:
    """W2 on the encoder: Guerdon's best precision against the best peer; like against like besides."""
    mine = [m for m in found if m.live.server.is_ours]
    fastest = max(mine, key=lambda m: median(rates(m)), default=None)
    return [
        *faster(title, fastest, best_peer(found), 1.5),
        *faster(title, ours(found, "bf16"), best_peer(found, "bf16"), None),
        *faster(title, ours(found, "fp32"), best_peer(found, "fp32"), None),
    ]


def decoder_best_of_16(title: str, found: Sequence[Measured], token_shares: list[float]) -> list[Figure]:
    """W2 on the decoder, prompts that nobody has seen.

    token_shares: tokens that Guerdon computed over those of each prompt once and each response, by round.
    """
    mine = ours(found, "bf16")
    computed = f"{title}: tokens computed / prompt once and responses"
    return [
        *faster(title, mine, best_peer(found, has_prefix_cache=False), 3.0),
        *faster(title, mine, best_peer(found, has_prefix_cache=True), 1.3),
        *([at_most(computed, token_shares, 1.05, "")] if token_shares else []),
    ]


def repeats(title: str, found: Sequence[Measured], misses: Sequence[Measured]) -> list[Figure]:
    """W3: items that were asked before, against the best peer's rate for items that were not.

    misses: W1 of the same run; no peer keeps scores.
    """
    best = best_peer(misses)
    return [
        *faster(title, ours(found, "fp32", "guerdon L1"), best, 50.0),
        *faster(title, ours(found, "fp32", "guerdon Redis"), best, 20.0),
    ]


def short_behind_long(title: str, found: Sequence[Measured]) -> list[Figure]:
    """W4: 95th percentile of short items at equal load, against the peer with the lowest."""
    peers = [m for m in found if not m.live.server.is_ours]
    best = min(peers, key=lambda m: median(short_p95_ms(m)), default=None)
    if best is None:
        return []
    figures = []
    for mine in (m for m in found if m.live.server.is_ours):
        ratios = [a / b for a, b in zip(short_p95_ms(mine), short_p95_ms(best), strict=True)]
        figures.append(at_most(f"{title}: short p95, {mine.label} / {best.label}", ratios, 0.4, "x"))
    return figures
