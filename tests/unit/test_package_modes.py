"""Which modes a package can answer, and what a manifest of version 2 may say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.errors import ModelPackageError, UsageError
from service.inference.image.geometry import Size
from service.inference.predictor import Predictor
from service.inference.tta.planner import Planner
from service.inference.tta.steps import Model, Options, check_default_mode, check_options
from service.package.manifest import Graph, InputSize, Manifest, Mode, ModeCalibration
from service.package.manifest_file import parse
from service.package.modes import modes
from service.package.package import ModelPackage
from tests.support.images import coloured
from tests.support.kinds import KINDS, kind_package
from tests.support.packages import edit_manifest
from tests.support.tiny import tiny_package

CROPS: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "custom")
ALL: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense", "centre_dense", "custom")
Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_says_its_modes_and_refuses_others(tmp_path: Path, kind: str) -> None:
    folder = kind_package(tmp_path / "k", *KINDS[kind])
    manifest = ModelPackage.load(folder).manifest
    answered = CROPS if manifest.graph.kind == "crops" else ALL
    assert modes(manifest) == answered
    predictor = Predictor.from_package(folder, provider="cpu", threads=1)
    assert predictor.model.modes == answered
    for mode in ALL:
        if mode == "custom":
            continue
        if mode in answered:
            (prediction,) = predictor.classify([coloured("red")], mode)
            assert prediction.label == "red"
            assert not prediction.answer.calibrated
        else:
            with pytest.raises(UsageError, match=f"cannot answer tta={mode}: .*none, five_crop"):
                predictor.classify([coloured("red")], mode)
    with pytest.raises(UsageError, match="has no gate for adaptive"):
        predictor.classify([coloured("red")], "adaptive")


def test_adaptive_is_a_mode_where_a_gate_was_fitted(tmp_path: Path) -> None:
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny")).manifest
    assert modes(manifest) == (*ALL[:-1], "adaptive", "custom")
    only_int8 = manifest.model_copy(
        update={"calibration": tuple(c for c in manifest.calibration if c.precision == "int8")}
    )
    assert "adaptive" in modes(only_int8)
    assert "adaptive" in modes(only_int8, "int8")
    assert "adaptive" not in modes(only_int8, "fp32")


def test_adaptive_of_crops_runs_crops(tmp_path: Path) -> None:
    gate = {"kind": "probability", "threshold": 2.0, "expected_cost": 2.0}
    entry = ModeCalibration.model_validate(
        {"precision": "fp32", "mode": "adaptive", "gate": gate, "gate_curve": [gate]}
    )
    adaptive = {"first_px": 72, "first_crop_px": 48, "second": "five_crop"}
    folder = kind_package(
        tmp_path / "k",
        "crops",
        16,
        calibration=(entry,),
        adaptive=adaptive,
        default_mode="adaptive",
    )
    predictor = Predictor.from_package(folder, provider="cpu", threads=1)
    assert predictor.model.modes == (*CROPS[:-1], "adaptive", "custom")
    answer = predictor.classify([coloured("red", 150, 140)])[0].answer
    assert answer.gate_open
    assert answer.passes == 5


def fixed(*sizes: list[int]) -> Change:
    return lambda m: m["graph"].update(sizes=list(sizes))


def adaptive(**values: Any) -> Change:
    return lambda m: m.update(adaptive=values)


WRONG: dict[str, tuple[str, Change, str]] = {
    "default mode": (
        "crops",
        lambda m: m.update(default_mode="dense"),
        "default_mode is dense, but its graph takes images of 48×48 px only; it can answer: none,",
    ),
    "default of crops": (
        "any_crops",
        lambda m: m.update(default_mode="centre_dense"),
        "default_mode is centre_dense, but its graph gives the logits of whole crops only",
    ),
    "another crop": ("crops", lambda m: m["input"].update(crop_px=64), r"must hold .*\[64, 64\]"),
    "no sizes": ("crops", fixed(), "at least one"),
    "twice": ("crops", fixed([48, 48], [48, 48]), "more than once"),
    "sizes in words": ("crops", lambda m: m["graph"].update(sizes="any"), "at graph.sizes"),
    "too small": ("average", lambda m: m["graph"].update(smallest_px=64), "smallest_px .64."),
    "no stride": ("average", lambda m: m["graph"].update(stride_px=0), "at graph.stride_px"),
    "another kind": ("average", lambda m: m["graph"].update(kind="heads"), "at graph.kind"),
    "typo": ("average", lambda m: m["graph"].update(stride=8), "at graph.stride"),
    "filter": ("average", lambda m: m["input"].update(interpolation="box"), "interpolation"),
    "dense second": (
        "crops",
        adaptive(first_px=48, first_crop_px=48, second="dense"),
        "adaptive.second is dense, but its graph takes",
    ),
    "whole first": ("any_crops", adaptive(first_px=48, second="five_crop"), "first_crop_px is nee"),
    "first of another size": (
        "crops",
        adaptive(first_px=48, first_crop_px=32, second="five_crop"),
        r"must hold the crops, \[32, 32\] of adaptive.first_crop_px",
    ),
    "small inset": (
        "average",
        adaptive(first_px=16, first_inset=True),
        "first_px of at least 32, two strides",
    ),
    "calibrated as itself": (
        "average",
        lambda m: m["files"][0].update(calibrated_as="fp32"),
        "is calibrated_as fp32, which has no calibration of its own",
    ),
    "negative agreement": ("average", lambda m: m["files"][0].update(agreement=-1), "agreement"),
    "weights of five": (
        "average",
        lambda m: m.update(
            calibration=[
                {"precision": "fp32", "mode": "centre_dense", "view_weights": [0.2] * 5},
            ]
        ),
        "5 view_weights for 6 views",
    ),
    "version 1": ("average", lambda m: m.update(schema_version=1), "schema_version 1 has no graph"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_contradiction_is_named(tmp_path: Path, what: str) -> None:
    drawn, change, message = WRONG[what]
    folder = kind_package(tmp_path / "k", drawn, 16)  # type: ignore[arg-type]
    edit_manifest(folder, change)
    with pytest.raises(ModelPackageError, match=message) as caught:
        ModelPackage.load(folder)
    assert "\n" not in str(caught.value)


OLD: dict[str, tuple[Change, str]] = {
    "bicubic": (
        lambda m: m["input"].update(interpolation="bicubic"),
        "schema_version 1 has no input.interpolation",
    ),
    "squash": (
        lambda m: m["input"].update(fit="squash"),
        "schema_version 1 has no input.fit",
    ),
    "another side": (
        lambda m: m["input"].update(crop_px=50),
        "multiple of 32 in schema_version 1",
    ),
    "another first side": (lambda m: m["adaptive"].update(first_px=150), "adaptive.first_px must"),
    "calibrated as": (
        lambda m: m["files"][1].update(calibrated_as="fp32"),
        "schema_version 1 has no files.calibrated_as",
    ),
}


@pytest.mark.parametrize("what", OLD)
def test_version_1_has_nothing_of_version_2(tmp_path: Path, what: str) -> None:
    folder = tiny_package(tmp_path / "tiny")
    edit_manifest(folder, lambda m: (m.pop("graph"), m.update(schema_version=1)))
    ModelPackage.load(folder)
    change, message = OLD[what]
    edit_manifest(folder, change)
    with pytest.raises(ModelPackageError, match=message):
        ModelPackage.load(folder)


def test_version_1_round_trips(tmp_path: Path) -> None:
    """A package of version 1, as it was written, and after it was read and written again."""
    folder = tiny_package(tmp_path / "tiny")
    edit_manifest(folder, lambda m: (m.pop("graph"), m.update(schema_version=1)))
    first = parse((folder / "manifest.json").read_bytes(), "manifest.json")
    assert first.graph == Graph()
    again = parse(first.model_dump_json().encode(), "manifest.json")
    assert again == first
    newer = first.model_copy(update={"schema_version": 2})
    assert parse(newer.model_dump_json().encode(), "manifest.json") == newer


def test_any_number_of_labels_and_any_side(tmp_path: Path) -> None:
    fields = ModelPackage.load(kind_package(tmp_path / "k")).manifest.model_dump()
    for count in (1, 21_841):
        labels = [{"index": i, "id": f"c{i}", "name": f"class {i}"} for i in range(count)]
        sizes = {"crop_px": 299, "resize_px": 331}
        assert len(Manifest.model_validate(fields | {"labels": labels, "input": sizes}).labels)


@pytest.mark.parametrize(
    ("stride_px", "resize_px", "crop_px", "shorter"),
    [(32, 232, 224, 224), (32, 240, 224, 256), (32, 342, 299, 352), (32, 300, 300, 320),
     (16, 72, 48, 64), (8, 72, 48, 72), (32, 160, 128, 160)],
)  # fmt: skip
def test_sides_of_whole_images_are_on_the_stride_and_hold_a_crop(
    stride_px: int, resize_px: int, crop_px: int, shorter: int
) -> None:
    sizes = InputSize(crop_px=crop_px, resize_px=resize_px)
    planner = Planner(sizes, graph=Graph(stride_px=stride_px, smallest_px=stride_px))
    for size in (Size(500, 500), Size(500, 900), Size(900, 500), Size(333, 477)):
        got = planner.whole_image(size).resized
        assert got.height % stride_px == got.width % stride_px == 0
        assert min(got.height, got.width) == shorter
        (dense,) = planner.passes("dense", size)
        for window in dense.windows:
            assert 0 <= window.top <= window.bottom <= got.height
            assert 0 <= window.left <= window.right <= got.width


def test_fp16_takes_over_the_calibration_of_fp32(tmp_path: Path) -> None:
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny", int8=False)).manifest
    int8 = manifest.files[0].model_copy(update={"precision": "int8", "file": "other.onnx"})
    alone = manifest.model_copy(update={"files": (*manifest.files, int8)})
    assert not Model(alone, "int8").is_calibrated("adaptive")
    with pytest.raises(UsageError, match="no gate for adaptive TTA at int8"):
        check_options(Options(tta="adaptive"), Model(alone, "int8"))
    default = alone.model_copy(update={"default_mode": "adaptive"})
    with pytest.raises(ModelPackageError, match="default_mode is adaptive: tiny has no gate"):
        check_default_mode(Model(default, "int8"))
    # A graph that is derived, or that an older program added to the package, names no other.
    fp16 = manifest.files[0].model_copy(update={"precision": "fp16", "file": "half.onnx"})
    for derived in (default, default.model_copy(update={"files": (*manifest.files, fp16)})):
        check_default_mode(Model(derived, "fp16"))
    follower = fp16.model_copy(update={"calibrated_as": "fp32", "agreement": 0.001})
    taken = Manifest.model_validate(
        default.model_dump() | {"files": [manifest.files[0].model_dump(), follower.model_dump()]}
    )
    model = Model(taken, "fp16")
    check_default_mode(model)
    assert model.is_calibrated("adaptive")
    assert model.calibration("none") == manifest.calibration_for("fp32", "none")
    assert modes(taken, "fp16") == modes(taken, "fp32")


def test_a_calibration_of_its_own_goes_first(tmp_path: Path) -> None:
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny")).manifest
    files = [file.model_dump() for file in manifest.files]
    files[1]["calibrated_as"] = "fp32"
    both = Manifest.model_validate(manifest.model_dump() | {"files": files})
    assert both.calibration_for("int8", "none").precision == "int8"
    bare = both.model_copy(
        update={"calibration": tuple(c for c in both.calibration if c.precision == "fp32")}
    )
    assert bare.calibration_for("int8", "none").precision == "fp32"
