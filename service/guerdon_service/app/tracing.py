"""Spans for OpenTelemetry, where it is installed and on; else they cost one look-up and do nothing."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any

from guerdon_service.core.errors import InvalidInput

SERVICE_NAME = "guerdon"
FLUSH_S = 2.0
"""What the last spans may take to be exported, in seconds; less than `leaving.LEAVE_S`."""


_NOTHING = nullcontext()


def span(name: str, **attributes: str | int | float | bool) -> AbstractContextManager[Any]:
    """Time the body as a span; an exception is recorded on it and goes on.

    Nothing is imported here: when nobody has configured tracing, the API is not even loaded, or is not asked.
    """
    trace = _configured()
    if trace is None:
        return _NOTHING
    spans: AbstractContextManager[Any] = trace.get_tracer(SERVICE_NAME).start_as_current_span(
        name, attributes=attributes
    )
    return spans


def within_trace(trace_id: str) -> AbstractContextManager[None]:
    """Within, spans belong to the trace of that id, 32 hex digits; empty, or without tracing: nothing."""
    trace = _configured()
    return _NOTHING if trace is None or not trace_id else _attached(trace, trace_id)


def _configured() -> Any:
    """OpenTelemetry's API if somebody gave it a provider; libraries load it without. Each call asks, so that
    it must cost nothing: the API's own way to tell reads the environment.
    """
    trace = sys.modules.get("opentelemetry.trace")
    return None if getattr(trace, "_TRACER_PROVIDER", trace) is None else trace


@contextmanager
def _attached(trace: Any, trace_id: str) -> Iterator[None]:
    context = import_module("opentelemetry.context")
    number = int(trace_id, 16)
    # Whoever called has a span of his own, of which only the trace is known here.
    parent = trace.SpanContext(number, number & 0xFFFFFFFFFFFFFFFF or 1, True, trace.TraceFlags(1))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    try:
        yield
    finally:
        context.detach(token)


def configure_tracing() -> None:
    """Export spans by OTLP over HTTP, where and how the standard ``OTEL_*`` variables say.

    Raises:
        InvalidInput: OpenTelemetry is not installed.
    """
    try:
        trace = import_module("opentelemetry.trace")
        sdk = import_module("opentelemetry.sdk.trace")
        export = import_module("opentelemetry.sdk.trace.export")
        resources = import_module("opentelemetry.sdk.resources")
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise InvalidInput(
            "tracing needs OpenTelemetry; pip install 'guerdon[otel]', or turn tracing off", param="tracing"
        ) from None
    name = os.environ.get("OTEL_SERVICE_NAME", SERVICE_NAME)
    provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": name}))
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush_spans(timeout_s: float = FLUSH_S) -> None:
    """Export the spans that have ended, as far as the collector takes them in time.

    The SDK does it where the interpreter ends by itself, which a thread that hangs keeps it from.
    """
    trace = _configured()
    if trace is not None:
        flushing = threading.Thread(target=trace.get_tracer_provider().force_flush, daemon=True)
        flushing.start()
        flushing.join(timeout_s)
