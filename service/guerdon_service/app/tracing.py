"""Spans for OpenTelemetry, where it is installed and on; else they cost one look-up and do nothing."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from guerdon_service.core.errors import InvalidInput

SERVICE_NAME = "guerdon"


@contextmanager
def span(name: str, **attributes: str | int | float | bool) -> Iterator[None]:
    """Time the body as a span; an exception is recorded on it and goes on.

    Nothing is imported here: when nobody has configured tracing, the API is not even loaded, or hands
    out spans that record nothing.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield
        return
    with trace.get_tracer(SERVICE_NAME).start_as_current_span(name, attributes=attributes):
        yield


@contextmanager
def within_trace(trace_id: str) -> Iterator[None]:
    """Within, spans belong to the trace of that id, 32 hex digits; empty, or without tracing: nothing."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not trace_id:
        yield
        return
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
