"""Measurements as Prometheus series, for `/metrics`."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import choose_encoder

from guerdon_service.app.series import Count, Distribution
from guerdon_service.app.tracing import span, within_trace
from guerdon_service.core.errors import BackendFailed
from guerdon_service.core.ports import BatchReport
from guerdon_service.shadow.drift import DriftFigures
from guerdon_service.shadow.drift_monitor import MEASURES
from guerdon_service.shadow.trial import Trial

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Of what `PrometheusObserver.render` gives."""
UNKNOWN_MODEL = "unknown"
"""Label of a model that is not loaded: what callers type never becomes a label."""

_LOG = logging.getLogger(__name__)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_TOKENS = tuple(2**n for n in range(5, 17))
_ITEMS = tuple(2**n for n in range(11))
_OUTCOMES = ("ok", "failed")
_STATISTICS = ("psi", "ks")
_FIGURES = (
    "items",
    "tau",
    "same_best_share",
    "flip_share",
    "offset",
    "scale",
    "time_ratio",
    "failed",
    "skipped",
    "judgements",
    "evidence",
)
"""Of a trial."""


class PrometheusObserver:
    """`core.ports.Observer` in a registry of its own, so that several may live in one process.

    Padding waste is ``1 - guerdon_tokens_total / guerdon_computed_tokens_total`` over any window; a
    shared prompt, computed once, makes it negative.

    Args:
        slow_request_s: requests that take at least as long, in seconds, are logged; None logs none.
    """

    def __init__(self, slow_request_s: float | None = None) -> None:
        r = CollectorRegistry()
        self._slow_request_s = slow_request_s
        ProcessCollector(registry=r)
        self._registry = r
        self._models: set[str] = set()
        self._unloaded: set[str] = set()
        """Models that were let go: what they still end is not told, or their series would begin again."""
        call, model = ("verb", "transport"), ("model",)
        self._requests = Count("guerdon_requests", "Answered requests", (*call, "code"), r)
        self._request_s = Distribution("guerdon_request_seconds", "Arrival to answer", call, _SECONDS, r)
        self._num_calls: dict[str, int] = {}
        self._under_way = Gauge("guerdon_calls", "Calls at work", ("transport",), registry=r)
        self._queue_items = Gauge("guerdon_queue_items", "Items waiting for a forward", model, registry=r)
        self._queue_tokens = Gauge("guerdon_queue_tokens", "Tokens waiting for a forward", model, registry=r)
        self._tokenize_s = Distribution(
            "guerdon_tokenize_seconds", "Encoding one request's items", model, _SECONDS, r
        )
        self._forward_s = Histogram(
            "guerdon_forward_seconds", "One forward of a batch", model, buckets=_SECONDS, registry=r
        )
        self._batch_tokens = Histogram(
            "guerdon_batch_tokens", "Tokens asked for in one batch", model, buckets=_TOKENS, registry=r
        )
        self._batch_items = Histogram(
            "guerdon_batch_items", "Items in one batch", model, buckets=_ITEMS, registry=r
        )
        self._batches = Counter("guerdon_batches", "Forwards, ok or failed", (*model, "outcome"), registry=r)
        self._tokens = Counter("guerdon_tokens", "Tokens asked for and scored", model, registry=r)
        self._computed = Counter(
            "guerdon_computed_tokens",
            "Token rows pushed through the model; padding waste = 1 - guerdon_tokens / this",
            model,
            registry=r,
        )
        self._cache = Count("guerdon_cache", "Cache entries", ("layer", "outcome"), r)
        self._refused = Counter("guerdon_refused", "Refused requests", (*model, "code"), registry=r)
        self._ready = Gauge("guerdon_model_ready", "1 when the model answers", model, registry=r)
        self._processes = Gauge("guerdon_engine_processes", "Engine processes that live", model, registry=r)
        self._restarts = Counter(
            "guerdon_engine_process_restarts", "Engine processes started again", model, registry=r
        )
        self._trial = Gauge(
            "guerdon_trial",
            "Candidate against champion on the same traffic; evidence: log e-value, signed by who leads",
            (*model, "candidate", "figure"),
            registry=r,
        )
        self._drift = Gauge(
            "guerdon_drift",
            "Latest answers against the first ones; an audit, not an alarm",
            (*model, "measure", "statistic"),
            registry=r,
        )
        self._of_model: tuple[Distribution | Gauge | Counter | Histogram, ...] = (
            self._queue_items,
            self._queue_tokens,
            self._tokenize_s,
            self._forward_s,
            self._batch_tokens,
            self._batch_items,
            self._tokens,
            self._computed,
            self._ready,
            self._processes,
            self._restarts,
        )
        self._lag_s = Histogram(
            "guerdon_event_loop_lag_seconds",
            "How late the event loop runs a timer",
            buckets=_LAG_SECONDS,
            registry=r,
        )

    def under_way(self, transport: str, trace_id: str) -> AbstractContextManager[None]:
        """Within, a call is at work, as a part of that trace where tracing is on."""
        if transport not in self._num_calls:
            self._num_calls[transport] = 0
            self._under_way.labels(transport).set_function(lambda: self._num_calls[transport])
        return _UnderWay(self._num_calls, transport, within_trace(trace_id))

    def request(
        self,
        verb: str,
        transport: str,
        code: str,
        seconds: float,
        *,
        request_id: str = "",
        trace_id: str = "",
    ) -> None:
        """One request was answered: ``ok`` or an error's code, `seconds` after it arrived."""
        self._requests.add((verb, transport, code), 1, trace_id)
        self._request_s.observe((verb, transport), seconds, trace_id)
        is_slow = self._slow_request_s is not None and seconds >= self._slow_request_s
        has_failed = code == BackendFailed.code  # the back end's own line knows of no request
        if is_slow or has_failed:
            fields = {"verb": verb, "transport": transport, "code": code, "seconds": round(seconds, 3)}
            told = "failed request" if has_failed else "slow request"
            _LOG.warning(told, extra=fields | {"request_id": request_id, "trace_id": trace_id})

    def batch(self, model: str, report: BatchReport) -> None:
        """A forward ended; a failed one adds no tokens."""
        if model in self._unloaded:
            return
        self._batches.labels(model, _OUTCOMES[report.failed]).inc()
        self._forward_s.labels(model).observe(report.forward_s)
        self._batch_tokens.labels(model).observe(report.num_tokens)
        self._batch_items.labels(model).observe(report.num_items)
        if not report.failed:
            self._tokens.labels(model).inc(report.num_tokens)
            self._computed.labels(model).inc(report.num_computed)

    def queued(self, model: str, num_items: int, num_tokens: int) -> None:
        """The queue's length changed."""
        if model not in self._unloaded:
            self._queue_items.labels(model).set(num_items)
            self._queue_tokens.labels(model).set(num_tokens)

    def tokenized(self, model: str, num_items: int, tokenize_s: float) -> None:
        """One request's items were encoded."""
        if model not in self._unloaded:
            self._tokenize_s.observe((model,), tokenize_s)

    def cache(self, layer: str, outcome: str, count: int) -> None:
        """`count` entries of a cache layer had this outcome."""
        self._cache.add((layer, outcome), count)

    def refused(self, model: str, code: str) -> None:
        """A request was refused; a model that never was loaded counts as `UNKNOWN_MODEL`."""
        self._refused.labels(model if model in self._models else UNKNOWN_MODEL, code).inc()

    def model_ready(self, model: str, is_ready: Callable[[], bool]) -> None:
        """Loading a model has ended; each scrape asks whether it answers: a back end may die in silence."""
        self._models.add(model)
        self._unloaded.discard(model)
        self._ready.labels(model).set_function(is_ready)

    def engine_processes(self, model: str, num_live: int, restarted: bool) -> None:
        """So many engine processes of a model live now."""
        self._processes.labels(model).set(num_live)
        self._restarts.labels(model).inc(restarted)

    def model_unloaded(self, model: str, reference: str) -> None:
        """A model was let go on purpose: no alarm is due, and its series end; refusals are its name's."""
        self._unloaded.add(model)
        for series in self._of_model:
            series.remove(model)
        for outcome in _OUTCOMES:
            self._batches.remove(model, outcome)
        for measure, statistic in product(MEASURES, _STATISTICS):
            self._drift.remove(reference, measure, statistic)
        name, _, version = reference.partition("@")
        for figure in _FIGURES:
            self._trial.remove(name, version, figure)

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[None]:
        """A span, where tracing is on."""
        return span(name, **attributes)

    def trial(self, trial: Trial) -> None:
        """A candidate was compared with its champion once more."""
        agreement, evidence = trial.agreement, trial.evidence
        side = 1.0 if 2.0 * evidence.total >= evidence.num else -1.0
        values = (
            agreement.num_items,
            agreement.tau,
            agreement.same_best_share,
            agreement.flip_share,
            agreement.offset,
            agreement.scale,
            agreement.time_ratio,
            agreement.num_failed,
            agreement.num_skipped,
            evidence.num,
            side * max(0.0, evidence.log_wealth),
        )
        for name, value in zip(_FIGURES, values, strict=True):
            self._trial.labels(trial.name, trial.candidate, name).set(value)

    def drift(self, model: str, measure: str, figures: DriftFigures) -> None:
        """One measure of a model's answers was looked at."""
        for statistic in _STATISTICS:
            self._drift.labels(model, measure, statistic).set(getattr(figures, statistic))

    def loop_lag(self, lag_s: float) -> None:
        """The event loop ran a timer `lag_s` seconds late."""
        self._lag_s.observe(lag_s)

    def render(self) -> bytes:
        """Every series in Prometheus' text format, `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Every series and the content type: OpenMetrics, with exemplars, where `accept` asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _UnderWay:
    """Counts a call while it is at work."""

    __slots__ = ("_num_calls", "_trace", "_transport")

    def __init__(
        self, num_calls: dict[str, int], transport: str, trace: AbstractContextManager[None]
    ) -> None:
        self._num_calls, self._transport, self._trace = num_calls, transport, trace

    def __enter__(self) -> None:
        self._num_calls[self._transport] += 1
        self._trace.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        self._num_calls[self._transport] -= 1
        return self._trace.__exit__(*error)


async def watch_loop_lag(*tell: Callable[[float], None], interval_s: float = 0.1) -> None:
    """Tell by how many seconds the running event loop is late, for ever; run it as a task and cancel it."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        lag_s = max(0.0, loop.time() - due)
        for told in tell:
            told(lag_s)
