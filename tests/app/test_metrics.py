"""What `/metrics` says after known events, read back by Prometheus' own parser."""

import asyncio
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from guerdon_service.app.metrics import CONTENT_TYPE, UNKNOWN_MODEL, PrometheusObserver, watch_loop_lag
from guerdon_service.core.ports import BatchReport, Observer
from guerdon_service.shadow.drift import DriftFigures
from guerdon_service.shadow.drift_monitor import MEASURES
from guerdon_service.shadow.trial import Trial


def samples(observer: PrometheusObserver) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(observer.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def value(observer: PrometheusObserver, name: str, **labels: str) -> float | None:
    return samples(observer).get((name, tuple(sorted(labels.items()))))


def report(num_tokens: int, num_computed: int, *, failed: bool = False) -> BatchReport:
    return BatchReport(3, num_tokens, num_computed, forward_s=0.25, failed=failed)


def test_it_is_an_observer() -> None:
    observer: Observer = PrometheusObserver()
    observer.cache("l1", "hit", 1)


def test_requests_by_verb_transport_and_code() -> None:
    observer = PrometheusObserver()
    observer.request("score", "rest", "ok", 0.02)
    observer.request("score", "rest", "overloaded", 0.001)
    observer.request("score", "grpc", "ok", 2.0)
    assert value(observer, "guerdon_requests_total", verb="score", transport="rest", code="ok") == 1
    assert value(observer, "guerdon_requests_total", verb="score", transport="rest", code="overloaded") == 1
    assert value(observer, "guerdon_request_seconds_count", verb="score", transport="rest") == 2
    assert value(observer, "guerdon_request_seconds_sum", verb="score", transport="grpc") == 2.0


def test_batches_and_padding_waste() -> None:
    observer = PrometheusObserver()
    observer.batch("m", report(90, 96))
    observer.batch("m", report(100, 104))
    observer.batch("m", report(1000, 0, failed=True))
    assert value(observer, "guerdon_tokens_total", model="m") == 190
    assert value(observer, "guerdon_computed_tokens_total", model="m") == 200
    assert value(observer, "guerdon_batches_total", model="m", outcome="ok") == 2
    assert value(observer, "guerdon_batches_total", model="m", outcome="failed") == 1
    assert value(observer, "guerdon_forward_seconds_sum", model="m") == 0.75
    assert value(observer, "guerdon_batch_items_sum", model="m") == 9
    assert value(observer, "guerdon_batch_tokens_bucket", model="m", le="128.0") == 2


def test_queue_gauges_keep_the_last_length() -> None:
    observer = PrometheusObserver()
    observer.queued("m", 5, 500)
    observer.queued("m", 2, 70)
    assert value(observer, "guerdon_queue_items", model="m") == 2
    assert value(observer, "guerdon_queue_tokens", model="m") == 70


def test_tokenizing_and_cache() -> None:
    observer = PrometheusObserver()
    observer.tokenized("m", 4, 0.5)
    observer.cache("redis", "hit", 3)
    observer.cache("redis", "hit", 2)
    assert value(observer, "guerdon_tokenize_seconds_sum", model="m") == 0.5
    assert value(observer, "guerdon_cache_total", layer="redis", outcome="hit") == 5


def test_names_that_callers_type_never_become_labels() -> None:
    observer = PrometheusObserver()
    observer.model_ready("m", lambda: False)
    observer.refused("m", "not_ready")
    for n in range(100):
        observer.refused(f"attack{n}", "unknown_model")
    assert value(observer, "guerdon_refused_total", model="m", code="not_ready") == 1
    assert value(observer, "guerdon_refused_total", model=UNKNOWN_MODEL, code="unknown_model") == 100
    assert b"attack" not in observer.render()


def test_readiness_is_asked_at_each_scrape() -> None:
    observer, answers = PrometheusObserver(), True
    observer.model_ready("m", lambda: answers)
    assert value(observer, "guerdon_model_ready", model="m") == 1
    answers = False
    assert value(observer, "guerdon_model_ready", model="m") == 0
    observer.model_ready("m", lambda: True)  # loaded again
    assert value(observer, "guerdon_model_ready", model="m") == 1
    observer.model_unloaded("m", "m@1")
    assert b'guerdon_model_ready{model="m"}' not in observer.render(), "nothing to raise an alarm about"


def test_engine_processes_count_as_they_live() -> None:
    observer = PrometheusObserver()
    for num_live, restarted in ((2, False), (1, False), (2, True), (0, False)):
        observer.engine_processes("m", num_live, restarted)
    assert value(observer, "guerdon_engine_processes", model="m") == 0
    assert value(observer, "guerdon_engine_process_restarts_total", model="m") == 1
    observer.model_unloaded("m", "m@1")
    assert b'guerdon_engine_processes{model="m"}' not in observer.render()


def test_a_version_that_was_let_go_leaves_no_series_and_what_it_still_ends_begins_none() -> None:
    observer = PrometheusObserver()

    def measure(model: str) -> None:
        observer.queued(model, 1, 10)
        observer.tokenized(model, 1, 0.5)
        observer.batch(model, report(90, 96))
        observer.batch(model, report(90, 0, failed=True))

    for model in ("m", "m@2"):
        observer.engine_processes(model, 1, True)
        observer.model_ready(model, lambda: True)
        measure(model)
    observer.refused("m", "overloaded")
    for version in "12":
        for about in MEASURES:
            observer.drift(f"m@{version}", about, DriftFigures(0.3, 0.1))
        observer.trial(Trial("m", "0", version).judged(1.0, -1.0))
    before = [labels for _, labels in samples(observer)]
    observer.model_unloaded("m@2", "m@2")
    measure("m@2")
    gone = {("model", "m@2"), ("candidate", "2")}
    assert [labels for _, labels in samples(observer)] == [ls for ls in before if not gone & set(ls)]
    assert value(observer, "guerdon_tokens_total", model="m") == 90
    observer.model_ready("m@2", lambda: True)
    measure("m@2")
    assert value(observer, "guerdon_tokens_total", model="m@2") == 90, "it is counted anew"


def test_two_observers_share_nothing() -> None:
    one, two = PrometheusObserver(), PrometheusObserver()
    one.cache("l1", "hit", 1)
    assert value(two, "guerdon_cache_total", layer="l1", outcome="hit") is None


def test_the_process_and_content_type_are_there() -> None:
    assert (value(PrometheusObserver(), "process_resident_memory_bytes") or 0) > 0
    assert CONTENT_TYPE.startswith("text/plain")


async def test_loop_lag_is_how_late_a_timer_runs() -> None:
    observer = PrometheusObserver()
    watching = asyncio.create_task(watch_loop_lag(observer.loop_lag, interval_s=0.001))
    async with asyncio.timeout(30):
        while not value(observer, "guerdon_event_loop_lag_seconds_count"):
            await asyncio.sleep(0)
        before = value(observer, "guerdon_event_loop_lag_seconds_sum") or 0.0
        time.sleep(0.1)  # noqa: ASYNC251 the blocked loop is what is measured
        count = value(observer, "guerdon_event_loop_lag_seconds_count")
        while value(observer, "guerdon_event_loop_lag_seconds_count") == count:
            await asyncio.sleep(0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    after = value(observer, "guerdon_event_loop_lag_seconds_sum") or 0.0
    assert after - before >= 0.09
