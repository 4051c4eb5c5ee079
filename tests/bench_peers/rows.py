"""The rows of the table: what is asked of whom, and how the answers are weighed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from guerdon_service.app.bench.figure import Figure
from guerdon_service.app.bench.process import Process
from guerdon_service.app.bench.rows import delta
from tests.bench_peers import goals
from tests.bench_peers.catalogue import DECODER, ENCODER
from tests.bench_peers.load import Run, closed, poisson
from tests.bench_peers.reference import Agreement, Reference, agreement
from tests.bench_peers.rounds import Measure, Measured, alternate
from tests.bench_peers.server import Live
from tests.bench_peers.wire import Encoding
from tests.bench_peers.workload import Ask, best_of_16, items_of, mixed_singles, short_and_long

CONCURRENCY = 64
RUN_S = 8.0
"""Of a closed loop: callers ask for so long. Shorter runs are mostly beginning and end."""
MOST_ASKS = 2000
"""More than any server answers meanwhile."""
W3_ITEMS, W3_PROMPTS = 160, 4
W3_REPEATS, W3_REPEATS_OF_16, W3_MISSES = 40, 400, 0.01
"""Times that each item is asked again in a round; the share of misses allowed, as Redis may be slow."""
W4_SHARE, W4_SECONDS = 0.7, 8.0
"""Offered load: this share of what the best peer can do, for so long a round."""
CHECKED_ITEMS = 64
"""Items of the first round whose scores are compared with the reference's, where so many were answered."""

