"""Small image classifiers with random weights, exported to ONNX in the usual ways."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from training.imports.given import Given
from training.imports.package import Imported, write
from training.imports.sources import open_source

SIDE_PX = 96
CLASSES = 5
CHANNELS = 24
How = Literal["fixed", "batch", "free", "dynamo", "dynamo_fixed"]
"""`fixed`, `batch`, `free`: TorchScript's exporter with 1×3×S×S, with a free batch, with free
sides. `dynamo`, `dynamo_fixed`: the exporter of torch 2 with every axis free, and with none."""


class ConcatPool(nn.Module):
    """fastai's AdaptiveConcatPool2d: the maximum, then the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.max = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.max(features), self.mean(features)], 1)


class Step(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, value: Tensor) -> Tensor:
        return self.function(value)


def body() -> list[nn.Module]:
    """Convolutions of stride 8: [N, 3, H, W] -> [N, 24, H/8, W/8]."""
    return [
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(16, CHANNELS, 3, 2, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
    ]  # fmt: skip


def classifier(*end: nn.Module, start: tuple[nn.Module, ...] = ()) -> nn.Sequential:
    """`start`, the convolutions, and `end`; statistics of batch normalization are drawn too."""
    network = nn.Sequential(*start, *body(), *end)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.reset_parameters()
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean, std=0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return network.eval()


def average_linear(*more: nn.Module) -> list[nn.Module]:
    """The usual end: average pooling and a linear layer."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, CLASSES), *more]


def fastai_head() -> list[nn.Module]:
    """The end that fastai's `vision_learner` gives to any body."""
    return [
        ConcatPool(), nn.Flatten(),
        nn.BatchNorm1d(2 * CHANNELS), nn.Dropout(0.25), nn.Linear(2 * CHANNELS, 16, bias=False),
        nn.ReLU(inplace=True), nn.BatchNorm1d(16), nn.Dropout(0.5),
        nn.Linear(16, CLASSES, bias=False),
    ]  # fmt: skip


def exported(
    module: nn.Module,
    path: Path,
    how: How = "fixed",
    *,
    opset: int = 17,
    side_px: int = SIDE_PX,
    example: Tensor | None = None,
) -> Path:
    """Write `module` to `path`, as `how` says."""
    free = torch.export.Dim.DYNAMIC
    shape = (2, 3, side_px, side_px + 32) if how == "dynamo" else (1, 3, side_px, side_px)
    given = torch.zeros(shape) if example is None else example
    axes = {"batch": {0: "N"}, "free": {0: "N", 2: "H", 3: "W"}}.get(how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about themselves
        if how in ("dynamo", "dynamo_fixed"):
            shapes = ({0: free, 2: free, 3: free},) if how == "dynamo" else None
            torch.onnx.export(
                module, (given,), path, dynamo=True, dynamic_shapes=shapes,
                external_data=False, verbose=False,
            )  # fmt: skip
        else:
            torch.onnx.export(
                module, (given,), path, dynamo=False, opset_version=opset,
                input_names=["input"], output_names=["output"],
                dynamic_axes={"input": axes, "output": {0: "N"}} if axes else None,
            )  # fmt: skip
    return path


NAMED: dict[str, Any] = {
    "labels": "numbers",
    "normalization": "imagenet",
    "crop_px": SIDE_PX,
    "resize_px": SIDE_PX + 16,
    "interpolation": "bicubic",
}


def imported(path: Path, folder: Path, **changes: Any) -> Imported:
    """Import an ONNX file as a package, with the options of `NAMED` and `changes`."""
    converted, spec = open_source(str(path), Given(**{**NAMED, **changes}))
    return write(converted, spec, folder, log=lambda _: None)
