"""Counters and histograms of what happens on every request, for the event loop alone.

The library's own lock and check labels and exemplars each time, which costs as much as scoring a known item.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import inf

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]
"""Values, in the order of the names."""
_Example = tuple[str, float, float]
"""A trace's id, the value it stands for, and when it was, in seconds since 1970."""


class Count(Collector):
    """`prometheus_client.Counter`: how many, by labels. For one thread."""

    def __init__(self, name: str, documentation: str, labels: Labels, registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._labelnames = name, documentation, labels
        self._counts: dict[Labels, float] = {}
        self._begun: dict[Labels, float] = {}
        self._examples: dict[Labels, _Example] = {}
        registry.register(self)

    def add(self, labels: Labels, count: float = 1, trace_id: str = "") -> None:
        """Count so many more; a trace's id stands beside the latest."""
        before = self._counts.get(labels)
        if before is None:
            before = 0
            self._begun[labels] = time.time()
        self._counts[labels] = before + count
        if trace_id:
            self._examples[labels] = trace_id, count, time.time()

    def collect(self) -> Iterator[Metric]:
        """As the registry asks."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, count in tuple(self._counts.items()):
            example = _exemplar(self._examples.get(labels))
            family.add_metric(labels, count, created=self._begun[labels], exemplar=example)
        yield family

    describe = collect
    """Asked at registration: another of the same name is refused."""


class Distribution(Collector):
    """`prometheus_client.Histogram`: how many up to each of some bounds, by labels. For one thread."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Labels,
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._documentation, self._labelnames = name, documentation, labels
        self._bounds = (*map(float, bounds), inf)
        self._series: dict[Labels, _Series] = {}
        registry.register(self)

    def observe(self, labels: Labels, value: float, trace_id: str = "") -> None:
        """One more value; a trace's id stands beside the latest of its bucket."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series(len(self._bounds))
        place = bisect_left(self._bounds, value)
        series.counts[place] += 1
        series.total += value
        if trace_id:
            series.examples[place] = trace_id, value, time.time()

    def remove(self, *labels: str) -> None:
        """Forget one series, if it is there."""
        self._series.pop(labels, None)

    def collect(self) -> Iterator[Metric]:
        """As the registry asks."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, series in tuple(self._series.items()):
            buckets, count = [], 0
            for bound, own, example in zip(self._bounds, series.counts, series.examples, strict=True):
                count += own
                buckets.append((floatToGoString(bound), float(count), _exemplar(example)))
            family.add_metric(labels, buckets, series.total)  # type: ignore[arg-type]
            given = dict(zip(self._labelnames, labels, strict=True))
            family.add_sample(f"{self._name}_created", given, series.begun)
        yield family

    describe = collect
    """Asked at registration: another of the same name is refused."""


class _Series:
    __slots__ = ("begun", "counts", "examples", "total")

    def __init__(self, num_buckets: int) -> None:
        self.begun, self.total = time.time(), 0.0
        self.counts = [0] * num_buckets
        self.examples: list[_Example | None] = [None] * num_buckets


def _exemplar(example: _Example | None) -> Exemplar | None:
    return None if example is None else Exemplar({"trace_id": example[0]}, example[1], example[2])
