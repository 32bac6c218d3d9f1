"""`bench load` over real sockets against a stub whose queue is known; nothing about speed."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import pytest
from typer.testing import CliRunner

from service.bench.image_size import ImageSize
from service.bench.load.arrivals import due_times
from service.bench.load.load import LoadPlan, bench_load, content_type, endpoint
from service.bench.photos import drawn
from service.bench.report.results import LoadReport
from service.bench.report.statistics import percentile
from service.cli import app
from service.errors import QuincunxError, UsageError
from tests.support.images import drawn as pixels
from tests.support.images import encoded
from tests.support.queueing import finished

IMAGES = drawn(ImageSize(64, 48), seed=0, count=2)


@contextmanager
def stub(service_ms: float, **options: int) -> Generator[str]:
    """The URL of a stub server in a process of its own."""
    command = [sys.executable, "-m", "tests.support.stub_server"]
    arguments = [f"--service-ms={service_ms}"]
    arguments += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_a_closed_loop_finds_the_capacity() -> None:
    with stub(service_ms=20) as url:
        # So many users that the stub has work for half a second while a busy client wakes up.
        plan = LoadPlan("closed", users=(32,), seconds=4, warm_up_s=0.5, processes=2)
        (step,) = bench_load(url, plan, IMAGES).steps
    assert step.answered_per_second == pytest.approx(50, rel=0.05)
    assert step.users == 32
    assert step.failed == 0


def test_the_search_finds_the_capacity() -> None:
    with stub(service_ms=20) as url:
        # The median: it grows without end past the capacity, and no hiccup moves it. The limit
        # leaves 120 ms for a busy machine; 4 requests a second above the capacity exceed it.
        plan = LoadPlan("constant", slo_ms=140, percent=50, seconds=3, warm_up_s=0, processes=2)
        report = bench_load(url, plan, IMAGES)
    assert report.best_per_second == pytest.approx(50, rel=0.1)


def test_p99_is_that_of_the_queue_that_the_schedule_makes() -> None:
    service_s, rate, seconds = 0.03, 0.7 / 0.03, 10.0
    with stub(service_ms=service_s * 1e3) as url:
        plan = LoadPlan(rates=(rate,), seconds=seconds, warm_up_s=0, processes=2, seed=5)
        (step,) = bench_load(url, plan, IMAGES).steps
    due_s = due_times("poisson", rate, seconds, np.random.default_rng((5, 0)))
    expected_ms = percentile((finished(due_s, service_s) - due_s) * 1e3, 99)
    assert step.sent == len(due_s)
    assert step.latency is not None
    # On a busy machine client and stub wake up late, and the step says by how much: 0.2 ms on a
    # quiet one. That can only add to a latency.
    excess_ms = 2 * step.lateness_p99_ms
    assert 0.9 * expected_ms <= step.latency.p99_ms <= 1.1 * expected_ms + excess_ms


def test_a_stall_of_a_second_is_seen_by_all_who_came_in_it() -> None:
    with stub(service_ms=5, stall_before=40) as url:
        plan = LoadPlan("constant", rates=(20,), seconds=5, warm_up_s=0, processes=2)
        (step,) = bench_load(url, plan, IMAGES).steps
    assert step.latency is not None
    assert step.latency.p999_ms > 900
    assert sum(ms > 500 for ms in step.latencies_ms["none"]) >= 9  # a closed loop would have 1


def test_refusals_are_no_failures_and_a_mix_is_reported_by_mode() -> None:
    with stub(service_ms=20, queue=2) as url:
        plan = LoadPlan(
            rates=(150,), mix={"none": 0.5, "five_crop": 0.5}, seconds=2, warm_up_s=0.5, processes=2
        )
        report = bench_load(url, plan, IMAGES)
    (step,) = report.steps
    assert step.refused > step.answered > 0
    assert step.failed == 0
    assert step.refused + step.answered == step.sent
    assert set(step.by_mode) == {"none", "five_crop"}
    assert report.best_per_second is None


def test_a_server_that_is_not_there_is_an_error() -> None:
    with stub(service_ms=1) as url:
        pass
    with pytest.raises(QuincunxError, match="answered nothing"):
        bench_load(url, LoadPlan(seconds=0.2, warm_up_s=0, processes=1), IMAGES)
    with pytest.raises(QuincunxError, match="answered nothing"):  # at given rates too
        bench_load(url, LoadPlan(rates=(20,), seconds=0.2, warm_up_s=0, processes=1), IMAGES)


def test_the_command_reports_json() -> None:
    with stub(service_ms=2) as url:
        options = ["--rate", "30", "--seconds", "1", "--warm-up", "0", "--processes", "1", "--json"]
        result = CliRunner().invoke(app, ["bench", "load", url, *options], catch_exceptions=False)
    report = LoadReport.model_validate(json.loads(result.stdout))
    assert report.settings.url == f"{url}/classify"
    assert report.steps[0].failed == 0
    assert any("server's machine" in note for note in report.notes)


def test_more_users_than_connections_are_refused() -> None:
    plan = LoadPlan("closed", users=(8,), seconds=0.1, processes=1, connections=4)
    with stub(service_ms=1) as url, pytest.raises(UsageError, match="--connections"):
        bench_load(url, plan, IMAGES)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000/classify"),
        ("http://127.0.0.1:3000/", "http://127.0.0.1:3000/classify"),
        ("https://host/v2/models/m/infer", "https://host/v2/models/m/infer"),
    ],
)
def test_a_url_without_a_path_means_classify(url: str, address: str) -> None:
    assert endpoint(url) == address


@pytest.mark.parametrize("url", ["127.0.0.1:3000", "ftp://host", "http://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        endpoint(url)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_media_type_is_read_off_the_bytes(kind: str) -> None:
    assert content_type(encoded(pixels(8, 8), kind)) == f"image/{kind.lower()}"
