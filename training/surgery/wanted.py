"""What the caller knows of a model, and what the conversion found."""

from dataclasses import dataclass
from typing import Literal

import onnx

Layout = Literal["NCHW", "NHWC"]
Channels = Literal["RGB", "BGR"]
Activation = Literal["none", "softmax", "log_softmax", "sigmoid"]
Kind = Literal["class_map", "windows", "crops"]
Sizes = Literal["dynamic"] | tuple[tuple[int, int], ...]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Wanted:
    """What an ONNX file does not say about its input and output.

    The network gets `(pixel / 255 - mean) / std`, where pixels are 0 to 255. For a network with
    the normalization inside that takes 0 to 1, mean is 0 and std 1. For one that takes 0 to 255,
    std is 1 / 255.
    """

    mean: Triple
    std: Triple
    crop_px: int = 224
    """The side at which a graph with free sides is examined."""
    layout: Layout | None = None
    """None: found from the axis that has 3 channels."""
    channels: Channels = "RGB"
    activation: Activation | None = None
    """What the output of the source is: "none" means logits. None: found from the last nodes."""
    output: str | None = None
    """The output with the classes, where there are several."""


@dataclass(frozen=True)
class Converted:
    """A graph of the package contract, and what was found.

    `model` takes `images uint8[N, H, W, 3]`, and `windows float32[V, 4]` if `kind` is windows.
    """

    model: onnx.ModelProto
    kind: Kind
    sizes: Sizes
    stride_px: int
    """Pixels between neighbouring cells of the last features; 1 if `kind` is crops."""
    smallest_px: int
    classes: int
    activation: Activation
    """What the output of the source was. The graph always gives logits."""
    wanted: Wanted
    source_sizes: Sizes
    """The sizes that the source itself takes."""
    reason: str = ""
    """Why `kind` is crops, or why the sizes are fixed."""
    notes: tuple[str, ...] = ()
    """What was done, one sentence each."""
    head: onnx.ModelProto | None = None
    """The head of the source, from pooled features to logits: for the check of windows."""
    features: str = ""
    """The tensor [N, C, h, w] of `model` that the pools read."""
    pools: tuple[Literal["mean", "max"], ...] = ()
    """How each input of `head` is pooled."""
    embedding: int | None = None
    """C of the output `embedding float32[N, C]`; None if no features were found."""
