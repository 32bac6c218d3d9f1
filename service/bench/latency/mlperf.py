"""MLPerf's own load generator against a package: its scenarios, its clock, its summary.

LoadGen (mlcommons-loadgen, the `[mlperf]` extra) decides when queries come and judges the result.
This module only answers. As in MLPerf's image classification, images are decoded and in memory
before the clock starts. Resizing, views, inference and aggregation are inside the measured time.
"""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from service.bench.photos import Photos
from service.errors import QuincunxError, UsageError
from service.inference.engine import MAX_BATCH_VIEWS, run_all
from service.inference.image.views import AnyImage
from service.inference.predictor import Predictor
from service.inference.tta.steps import Options
from service.package.manifest import Mode

Scenario = Literal["SingleStream", "MultiStream", "Server", "Offline"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

OFFICIAL_SECONDS = 600.0
STREAMS = 8
"""Images in a MultiStream query."""
MAX_BATCH_IMAGES = 32
ESTIMATE_IMAGES = 16
SERVER_SHARE = 0.5
"""If no rate is given, Server runs at this share of a quick estimate of the capacity."""
SUMMARY = "mlperf_log_summary.txt"


@dataclass(frozen=True)
class MlperfPlan:
    """What to run, and for how long."""

    scenario: Scenario
    mode: Mode
    seconds: float = 10.0
    server_per_second: float | None = None
    server_latency_ms: float = 15.0


@dataclass(frozen=True)
class Outcome:
    """LoadGen's verdict."""

    scenario: Scenario
    mode: Mode
    valid: bool
    metric: str
    """The line by which the scenario is judged, in LoadGen's words."""
    summary: dict[str, str]

    @property
    def unmet(self) -> str:
        """The conditions of a valid result that LoadGen found unmet."""
        return ", ".join(key for key, value in self.summary.items() if value == "NO")


def require_loadgen() -> Any:
    """LoadGen's module. If it is not installed, raises QuincunxError, which names the extra."""
    if find_spec("mlperf_loadgen") is None:
        raise QuincunxError("bench mlperf needs LoadGen: pip install 'quincunx[mlperf]'")
    return import_module("mlperf_loadgen")


def bench_mlperf(predictor: Predictor, plan: MlperfPlan, images: Photos, logs: Path) -> Outcome:
    """Run one scenario; LoadGen's logs stay in `logs`.

    Raises:
        UsageError: invalid durations or rates.
        QuincunxError: LoadGen is not installed, or left no summary.
    """
    loadgen = require_loadgen()
    rate = 1.0 if plan.server_per_second is None else plan.server_per_second
    if not all(0 < value < inf for value in (plan.seconds, plan.server_latency_ms, rate)):
        raise UsageError("seconds, the Server rate and its latency must be positive numbers")
    pixels = [predictor.open_image(data) for data in images.files]
    answerer = _Answerer(predictor, Options(tta=plan.mode), pixels, loadgen)
    per_second = answerer.estimate()
    logs.mkdir(parents=True, exist_ok=True)
    sut = loadgen.ConstructSUT(answerer.issue, _nothing)
    library = loadgen.ConstructQSL(len(pixels), len(pixels), _nothing, _nothing)
    try:
        with answerer:
            loadgen.StartTestWithLogSettings(
                sut, library, _settings(loadgen, plan, per_second), _log_settings(loadgen, logs)
            )
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(sut)
    if answerer.error is not None:
        raise answerer.error
    return read_outcome(plan, logs / SUMMARY)


def read_outcome(plan: MlperfPlan, path: Path) -> Outcome:
    """Read LoadGen's summary. Raises QuincunxError if there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise QuincunxError(f"LoadGen left no summary in {path}: {error.strerror}") from error
    pairs = [line.partition(":") for line in lines if ":" in line]
    summary = {key.strip(): value.strip() for key, _, value in pairs}
    judged = [key for key in summary if _judges(key)]
    return Outcome(
        plan.scenario,
        plan.mode,
        summary.get("Result is") == "VALID",
        f"{judged[0]}: {summary[judged[0]]}" if judged else "",
        summary,
    )


def _judges(key: str) -> bool:
    return "percentile latency (ns)" in key or "amples per second" in key


class _Answerer:
    """Answers queries in its own thread, and batches all waiting queries, as a server does."""

    def __init__(
        self, predictor: Predictor, options: Options, pixels: Sequence[AnyImage], loadgen: Any
    ) -> None:
        self.error: Exception | None = None
        self._predictor = predictor
        self._options = options
        self._pixels = pixels
        self._loadgen = loadgen
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()

    def issue(self, samples: Sequence[Any]) -> None:
        """LoadGen's callback: take the samples and return at once."""
        for sample in samples:
            self._waiting.put(sample)

    def estimate(self) -> float:
        """A rough rate in images per second, in batches. LoadGen needs it to plan its queries."""
        chosen = [index % len(self._pixels) for index in range(ESTIMATE_IMAGES)]
        self._classify(chosen)  # warm-up
        start = time.perf_counter()
        self._classify(chosen)
        return ESTIMATE_IMAGES / (time.perf_counter() - start)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            batch = [self._waiting.get()]
            while len(batch) < MAX_BATCH_IMAGES and not self._waiting.empty():
                batch.append(self._waiting.get())
            stopping = None in batch
            self._complete([sample for sample in batch if sample is not None])

    def _complete(self, samples: Sequence[Any]) -> None:
        labels = np.zeros(len(samples), np.int32)
        if self.error is None:
            try:
                labels = self._classify([sample.index for sample in samples])
            except QuincunxError as error:
                # LoadGen waits for every sample. So answer all of them and raise after the test.
                self.error = error
        responses = [
            self._loadgen.QuerySampleResponse(
                sample.id, int(labels[i : i + 1].ctypes.data), labels.itemsize
            )
            for i, sample in enumerate(samples)
        ]
        self._loadgen.QuerySamplesComplete(responses)

    def _classify(self, indices: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        generators = [
            self._predictor.start(self._pixels[index], self._options) for index in indices
        ]
        answers = run_all(generators, self._predictor.session, MAX_BATCH_VIEWS)
        return np.array([answer.probabilities.argmax() for answer in answers], np.int32)


def _settings(loadgen: Any, plan: MlperfPlan, per_second: float) -> Any:
    settings = loadgen.TestSettings()
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.scenario = getattr(loadgen.TestScenario, plan.scenario)
    settings.min_duration_ms = round(plan.seconds * 1e3)
    settings.min_query_count = 1
    settings.single_stream_expected_latency_ns = round(1e9 / per_second)
    settings.multi_stream_expected_latency_ns = round(STREAMS * 1e9 / per_second)
    settings.multi_stream_samples_per_query = STREAMS
    settings.server_target_qps = plan.server_per_second or SERVER_SHARE * per_second
    settings.server_target_latency_ns = round(plan.server_latency_ms * 1e6)
    settings.server_target_latency_percentile = 0.99
    settings.offline_expected_qps = per_second
    return settings


def _log_settings(loadgen: Any, logs: Path) -> Any:
    output = loadgen.LogOutputSettings()
    output.outdir = str(logs)
    output.copy_summary_to_stdout = False
    settings = loadgen.LogSettings()
    settings.log_output = output
    settings.enable_trace = False
    return settings


def _nothing(*_: object) -> None:
    """LoadGen's other callbacks: nothing is flushed, and every image is in memory already."""
