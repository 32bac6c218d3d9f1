"""A teacher: another model whose logits a network learns from.

A run, and a package of a network that torch can build, run in torch on the device of the training.
Any other package runs its fp32 graph in ONNX Runtime.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.console.text import storable
from service.errors import UsageError
from service.inference.runtime.session import open_sessions
from service.package.manifest import Manifest, TaskName
from service.package.package import ModelPackage
from training.data.stats import ChannelStats
from training.network import architecture
from training.network.weights import weights_from_package
from training.recipe import Architecture, Recipe
from training.run import checkpoint

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Teacher:
    """The model, and the facts that a run stores about it."""

    logits: Logits
    """float[N, 3, H, W] in units of 0..1, on any device -> logits float32[N, K] on that device, in
    the order of the student's classes."""
    facts: dict[str, Any]


def open_teacher(folder: Path, classes: Sequence[str], task: TaskName) -> Teacher:
    """The model package or the run in `folder`, for a student of these classes.

    Raises:
        UsageError: the teacher has other classes or another task.
        ModelPackageError, DataError: the folder holds neither, or a broken one.
    """
    if (folder / checkpoint.STATE).exists():
        state = checkpoint.load(folder)
        logits = _in_torch(
            Recipe.from_json(state.facts["recipe"]).architecture,
            len(state.facts["classes"]),
            state.weights,
            ChannelStats.from_json(state.facts["normalization"]),
        )
        own, own_task = state.facts["classes"], state.facts.get("task", "single_label")
        content = b"".join(
            value.contiguous().cpu().numpy().tobytes() for value in state.weights.values()
        )
        name = storable(folder.resolve().name)
    else:
        package = ModelPackage.load(folder)
        manifest = package.manifest
        own, own_task = [label.id for label in manifest.labels], manifest.task
        content = package.read("fp32")
        logits = _of_package(folder, package)
        name = f"{manifest.name}@{manifest.version}"
    if own_task != task:
        raise UsageError(f"--teacher {folder} is {own_task}, and the data are {task}")
    if set(own) != set(classes):
        odd = sorted(set(own) ^ set(classes))
        raise UsageError(
            f"--teacher {folder} has {len(own)} classes and the data have {len(classes)}; "
            f"{len(odd)} are in one of them only, {odd[0]!r} first"
        )
    order = torch.tensor([list(own).index(name) for name in classes])
    facts = {"name": name, "sha256": hashlib.sha256(content).hexdigest()}
    return Teacher(lambda pixels: logits(pixels)[:, order.to(pixels.device)], facts)


def _of_package(folder: Path, package: ModelPackage) -> Logits:
    kind, manifest = package.manifest.architecture, package.manifest
    if kind.get("name") in architecture.names():
        built = Architecture(
            name=kind["name"],
            act=kind.get("act", "relu"),
            self_attention=kind.get("self_attention", False),
            widen=kind.get("widen", 1.0),
        )
        stats = manifest.normalization
        normalization = ChannelStats(stats.mean, stats.std, stats.source)
        weights = weights_from_package(folder)
        return _in_torch(built, len(manifest.labels), weights, normalization)
    return in_onnx_runtime(package.path("fp32"), package.read("fp32"), manifest)


def _in_torch(
    kind: Architecture, classes: int, weights: dict[str, Tensor], stats: ChannelStats
) -> Logits:
    network: Any = architecture.build(kind, classes)
    missing, _ = network.load_state_dict(weights, strict=False)
    if missing := [name for name in missing if not name.endswith("num_batches_tracked")]:
        raise UsageError(f"--teacher: {len(missing)} weights are missing, {missing[0]} first")
    network.eval().requires_grad_(False)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (stats.mean, stats.std))
    placed: dict[torch.device, tuple[nn.Module, Tensor, Tensor]] = {}

    def logits(pixels: Tensor) -> Tensor:
        device = pixels.device
        if device not in placed:
            moved = network.to(device, memory_format=torch.channels_last)
            placed[device] = (moved, mean.to(device), std.to(device))
        moved, shift, scale = placed[device]
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return moved((pixels - shift) / scale).float()

    return logits


def in_onnx_runtime(path: Path, graph: bytes, manifest: Manifest) -> Logits:
    """The logits of a package's graph. Pixels are rounded to 8 bits, which the graph takes.

    Images are resized if the graph takes only fixed or larger sizes.
    """
    (session,) = open_sessions(path, None, (0,), graph=manifest.graph, data=graph)
    sizes, smallest_px = manifest.graph.sizes, manifest.graph.smallest_px

    def logits(pixels: Tensor) -> Tensor:
        wanted = [max(side_px, smallest_px) for side_px in pixels.shape[2:]]
        if sizes != "dynamic":
            wanted = list(sizes[0])
        if wanted != list(pixels.shape[2:]):
            pixels = functional.interpolate(pixels, wanted, mode="bilinear", antialias=True)
        views = (pixels * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return torch.from_numpy(session.run(views, "logits")).to(pixels.device)

    return logits
