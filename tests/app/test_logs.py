"""JSON log lines, and spans with and without OpenTelemetry."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from guerdon_service.app.logs import configure_logging, logged_request
from guerdon_service.app.tracing import configure_tracing, flush_spans, span
from guerdon_service.core.errors import InvalidInput

logger = logging.getLogger("guerdon.test")


@pytest.fixture
def stream() -> io.StringIO:
    """Where lines go."""
    logging.getLogger().handlers.clear()
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_what_peft_asks_of_transformers_is_no_line(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        logging.captureWarnings(False)  # which another test may have begun, in its own context
        configure_logging("INFO", stream=stream)
        warnings.warn(
            "`is_gradient_checkpointing` is deprecated and will be removed", FutureWarning, stacklevel=1
        )
        warnings.warn("another", FutureWarning, stacklevel=1)
    (line,) = lines(stream)
    assert "another" in line["message"]


def test_one_object_a_line_with_extras(stream: io.StringIO) -> None:
    configure_logging("INFO", stream=stream)
    logger.debug("below the level")
    logger.info("scored %d items\nin a batch 🙂 \ud800", 3, extra={"num_tokens": 7, "path": types, "_at": 1})
    (line,) = [line for line in lines(stream) if line["logger"] == logger.name]
    assert line["message"] == "scored 3 items\nin a batch 🙂 \ud800"
    assert (line["level"], line["logger"], line["request_id"]) == ("INFO", "guerdon.test", "")
    assert line["num_tokens"] == 7
    assert "module 'types'" in line["path"]
    assert line["ts"].endswith("+00:00")
    assert list(line) == ["ts", "level", "logger", "message", "request_id", "num_tokens", "path"]


def test_exceptions_stay_on_the_line(stream: io.StringIO) -> None:
    configure_logging("INFO", stream=stream)
    try:
        raise ValueError("broken weights")
    except ValueError:
        logger.exception("forward failed")
    (line,) = lines(stream)
    assert "ValueError: broken weights" in line["exception"]


async def test_each_task_has_its_own_request_id(stream: io.StringIO) -> None:
    configure_logging("INFO", stream=stream)

    async def handle(request_id: str) -> None:
        with logged_request(request_id):
            logger.info("begin")
            await asyncio.sleep(0)
            logger.info("end")
        logger.info("after")

    await asyncio.gather(handle("one"), handle("two"))
    seen = [(line["message"], line["request_id"]) for line in lines(stream)]
    assert sorted(seen) == sorted(
        [("begin", "one"), ("begin", "two"), ("end", "one"), ("end", "two"), ("after", ""), ("after", "")]
    )


def test_plain_text_for_people(stream: io.StringIO) -> None:
    configure_logging("WARNING", json=False, stream=stream)
    logger.warning("queue is full")
    assert stream.getvalue().endswith("WARNING guerdon.test: queue is full\n")


def test_configuring_twice_does_not_double_lines(stream: io.StringIO) -> None:
    configure_logging("INFO", stream=stream)
    configure_logging("INFO", stream=stream)
    logger.info("once")
    assert len(lines(stream)) == 1


class FakeOpenTelemetry:
    """Stands where the API, the SDK and the exporter are; keeps what it is told."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, dict[str, Any]]] = []
        self.provider: Any = None
        self.processors: list[Any] = []
        self.resource: dict[str, str] = {}
        self.flushed, self.collector = threading.Event(), threading.Event()

    @contextmanager
    def start_as_current_span(self, name: str, attributes: dict[str, Any]) -> Iterator[None]:
        self.spans.append((name, attributes))
        yield

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def module(name: str, **members: object) -> None:
            monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**members))

        def make_provider(resource: dict[str, str]) -> "FakeOpenTelemetry":
            self.resource = resource
            return self

        exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
        module(
            "opentelemetry.trace",
            get_tracer=lambda _: self,
            set_tracer_provider=self.set_provider,
            get_tracer_provider=lambda: self.provider,
        )
        module("opentelemetry.sdk.trace", TracerProvider=make_provider)
        module("opentelemetry.sdk.trace.export", BatchSpanProcessor=lambda e: ("batch", e))
        module("opentelemetry.sdk.resources", Resource=types.SimpleNamespace(create=dict))
        module(exporter, OTLPSpanExporter=lambda: "otlp")

    def set_provider(self, provider: object) -> None:
        self.provider = provider

    def force_flush(self) -> None:
        assert self.collector.wait(30)
        self.flushed.set()

    def add_span_processor(self, processor: object) -> None:
        self.processors.append(processor)


def test_spans_are_given_to_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeOpenTelemetry()
    fake.install(monkeypatch)
    with span("forward", model="m", num_items=3):
        pass
    assert fake.spans == [("forward", {"model": "m", "num_items": 3})]


@pytest.mark.parametrize("name", [None, "my-rewards"])
def test_configuring_exports_in_batches(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    fake = FakeOpenTelemetry()
    fake.install(monkeypatch)
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    if name is not None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    configure_tracing()
    assert fake.provider is fake
    assert fake.processors == [("batch", "otlp")]
    assert fake.resource == {"service.name": name or "guerdon"}


def test_the_last_spans_are_flushed_and_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeOpenTelemetry()
    fake.install(monkeypatch)
    configure_tracing()
    fake.collector.set()
    flush_spans(timeout_s=30)
    assert fake.flushed.is_set()
    fake.flushed.clear()
    fake.collector.clear()
    flush_spans(timeout_s=0.01)
    assert not fake.flushed.is_set(), "the collector does not answer"
    fake.collector.set()


def test_without_opentelemetry_a_span_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    ran = []
    with span("forward", model="m"):
        ran.append(1)
    assert ran == [1]
    with pytest.raises(KeyError), span("forward"):
        raise KeyError("goes on")


def test_a_span_loads_nothing() -> None:
    """In a fresh process, where nobody has asked for tracing."""
    code = (
        "import sys; from guerdon_service.app.tracing import span\n"
        "with span('forward', model='m'): pass\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "missing",
    [
        "opentelemetry.trace",
        "opentelemetry.sdk.trace",
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    ],
)
def test_asking_for_tracing_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    FakeOpenTelemetry().install(monkeypatch)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InvalidInput, match=r"pip install 'guerdon\[otel\]'") as caught:
        configure_tracing()
    assert caught.value.param == "tracing"
