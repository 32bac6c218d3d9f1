"""The cost model counts what a network does, and its fit and its prediction follow from it."""

from pathlib import Path

import pytest
import torch

from benchmarks.performance.__main__ import markdown, run
from benchmarks.performance.accelerator import Accelerator, predict
from benchmarks.performance.constants import line
from benchmarks.performance.work import count
from service.bench.report.statistics import Interval
from service.package.package import ModelPackage
from training.network import architecture
from training.recipe import Recipe


def convolutions(side_px: int, package: Path) -> tuple[int, int, int, int]:
    """Counted while torch runs them: operations and weights of the network's convolutions, and
    operations and values of its poolings of 2×2, which the int8 graph does by convolution."""
    manifest = ModelPackage.load(package).manifest
    recipe, classes = Recipe.from_json(manifest.provenance["recipe"]), len(manifest.labels)
    network = architecture.build(recipe.architecture, classes).eval()
    found = [0, 0, 0, 0]

    def add(layer: torch.nn.Conv2d, _: object, made: torch.Tensor) -> None:
        found[0] += 2 * layer.weight.numel() * made.shape[2] * made.shape[3]
        found[1] += layer.weight.numel()

    def pool(_: object, given: tuple[torch.Tensor], made: torch.Tensor) -> None:
        found[2] += 2 * 4 * made.numel()
        found[3] += given[0].numel() + made.numel()

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(add)
        elif isinstance(layer, torch.nn.AvgPool2d):
            layer.register_forward_hook(pool)
    with torch.inference_mode():
        network(torch.zeros(1, 3, side_px, side_px))
    head = list(network.parameters())[-2].numel()  # a 1×1 convolution, once exported
    return found[0] + 2 * head * (side_px // 32) ** 2, found[1] + head, found[2], found[3]


@pytest.mark.parametrize("side_px", [64, 96])
def test_operations_and_weights_are_torchs(exported: Path, side_px: int) -> None:
    operations, weights, pooling, pooled = convolutions(side_px, exported)
    fp32 = count(exported / "model.onnx", "fp32", side_px)
    int8 = count(exported / "model.int8.onnx", "int8", side_px)
    assert fp32.operations == operations
    assert int8.operations == operations + pooling
    assert fp32.weight_bytes == 4 * weights
    assert weights <= int8.weight_bytes < 1.2 * weights  # its first layer and its head stay float
    assert (int8.activation_bytes - pooled) * 4 == fp32.activation_bytes


def test_the_line_goes_through_times_that_lie_on_one() -> None:
    def at(milliseconds: float) -> Interval:
        return Interval(milliseconds, milliseconds, milliseconds)

    fitted = line({(64, 1): at(1 + 3 * 0.25), (128, 1): at(4.0), (128, 5): at(16.0)}, 128)
    assert (fitted.fixed, fitted.per_crop) == pytest.approx((1.0, 3.0))
    assert fitted.ms(10) == pytest.approx(31.0)


def test_the_slowest_part_is_the_limit() -> None:
    machine = Accelerator("a GPU", 4, fp16_tops=100.0, used_share=0.5, link_gbytes=1.0)
    rates = predict(machine, decode_ms=2.0, view_pixels=50_000, operations=1e9)
    assert rates.decode == pytest.approx(2_000)
    assert rates.transfer == pytest.approx(1e9 / 150_000)
    assert rates.compute == pytest.approx(50_000)
    assert (rates.limit, rates.images_per_second) == ("decode", rates.decode)
    busy = predict(machine, decode_ms=2.0, view_pixels=50_000, operations=1e11)
    assert busy.limit == "compute"


def test_a_run_holds_the_model_to_measurements(exported: Path) -> None:
    results = run(exported, None, rounds=2, threads=1)
    assert {mode["mode"] for mode in results["precisions"]["int8"]["modes"]} == {
        "none", "five_crop", "ten_crop", "dense", "centre_dense",
    }  # fmt: skip
    by_views = {(p["side_px"], p["views"]): p for p in results["precisions"]["fp32"]["passes"]}
    assert by_views[64, 5]["operations_ms"] == pytest.approx(5 * by_views[64, 1]["operations_ms"])
    results["command"] = "python -m benchmarks.performance PACKAGE"
    text = markdown(results)
    assert "## Predicted: H100" in text
    assert "| five_crop | 5.00 |" in text
