"""A small xresnet that was never trained, with statistics as if it had been, and its run folder."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from tests.support.images import drawn
from training.data.dataset import split
from training.data.stats import ChannelStats
from training.network import architecture
from training.recipe import Architecture, Recipe, Stage
from training.run import checkpoint
from training.run.checkpoint import Checkpoint

STATS = ChannelStats((0.5, 0.45, 0.4), (0.25, 0.26, 0.27), "dataset")
RECIPE = Recipe(
    summary="untrained",
    stages=(Stage(epochs=1, size_px=64),),
    architecture=Architecture(name="xresnet18", widen=0.25),
    crop_px=64,
    resize_px=96,
    calibration_share=0.2,
)


def network(kind: Architecture = RECIPE.architecture, classes: int = 3) -> nn.Sequential:
    """A network whose batch normalization has seen images and whose every path is alive."""
    torch.manual_seed(0)
    made = architecture.build(kind, classes)
    assert isinstance(made, nn.Sequential)  # an xresnet, no backbone
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            # fastai starts the last one of a residual block at zero: its convolutions do nothing.
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        if isinstance(gamma := getattr(module, "gamma", None), nn.Parameter):
            nn.init.constant_(gamma, 0.5)  # self-attention starts switched off
    made.train()
    for seed in range(3):
        pixels = torch.stack([torch.from_numpy(drawn(64, 64, 10 * seed + i)) for i in range(8)])
        with torch.no_grad():
            made(normalized(pixels))
    return made.eval()


def normalized(images: torch.Tensor) -> torch.Tensor:
    """uint8[N, H, W, 3] -> float32[N, 3, H, W], the plain way."""
    x = images.permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(STATS.mean).view(3, 1, 1)) / torch.tensor(STATS.std).view(3, 1, 1)


def write_run(folder: Path, data: Path, *, finished: bool = True) -> Path:
    """A run's folder, as training would leave it."""
    images = split(data, RECIPE)
    row = {"epoch": 1, "size_px": 64, "calibration_accuracy": 0.3, "seconds": 1.0}
    facts = {
        "format": 1,
        "recipe": RECIPE.to_json(),
        "classes": list(images.classes),
        "normalization": asdict(STATS),
        "fingerprint": images.fingerprint(),
        "finished": finished,
        "precision": "fp32",
        "history": [row],
    }
    weights = network(classes=len(images.classes)).state_dict()
    checkpoint.save(folder, Checkpoint(weights, {}, facts))
    return folder
