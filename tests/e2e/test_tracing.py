"""Spans of a real server, configured as BentoML documents it, at a collector that speaks OTLP."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.images import coloured, encoded
from tests.support.server import serving
from tests.support.tiny import tiny_package

LIMIT_S = 60


class Collector(ThreadingHTTPServer):
    """Keeps every span that is sent to it."""

    daemon_threads = True
    spans: list[Span]

    def until(self, *names: str) -> dict[str, Span]:
        """The spans by name, once all of `names` have come."""
        deadline = time.monotonic() + LIMIT_S
        while not set(names) <= {span.name for span in self.spans}:
            assert time.monotonic() < deadline, sorted({span.name for span in self.spans})
            time.sleep(0.05)
        return {span.name: span for span in self.spans}


class Receive(BaseHTTPRequestHandler):
    """`POST /v1/traces`."""

    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector(("127.0.0.1", 0), Receive) as collector:
        collector.spans = []
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


CONFIG = """
services:
  tracing:
    exporter_type: otlp
    sample_rate: 1.0
    otlp:
      protocol: http
      endpoint: http://127.0.0.1:{port}/v1/traces
"""


def test_the_stages_of_an_image_are_spans_of_its_request(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "bentoml.yaml"
    config.write_text(CONFIG.format(port=collector.server_port))
    monkeypatch.setenv("BENTOML_CONFIG", str(config))
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    package = tiny_package(tmp_path / "tiny", int8=False)
    with serving([package], tmp_path, session_threads="0") as server:  # one batch at a time
        httpx.post(
            f"{server.url}/classify?tta=five_crop",
            files={"image": encoded(coloured("red"))},
            headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
            timeout=30,
        ).raise_for_status()
        stages = [f"quincunx.{s}" for s in ("decode", "prepare", "queue", "inference", "finish")]
        spans = collector.until(*stages, "POST /classify")
    request = spans["POST /classify"]
    assert request.trace_id.hex() == trace_id  # the caller's own trace goes on
    for name in stages:
        assert spans[name].parent_span_id == request.span_id, name
        assert spans[name].trace_id == request.trace_id
        assert spans[name].end_time_unix_nano <= request.end_time_unix_nano
        assert spans[name].start_time_unix_nano >= request.start_time_unix_nano
    attributes = {item.key: item.value for item in spans["quincunx.inference"].attributes}
    assert attributes["quincunx.model"].string_value == "tiny@1"
    assert attributes["quincunx.largest_batch_views"].int_value == 5
