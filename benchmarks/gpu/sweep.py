# pyright: basic, reportMissingTypeStubs=false
# (onnxruntime has no type stubs)
"""The engine alone: precision × layout × CUDA graph, on the device and from host memory to host.

`device` runs the same batch again and again without copies. `host` copies each batch to the device
and each result back. `product` is the session that the product opens, asked from two threads, as it
is while it serves.
"""

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.gpu.engine import Clock, opened
from service.inference.opening import derived
from service.inference.runtime import providers
from service.inference.runtime.providers import Chosen, Provider
from service.package.manifest import Precision
from service.package.package import ModelPackage

VIEWS = (1, 8, 32, 64)
WARM_UP_RUNS = 3
THREADS = 2
MEASURE_S = (0.05, 0.6)
"""The shortest and the longest time for one figure."""


@dataclass(frozen=True)
class Case:
    """How the graph is opened."""

    precision: Precision
    tf32: bool = True
    channels_last: bool = True
    graph: bool = True

    @property
    def names(self) -> dict[str, Any]:
        kind = f"{self.precision}{'+TF32' if self.tf32 and self.precision == 'fp32' else ''}"
        layout = "channels last" if self.channels_last else "channels first"
        return {"precision": kind, "layout": layout, "graph": "yes" if self.graph else "no"}


CASES = (
    Case("fp16"),
    Case("fp16", graph=False),
    Case("fp16", channels_last=False),
    Case("fp32"),
    Case("fp32", channels_last=False),
    Case("fp32", graph=False),
    Case("fp32", tf32=False, channels_last=False),
)


def sweep(package: ModelPackage, provider: Provider, left_s: Clock) -> Generator[dict[str, Any]]:
    """Views per second: the product's own session beside each case, fp16 first."""
    chosen = providers.choose(provider)
    # On a CPU there is no layout to choose and no graph to record.
    cases = CASES if chosen != "cpu" else (Case("fp32", tf32=False, graph=False),)
    precisions: tuple[Precision, ...] = ("fp16", "fp32") if chosen != "cpu" else ("fp32",)
    figures = len(VIEWS) * (2 * len(cases) + len(precisions))
    seconds = min(MEASURE_S[1], max(MEASURE_S[0], left_s() / figures / 2))
    own = list(precisions)
    for number, case in enumerate(cases):
        if number and left_s() <= 0:
            break
        if case.precision in own:  # just before the same engine without the product
            own.remove(case.precision)
            yield from _product(package, case.precision, provider, seconds)
        yield from _of_case(package, case, chosen, seconds)


def _product(
    package: ModelPackage, precision: Precision, provider: Provider, seconds: float
) -> Iterator[dict[str, Any]]:
    session = opened(package, precision, provider)
    side = package.manifest.input.crop_px
    for views in VIEWS:
        batch = np.zeros((views, side, side, 3), np.uint8)
        for _ in range(WARM_UP_RUNS):
            _at_once(THREADS, lambda batch=batch: session.run(batch, "logits"))
        counts = [0] * THREADS
        until = perf_counter() + seconds
        began = perf_counter()

        def work(
            number: int, batch: Any = batch, counts: list[int] = counts, until: float = until
        ) -> None:
            while perf_counter() < until:
                session.run(batch, "logits")
                counts[number] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield {
            "precision": precision, "layout": "the product's", "graph": "the product's",
            "views": views, "where": f"product, {THREADS} threads",
            "views_per_second": views * sum(counts) / (perf_counter() - began),
        }  # fmt: skip


def _at_once(number: int, work: Any) -> None:
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _of_case(
    package: ModelPackage, case: Case, chosen: Chosen, seconds: float
) -> Iterator[dict[str, Any]]:
    data = package.read("fp32")
    if case.precision == "fp16":
        data = derived(data) if package.derives("fp16") else package.read("fp16")
    wanted = providers.settings(chosen, tf32=case.tf32)
    if chosen != "cpu":
        wanted[0][1]["prefer_nhwc"] = "1" if case.channels_last else "0"
        wanted[0][1]["enable_cuda_graph"] = "1" if case.graph else "0"
    options = providers.session_options(chosen, 0)
    session = ort.InferenceSession(data, options, providers=wanted, enable_fallback=0)
    side, classes = package.manifest.input.crop_px, len(package.manifest.labels)
    for number, views in enumerate(VIEWS, 1):
        batch = np.zeros((views, side, side, 3), np.uint8)
        images = ort.OrtValue.ortvalue_from_numpy(batch, chosen, 0)
        result = ort.OrtValue.ortvalue_from_shape_and_type([views, classes], np.float32, chosen, 0)
        binding = session.io_binding()
        binding.bind_ortvalue_input("images", images)
        if any(value.name == "windows" for value in session.get_inputs()):
            whole = np.array([[0, 0, 1, 1]], np.float32)
            windows = ort.OrtValue.ortvalue_from_numpy(whole, chosen, 0)
            binding.bind_ortvalue_input("windows", windows)
        binding.bind_ortvalue_output("logits", result)
        run_options = ort.RunOptions()
        run_options.only_execute_path_to_fetches = True
        if case.graph:
            run_options.add_run_config_entry("gpu_graph_id", str(number))

        def on_device(binding: Any = binding, run_options: Any = run_options) -> None:
            session.run_with_iobinding(binding, run_options)

        def from_host(images: Any = images, batch: Any = batch, result: Any = result) -> None:
            images.update_inplace(batch)
            on_device(binding, run_options)  # noqa: B023  # called within this turn
            result.numpy()

        for where, work in (("device", on_device), ("host", from_host)):
            rate = views * _per_second(work, seconds)
            yield {**case.names, "views": views, "where": where, "views_per_second": rate}


def _per_second(work: Any, seconds: float) -> float:
    for _ in range(WARM_UP_RUNS):
        work()
    began, runs = perf_counter(), 0
    while (passed := perf_counter() - began) < seconds:
        work()
        runs += 1
    return runs / passed
