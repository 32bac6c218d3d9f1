"""Overload, degrading, draining and tracing, in process: where the moment must be held still."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.errors import InferenceFailed
from service.inference.runtime.session import Session
from tests.support.app import Running, in_process
from tests.support.images import coloured, encoded

PHOTO = {"image": encoded(coloured("red"))}
LIMIT_S = 60


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Open: batches run. Closed: they wait."""
    gate = threading.Event()
    gate.set()
    run = Session.run

    def held(self: Session, *arguments: Any) -> Any:
        assert gate.wait(LIMIT_S)
        return run(self, *arguments)

    monkeypatch.setattr(Session, "run", held)
    return gate


async def until_waiting(running: Running, views: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while running.models.get().batcher.admission.views != views:
            await asyncio.sleep(0)


def post(running: Running, **query: str) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(running.client.post("/classify", params=query, files=PHOTO))


async def test_over_the_queue_s_bound_a_request_is_a_429(
    package: Path, gate: threading.Event
) -> None:
    async with in_process(package, max_queue_views=12) as running:
        gate.clear()
        admitted = [post(running, tta="five_crop") for _ in range(2)]
        await until_waiting(running, 10)
        refused = await post(running, tta="five_crop")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "overloaded"
        gate.set()
        assert [(await task).status_code for task in admitted] == [200, 200]
        assert (await post(running, tta="five_crop")).status_code == 200
        text = running.metrics.expose().decode()
        assert 'quincunx_refused_total{model="tiny",reason="queue_full"} 1.0' in text


async def test_a_deadline_that_cannot_be_met_is_refused_and_one_that_passes_is_a_504(
    package: Path, gate: threading.Event
) -> None:
    async with in_process(package) as running:
        running.models.get().batcher.admission.seconds_per_view = 1.0
        gate.clear()
        admitted = post(running, tta="five_crop")
        await until_waiting(running, 5)
        headers = {"X-Request-Timeout-Ms": "2000"}
        refused = await running.client.post("/classify", files=PHOTO, headers=headers)
        assert refused.status_code == 429
        assert "X-Request-Timeout-Ms" in refused.json()["error"]["message"]
        gate.set()
        assert (await admitted).status_code == 200
        gate.clear()
        headers = {"X-Request-Timeout-Ms": "50"}
        late = await running.client.post("/classify", files=PHOTO, headers=headers)
        assert late.status_code == 504
        gate.set()


async def test_where_nothing_can_be_answered_in_time_the_body_is_not_even_read(
    package: Path, gate: threading.Event
) -> None:
    async with in_process(package, max_queue_views=5) as running:
        gate.clear()
        admitted = post(running, tta="five_crop")
        await until_waiting(running, 5)
        for path in ("/classify", "/classify_batch", "/v2/models/tiny/infer"):
            refused = await running.client.post(path, content=b"no image and no form")
            assert refused.status_code == 429
        gate.set()
        assert (await admitted).status_code == 200
        read = await running.client.post("/classify", content=b"no image and no form")
        assert read.status_code == 415


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "99999999", "x", "²"])
async def test_a_senseless_deadline_is_a_400(package: Path, value: str) -> None:
    async with in_process(package) as running:
        headers = [(b"X-Request-Timeout-Ms", value.encode("latin-1"))]
        response = await running.client.post("/classify", files=PHOTO, headers=headers)
        assert response.status_code == 400


async def test_under_pressure_five_crops_degrade_and_the_answer_says_so(
    package: Path, gate: threading.Event
) -> None:
    async with in_process(package, degrade="dense", max_queue_views=30) as running:
        gate.clear()
        first = post(running, tta="five_crop")
        await until_waiting(running, 5)
        second = post(running, tta="five_crop")
        await until_waiting(running, 6)
        one_crop = post(running, tta="none")
        await until_waiting(running, 7)
        gate.set()
        modes = [
            ((await task).json()["tta_requested"], (await task).json()["tta_applied"])
            for task in (first, second, one_crop)
        ]
        assert modes == [("five_crop", "five_crop"), ("five_crop", "dense"), ("none", "none")]
        assert "quincunx_degraded_total" in running.metrics.expose().decode()


async def test_a_closing_server_finishes_what_it_took_and_refuses_the_rest(
    package: Path, gate: threading.Event
) -> None:
    async with in_process(package) as running:
        gate.clear()
        admitted = post(running, tta="five_crop")
        await until_waiting(running, 5)
        running.models.close()
        assert not running.models.ready
        refused = await post(running)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "shutting_down"
        gate.set()
        assert (await admitted).status_code == 200


async def test_a_failing_runtime_is_a_500_that_tells_nothing_but_its_id(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(package) as running:

        def fail(self: Session, *_: Any) -> Any:
            raise InferenceFailed("out of memory at 0xBADC0DE")

        monkeypatch.setattr(Session, "run", fail)
        response = await post(running)
        assert response.status_code == 500
        error = response.json()["error"]
        assert "BADC0DE" not in response.text
        assert error["code"] == "inference_failed"
        assert error["type"] == "server_error"
        assert error["request_id"] == response.headers["x-request-id"]
    assert "BADC0DE" in caplog.text


async def test_stages_are_spans_under_the_request_s(package: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    async with in_process(package, tracer) as running:
        await running.client.post("/classify", files=PHOTO)  # nobody records: no span
        assert not exporter.get_finished_spans()
        with tracer.start_as_current_span("request"):
            await running.client.post("/classify", files=PHOTO)
    *stages, request = exporter.get_finished_spans()
    assert [span.name.removeprefix("quincunx.") for span in stages] == [
        "decode", "prepare", "queue", "inference", "finish",
    ]  # fmt: skip
    assert request.context is not None
    for span in stages:
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
