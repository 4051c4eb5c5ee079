"""A collector of spans on a port of its own, as OTLP over HTTP finds it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

HOUR_MS = 3_600_000


@dataclass
class Collector:
    """What came, and where it is to be sent."""

    url: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """Variables by which spans are exported to here, and only when they are flushed."""
        return {
            "GUERDON_OTEL": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_BSP_SCHEDULE_DELAY": str(HOUR_MS),
            "NO_PROXY": "*",
        }

    def spans(self, trace_id: str) -> set[str]:
        """Names of the spans of one trace."""
        spans = [span for sent in self._resources for scope in sent.scope_spans for span in scope.spans]
        return {span.name for span in spans if span.trace_id.hex() == trace_id}

    def services(self) -> set[str]:
        """Who sent spans, by their own names."""
        said = [attribute for sent in self._resources for attribute in sent.resource.attributes]
        return {attribute.value.string_value for attribute in said if attribute.key == "service.name"}

    @property
    def _resources(self) -> list[Any]:
        return [resource for request in self.requests for resource in request.resource_spans]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, format: str, *args: object) -> None:
            """Nobody asks."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