Make = Callable[[int, int], list[Ask]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table, measured."""

    name: str
    title: str
    measured: list[Measured]
    figures: list[Figure]
    agreements: dict[str, Agreement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all rows of one model share.

    scale: of the work per round; 1 is what the goals are stated for.
    """

    lives: Sequence[Live]
    reference: Reference
    rounds: int
    scale: float = 1.0

    def taking_part(self, row: str) -> list[Live]:
        """The servers that were started for a row."""
        return [live for live in self.lives if row in live.server.rows]

    def count(self, full: int) -> int:
        """So much work, scaled."""
        return max(1, round(full * self.scale))


def singles(bench: Bench, done: dict[str, Row]) -> Row:
    """W1: single items of mixed lengths."""
    return _w1(bench, "W1", f"W1 singles, {ENCODER}", goals.singles)


def decoder_singles(bench: Bench, done: dict[str, Row]) -> Row:
    """W1 on the decoder."""
    return _w1(bench, "W1-decoder", f"W1 singles, {DECODER}", goals.decoder_singles)


def best_of_sixteen(bench: Bench, done: dict[str, Row]) -> Row:
    """W2: sixteen responses to one prompt, four prompts at a time."""
    title = f"W2 best of 16, {ENCODER}"
    measured = alternate(bench.taking_part("W2"), bench.rounds, _closed(bench, best_of_16, 4), title)
    checked = _agreements(bench, measured, best_of_16(4, 0))
    return Row("W2", title, measured, goals.best_of_16(title, measured), checked)


def decoder_best_of_sixteen(bench: Bench, done: dict[str, Row]) -> Row:
    """W2 on the decoder, one prompt at a time, each one new."""
    title = f"W2 best of 16, {DECODER}"
    shares: list[float] = []
    run_closed = _closed(bench, best_of_16, 1)

    def measure(live: Live, number: int) -> Run:
        if not live.server.is_ours:
            return run_closed(live, number)
        metrics = Process(live.child.pid, live.port, 0, 0.0).metrics
        before = metrics()
        run = run_closed(live, number)
        computed = delta(before, metrics(), "guerdon_computed_tokens_total")
        if number >= 0:
            shares.append(computed / tokens_once(bench.reference, best_of_16(len(run.replies), number)))
        return run

    measured = alternate(bench.taking_part("W2-decoder"), bench.rounds, measure, title)
    checked = _agreements(bench, measured, best_of_16(1, 0))
    return Row("W2-decoder", title, measured, goals.decoder_best_of_16(title, measured, shares), checked)


def repeats(bench: Bench, done: dict[str, Row]) -> Row:
    """W3: the items of W1 again and again, from the cache."""
    title, asks = f"W3 repeats, {ENCODER}", mixed_singles(bench.count(W3_ITEMS), 0)
    return _w3(bench, "W3", title, asks, W3_REPEATS, done["W1"])


def repeats_of_16(bench: Bench, done: dict[str, Row]) -> Row:
    """W3 by requests of 16, those of W2."""
    title, asks = f"W3 repeats of 16, {ENCODER}", best_of_16(bench.count(W3_PROMPTS), 0)
    return _w3(bench, "W3-of-16", title, asks, W3_REPEATS_OF_16, done["W2"])


def short_behind_long(bench: Bench, done: dict[str, Row]) -> Row:
    """W4: Poisson arrivals of which a tenth is long, as many a second for every server.

    Servers that cannot do so many are left out: their queues would grow without end.
    """
    title, lives = f"W4 short and long, {ENCODER}", bench.taking_part("W4")
    capacity = alternate(lives, 1, _closed(bench, short_and_long, CONCURRENCY), f"{title}, capacity")
    best = goals.best_peer(capacity)
    if best is None:
        return Row("W4", title, [], [])
    rate_per_s = W4_SHARE * goals.rates(best)[0]
    able = [m.live for m in capacity if goals.rates(m)[0] > rate_per_s]
    title = f"{title}, {rate_per_s:.0f} items/s"

    def measure(live: Live, number: int) -> Run:
        seconds = bench.scale * (W4_SECONDS if number >= 0 else 1.0)
        asks = short_and_long(max(20, round(rate_per_s * seconds)), 1000 + number)
        return poisson(live.port, live.server.wire, bench.reference.text, asks, rate_per_s, number)

    measured = alternate(able, bench.rounds, measure, title)
    return Row("W4", title, measured, goals.short_behind_long(title, measured))


ROWS: dict[str, tuple[str, Callable[[Bench, dict[str, Row]], Row]]] = {
    "W1": (ENCODER, singles),
    "W2": (ENCODER, best_of_sixteen),
    "W3": (ENCODER, repeats),
    "W3-of-16": (ENCODER, repeats_of_16),
    "W4": (ENCODER, short_behind_long),
    "W1-decoder": (DECODER, decoder_singles),
    "W2-decoder": (DECODER, decoder_best_of_sixteen),
}
"""By name: the model, and the measurement."""
NEEDS = {"W3": "W1", "W3-of-16": "W2"}
"""Rows that are compared with another of the same run."""


def tokens_once(reference: Reference, asks: Sequence[Ask]) -> int:
    """Tokens of each prompt once and of each response: what must be computed."""
    return sum(_once([_ids(reference, ask, i) for i in range(len(ask.items))]) for ask in asks)


def _w1(bench: Bench, name: str, title: str, weigh: Callable[[str, list[Measured]], list[Figure]]) -> Row:
    measure = _closed(bench, mixed_singles, CONCURRENCY)
    measured = alternate(bench.taking_part(name), bench.rounds, measure, title)
    checked = _agreements(bench, measured, mixed_singles(CHECKED_ITEMS, 0))
    return Row(name, title, measured, weigh(title, measured), checked)


def _w3(bench: Bench, name: str, title: str, asks: list[Ask], times: int, misses: Row) -> Row:
    """Everything is asked once to fill the cache, then over and over."""

    def measure(live: Live, number: int) -> Run:
        def run(what: list[Ask]) -> Run:
            return closed(live.port, live.server.wire, bench.reference.text, what, CONCURRENCY)

        if number < 0:
            run(asks)
        hits = run(asks * times)
        computed = sum(
            reply.count(b'"cached":false') for replies in hits.replies.values() for reply in replies
        )
        if number >= 0 and computed > W3_MISSES * hits.num_items:
            raise RuntimeError(f"{computed} of {hits.num_items} repeated items were computed again")
        return hits

    measured = alternate(bench.taking_part(name), bench.rounds, measure, title)
    figures = goals.repeats(title, measured, misses.measured)
    return Row(name, title, measured, figures, _agreements(bench, measured, asks))


def _closed(bench: Bench, make: Make, concurrency: int) -> Measure:
    """A closed loop over new asks in each round; a quarter of the time to warm up."""

    def measure(live: Live, number: int) -> Run:
        asks = make(bench.count(MOST_ASKS), number)
        seconds = bench.scale * (RUN_S if number >= 0 else RUN_S / 4)
        return closed(live.port, live.server.wire, bench.reference.text, asks, concurrency, seconds)

    return measure


def _agreements(bench: Bench, measured: Sequence[Measured], first: Sequence[Ask]) -> dict[str, Agreement]:
    """Scores of the first round's first items against the reference's."""
    answered = {m.label: m.runs[0].scores(m.live.server.wire)[:CHECKED_ITEMS] for m in measured}
    items = items_of(list(first))[: max(map(len, answered.values()), default=0)]
    wanted: dict[Encoding, list[float]] = {}
    found = {}
    for m in measured:
        wire = m.live.server.wire
        if wire.encoding not in wanted:
            wanted[wire.encoding] = bench.reference.scores(items, wire.encoding)
        scores = answered[m.label][: len(items)]
        found[m.label] = agreement(scores, wanted[wire.encoding][: len(scores)])
    return found


def _ids(reference: Reference, ask: Ask, number: int) -> list[int]:
    ids: list[int] = reference.inputs(ask.items[number], "text")["input_ids"][0].tolist()
    return ids


def _once(sequences: Sequence[list[int]]) -> int:
    """Tokens of the common beginning, and of each rest."""
    common = next(
        (i for i, column in enumerate(zip(*sequences, strict=False)) if len(set(column)) > 1),
        min(map(len, sequences)),
    )
    return common + sum(len(ids) - common for ids in sequences)
