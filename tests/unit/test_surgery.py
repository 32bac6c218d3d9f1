"""Surgery on ONNX graphs: any classifier becomes a graph of a package, equal to its source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import training.torchvision_compat  # noqa: F401
from service.errors import ImportRefused
from tests.support.classifiers import (
    CHANNELS,
    CLASSES,
    SIDE_PX,
    How,
    Step,
    average_linear,
    classifier,
    exported,
    fastai_head,
)
from training.surgery import Converted, Wanted, by_hand, convert
from training.surgery.probe import smooth_images
from training.surgery.reading import loading, signature
from training.surgery.sizes import Finished
from training.surgery.source import SourceFunction

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WINDOWS = [(0.0, 0.0, 1.0, 1.0), (0.0, 0.1, 0.55, 0.8), (0.31, 0.2, 0.97, 0.81), (0.9, 0.9, 1, 1)]
SHAPES = [(1, SIDE_PX, SIDE_PX), (2, 120, 160), (3, 97, 81)]


def wanted(**changes: Any) -> Wanted:
    return Wanted(**{"mean": MEAN, "std": STD, "crop_px": SIDE_PX, **changes})


def pooled_by(function: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    return classifier(Step(function), nn.Linear(CHANNELS, CLASSES))


AFFINE: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: classifier(*average_linear()),
    "normalized": lambda: classifier(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(CHANNELS), nn.Dropout(0.5),
        nn.Linear(CHANNELS, 12, bias=False), nn.BatchNorm1d(12), nn.Identity(),
        nn.Linear(12, CLASSES),
    ),
    "convolution": lambda: classifier(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(CHANNELS, CLASSES, 1), nn.Flatten()
    ),
    "convolution_first": lambda: classifier(
        nn.Conv2d(CHANNELS, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "mean": lambda: pooled_by(lambda x: x.mean((2, 3))),
    "mean_of_means": lambda: pooled_by(lambda x: x.mean(3).mean(2)),
    "mean_of_flat": lambda: pooled_by(lambda x: x.flatten(2).mean(-1)),
    "mean_of_tokens": lambda: pooled_by(lambda x: x.flatten(2).transpose(1, 2).mean(1)),
    "channels_last": lambda: pooled_by(lambda x: x.permute(0, 2, 3, 1).mean((1, 2))),
}  # fmt: skip
OTHER: dict[str, Callable[[], nn.Module]] = {
    "fastai": lambda: classifier(*fastai_head()),
    "hidden_layer": lambda: classifier(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 8), nn.Hardswish(),
        nn.Linear(8, CLASSES),
    ),
    "layer_norm": lambda: classifier(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, CLASSES)
    ),
    "maximum": lambda: classifier(
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, CLASSES)
    ),
    "generalized_mean": lambda: pooled_by(
        lambda x: x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
    ),
}  # fmt: skip
HOWS: tuple[How, ...] = ("fixed", "batch", "free", "dynamo", "dynamo_fixed")


def check(
    path: Path,
    result: Converted,
    shapes: list[tuple[int, int, int]],
    windows_at: tuple[int, int] = (120, 160),
) -> None:
    """The graph equals its source, and its windows equal windows that are cut by hand."""
    onnx.checker.check_model(result.model, full_check=True)
    model = loading.load(path)
    source = SourceFunction(model, signature.read(model, result.wanted), result.wanted)
    graph = Finished(result.model, result.features)
    for shape in shapes:
        images = smooth_images(*shape)
        expected, found = source(images), graph.run(images, WINDOWS)
        assert np.abs(found["logits"] - expected).max() <= 1e-5 * np.abs(expected).max()
    if result.head is None:
        return
    found = graph.run(smooth_images(2, *windows_at), WINDOWS)
    cut = by_hand.window_logits(found[result.features], WINDOWS, result.head, result.pools)
    if result.kind == "class_map":
        read = by_hand.class_map_logits(found["class_map"], WINDOWS)
    else:
        read = found["window_logits"]
    assert np.abs(read - cut).max() <= 1e-5 * np.abs(cut).max()
    assert np.abs(cut[:, 0] - found["logits"]).max() <= 1e-5 * np.abs(cut).max()
    assert np.abs(cut[:, 1] - cut[:, 2]).max() > 1e-4 * np.abs(cut).max()  # windows matter


@pytest.mark.parametrize("how", HOWS)
def test_an_affine_head_becomes_a_class_map(how: How, tmp_path: Path) -> None:
    path = exported(AFFINE["linear"](), tmp_path / "model.onnx", how)
    result = convert(loading.load(path), wanted())
    assert (result.kind, result.sizes, result.stride_px) == ("class_map", "dynamic", 8)
    assert (result.classes, result.activation, result.smallest_px) == (CLASSES, "none", 8)
    free = how in ("free", "dynamo")
    assert result.source_sizes == ("dynamic" if free else ((SIDE_PX, SIDE_PX),))
    check(path, result, SHAPES if free else [(1, SIDE_PX, SIDE_PX), (3, SIDE_PX, SIDE_PX)])


@pytest.mark.parametrize("name", [name for name in AFFINE if name != "linear"])
def test_affine_heads_and_average_pools_in_every_spelling(name: str, tmp_path: Path) -> None:
    how = "dynamo" if name in ("mean", "normalized") else "fixed"  # dynamo takes seconds
    path = exported(AFFINE[name](), tmp_path / "model.onnx", how)
    result = convert(loading.load(path), wanted())
    assert (result.kind, result.sizes) == ("class_map", "dynamic")
    check(path, result, SHAPES if how == "dynamo" else [(2, SIDE_PX, SIDE_PX)])


@pytest.mark.parametrize("name", OTHER)
def test_any_other_head_runs_on_windows(name: str, tmp_path: Path) -> None:
    hows: tuple[How, ...] = ("free", "dynamo") if name == "fastai" else ("free",)
    for how in hows:
        path = exported(OTHER[name](), tmp_path / f"{how}.onnx", how)
        result = convert(loading.load(path), wanted())
        assert (result.kind, result.sizes, result.stride_px) == ("windows", "dynamic", 8), how
        check(path, result, SHAPES)


def test_a_model_without_global_pooling_serves_crops_of_its_own_size(tmp_path: Path) -> None:
    cells = SIDE_PX // 8
    network = classifier(nn.Flatten(), nn.Linear(CHANNELS * cells * cells, CLASSES))
    path = exported(network, tmp_path / "model.onnx")
    result = convert(loading.load(path), wanted())
    assert (result.kind, result.sizes) == ("crops", ((SIDE_PX, SIDE_PX),))
    assert "global pooling" in result.reason
    check(path, result, [(1, SIDE_PX, SIDE_PX), (2, SIDE_PX, SIDE_PX)])


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_files_of_old_opsets(opset: int, tmp_path: Path) -> None:
    path = exported(AFFINE["normalized"](), tmp_path / "model.onnx", "batch", opset=opset)
    result = convert(loading.load(path), wanted())
    assert (result.kind, result.sizes) == ("class_map", "dynamic")
    check(path, result, [(2, SIDE_PX, SIDE_PX)])


@pytest.mark.parametrize(
    ("end", "activation"),
    [(nn.Softmax(1), "softmax"), (nn.LogSoftmax(1), "log_softmax"), (nn.Sigmoid(), "sigmoid")],
)
def test_what_stands_after_the_logits_is_taken_off(
    end: nn.Module, activation: str, tmp_path: Path
) -> None:
    whole = classifier(*average_linear(end))
    path = exported(whole, tmp_path / "model.onnx")
    result = convert(loading.load(path), wanted())
    assert (result.activation, result.kind) == (activation, "class_map")
    assert any("taken off" in note for note in result.notes)
    check(exported(whole[:-1], tmp_path / "bare.onnx"), result, [(2, SIDE_PX, SIDE_PX)])


def test_a_softmax_that_is_written_out_gives_logits_by_the_logarithm(tmp_path: Path) -> None:
    written = Step(lambda x: x.exp() / x.exp().sum(1, keepdim=True))
    path = exported(classifier(*average_linear(written)), tmp_path / "model.onnx")
    result = convert(loading.load(path), wanted())
    assert (result.activation, result.kind) == ("softmax", "windows")
    images = smooth_images(2, SIDE_PX, SIDE_PX)
    model = loading.load(path)
    source = SourceFunction(model, signature.read(model, result.wanted), result.wanted)
    logits = Finished(result.model).run(images)["logits"]
    assert np.allclose(np.exp(logits), source(images), rtol=1e-4)


def test_a_sigmoid_that_is_written_out_must_be_named(tmp_path: Path) -> None:
    written = Step(lambda x: 1 / (1 + (-x).exp()))
    model = loading.load(exported(classifier(*average_linear(written)), tmp_path / "model.onnx"))
    with pytest.raises(ImportRefused, match="--activation none, softmax or sigmoid"):
        convert(model, wanted())
    result = convert(model, wanted(activation="sigmoid"))
    assert result.activation == "sigmoid"
    bare = exported(classifier(*average_linear()), tmp_path / "bare.onnx")
    images = smooth_images(2, SIDE_PX, SIDE_PX)
    source = SourceFunction(loading.load(bare), signature.read(model, result.wanted), result.wanted)
    logits = Finished(result.model).run(images)["logits"]
    assert np.allclose(logits, source(images), rtol=1e-3, atol=1e-4)


def test_a_statement_about_the_end_that_is_wrong_is_refused(tmp_path: Path) -> None:
    model = loading.load(exported(classifier(*average_linear()), tmp_path / "model.onnx"))
    with pytest.raises(ImportRefused, match="--activation softmax, but"):
        convert(model, wanted(activation="softmax"))


def test_channels_last_and_bytes_and_channels_in_reverse_order(tmp_path: Path) -> None:
    last = Step(lambda x: x.permute(0, 3, 1, 2))
    path = exported(
        classifier(*average_linear(), start=(last,)), tmp_path / "last.onnx",
        example=torch.zeros(1, SIDE_PX, SIDE_PX, 3),
    )  # fmt: skip
    result = convert(loading.load(path), wanted())
    assert (result.kind, result.sizes) == ("class_map", "dynamic")
    check(path, result, [(2, SIDE_PX, SIDE_PX)])

    inside = Step(lambda x: (x.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25)
    path = exported(
        classifier(*average_linear(), start=(inside,)), tmp_path / "bytes.onnx",
        example=torch.zeros(1, SIDE_PX, SIDE_PX, 3, dtype=torch.uint8),
    )  # fmt: skip
    result = convert(loading.load(path), wanted())
    assert (result.kind, result.wanted.mean, result.wanted.std) == ("class_map", (0,) * 3, (1,) * 3)
    check(path, result, [(2, SIDE_PX, SIDE_PX)])

    path = exported(classifier(*average_linear()), tmp_path / "bgr.onnx")
    result = convert(loading.load(path), wanted(channels="BGR", std=(1 / 255,) * 3))
    check(path, result, [(2, SIDE_PX, SIDE_PX)])


def test_group_normalization_and_channel_shuffle_follow_the_size(tmp_path: Path) -> None:
    def shuffle(x: torch.Tensor) -> torch.Tensor:
        number, channels, high, wide = x.shape
        parts = x.view(number, 2, channels // 2, high, wide)
        return parts.transpose(1, 2).reshape(number, channels, high, wide)

    network = classifier(nn.GroupNorm(4, CHANNELS), Step(shuffle), *average_linear())
    fixed = convert(loading.load(exported(network, tmp_path / "fixed.onnx")), wanted())
    assert (fixed.kind, fixed.sizes) == ("class_map", "dynamic")
    free = exported(network, tmp_path / "free.onnx", "dynamo")
    check(free, fixed, SHAPES)  # the graph of one size equals the export with free sizes


def test_same_padding_holds_at_multiples_of_the_stride(tmp_path: Path) -> None:
    network = classifier(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2), *average_linear())
    result = convert(loading.load(exported(network, tmp_path / "model.onnx")), wanted())
    assert (result.kind, result.sizes, result.stride_px) == ("class_map", "dynamic", 16)
    path = exported(network, tmp_path / "uneven.onnx", side_px=SIDE_PX + 8)
    result = convert(loading.load(path), wanted())
    assert (result.kind, result.sizes) == ("class_map", ((SIDE_PX + 8, SIDE_PX + 8),))
    assert "padding follows from the size" in result.reason


def test_a_batch_that_cannot_be_freed_is_refused(tmp_path: Path) -> None:
    mixing = Step(lambda x: x - x.mean(0, keepdim=True))
    path = exported(classifier(*average_linear(mixing)), tmp_path / "model.onnx", "batch")
    with pytest.raises(ImportRefused, match="change each other's logits"):
        convert(loading.load(path), wanted())


def test_names_of_a_source_do_not_meet_those_of_the_conversion(tmp_path: Path) -> None:
    module = classifier(*average_linear())
    named = nn.Module()
    named.images, named.features, named.head = module[0], module[1:-1], module[-1]  # type: ignore[index]
    named.forward = lambda x: named.head(named.features(named.images(x)))  # type: ignore[method-assign]
    path = exported(named.eval(), tmp_path / "model.onnx")
    model = loading.load(path)
    (given,) = model.graph.input
    new = {given.name: "images", model.graph.node[0].output[0]: "features"}
    for node in model.graph.node:  # the input and an inner tensor are called as in the contract
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = new.get(name, name)
    given.name = "images"
    onnx.save(model, path)
    check(path, convert(loading.load(path), wanted()), [(2, SIDE_PX, SIDE_PX)])


def test_windowed_attention_of_one_size_keeps_that_size(tmp_path: Path) -> None:
    from torchvision.models import SwinTransformer

    torch.manual_seed(0)
    network = SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], num_classes=CLASSES).eval()
    path = exported(network, tmp_path / "model.onnx", "batch")
    result = convert(loading.load(path), wanted())
    assert (result.kind, result.sizes) == ("class_map", ((SIDE_PX, SIDE_PX),))
    assert "Reshape" in result.reason
    check(path, result, [(2, SIDE_PX, SIDE_PX)], windows_at=(SIDE_PX, SIDE_PX))


def test_weights_beside_the_file_are_read_and_must_lie_there(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear()), tmp_path / "plain.onnx")
    beside = tmp_path / "beside.onnx"
    onnx.save(
        onnx.load(path), beside, save_as_external_data=True, location="weights.bin",
        size_threshold=0,
    )  # fmt: skip
    result = convert(loading.load(beside), wanted())
    check(path, result, [(1, SIDE_PX, SIDE_PX)])
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere.bin")
    with pytest.raises(ImportRefused, match=r"weights\.bin, which is missing"):
        loading.load(beside)
