"""`quincunx import` of ONNX files: packages that serve, and refusals that say what is missing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from service.errors import ImportRefused, UsageError
from service.inference.predictor import Predictor
from service.package.package import ModelPackage
from service.package.verify import verify
from tests.support.classifiers import (
    CHANNELS,
    CLASSES,
    NAMED,
    SIDE_PX,
    average_linear,
    classifier,
    exported,
    fastai_head,
    imported,
)
from tests.support.images import drawn
from training.commands.import_model import app
from training.imports.given import Given, triple
from training.imports.labels import read_labels
from training.imports.package import write
from training.imports.parity import difference
from training.imports.sources import open_source


def test_kind_a_serves_every_mode_and_says_where_it_came_from(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear()), tmp_path / "model.onnx")
    done = imported(path, tmp_path / "pets")
    manifest = verify(done.folder).manifest
    assert (manifest.schema_version, manifest.name) == (2, "pets")
    assert (manifest.graph.kind, manifest.graph.sizes) == ("class_map", "dynamic")
    assert (manifest.graph.stride_px, manifest.graph.smallest_px) == (8, 8)
    assert (manifest.input.interpolation, manifest.default_mode) == ("bicubic", "none")
    found = manifest.provenance["imported"]
    assert (found["source"], found["kind"]) == ("model.onnx", "class_map")
    assert max(found["parity"]["largest_relative_difference"].values()) < 1e-5
    assert found["parity"]["windows"] < 1e-5
    card = (done.folder / "MODEL_CARD.md").read_text()
    assert "imported from `model.onnx` by Quincunx" in card
    assert "## Import" in card
    predictor = Predictor.from_package(done.folder, provider="cpu")
    for mode in ("none", "five_crop", "ten_crop", "dense", "centre_dense"):
        (answer,) = predictor.classify([drawn(130, 170, 1)], tta=mode)
        assert answer.top[0].probability <= 1


def test_kind_b_answers_dense_like_crops_of_its_features(tmp_path: Path) -> None:
    path = exported(classifier(*fastai_head()), tmp_path / "model.onnx", "free")
    done = imported(path, tmp_path / "learner")
    assert verify(done.folder).manifest.graph.kind == "windows"
    assert len(done.parity.sizes) == 3
    assert Predictor.from_package(done.folder, provider="cpu").classify(
        [drawn(130, 170, 1)], tta="dense"
    )


def test_kind_c_refuses_dense_with_the_reason(tmp_path: Path) -> None:
    cells = SIDE_PX // 8
    network = classifier(nn.Flatten(), nn.Linear(CHANNELS * cells * cells, CLASSES))
    done = imported(exported(network, tmp_path / "model.onnx"), tmp_path / "flat")
    manifest = verify(done.folder).manifest
    assert (manifest.graph.kind, manifest.graph.sizes) == ("crops", ((SIDE_PX, SIDE_PX),))
    assert manifest.default_mode == "none"
    predictor = Predictor.from_package(done.folder, provider="cpu")
    assert predictor.classify([drawn(130, 170, 1)], tta="five_crop")
    with pytest.raises(UsageError, match="dense"):
        predictor.classify([drawn(130, 170, 1)], tta="dense")
    with pytest.raises(UsageError, match="96×96 px only"):
        imported(tmp_path / "model.onnx", tmp_path / "other", crop_px=64, resize_px=72)


def test_a_file_of_one_size_can_be_served_at_another(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear()), tmp_path / "model.onnx")
    done = imported(path, tmp_path / "small", crop_px=64, resize_px=80)
    assert list(done.parity.sizes) == ["96x96"]  # the source takes no other
    assert verify(done.folder).manifest.input.crop_px == 64


def test_a_sigmoid_makes_a_multi_label_package(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear(nn.Sigmoid())), tmp_path / "model.onnx")
    done = imported(path, tmp_path / "several")
    assert done.manifest.task == "multi_label"
    assert done.converted.activation == "sigmoid"


def test_the_report_says_in_a_dozen_lines_what_was_found(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear(nn.Softmax(1))), tmp_path / "model.onnx")
    report = imported(path, tmp_path / "pets").lines()
    assert 8 <= len(report) <= 14
    text = "\n".join(report)
    for part in (
        "5 classes",
        "kind: class map",
        "modes: none",
        "crops of 96 px out of 112",
        "stride 8 px",
    ):
        assert part in text
    for part in ("96x96 px", "windows agree", "the Softmax at the end was taken off", "dense 1.36"):
        assert part in text


def test_the_command_lists_what_was_found_and_what_is_missing(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear()), tmp_path / "model.onnx", "batch")
    with pytest.raises(UsageError) as refused:
        CliRunner().invoke(
            app, [str(path), "--out", str(tmp_path / "pets")], catch_exceptions=False
        )
    message = str(refused.value)
    assert "input: float32[N, 3, 96, 96] -> output: float32[N, 5]" in message
    assert "layout NCHW, 96 px, batch of any size" in message
    for option in ("--normalization", "--resize-px", "--interpolation", "--labels"):
        assert option in message
    assert "--crop-px" not in message  # the file says it
    assert not (tmp_path / "pets").exists()


def test_the_command_writes_a_package(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear()), tmp_path / "model.onnx")
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nhorse\nowl\nfish\n")
    options = [str(path), "--out", str(tmp_path / "pets"), "--labels", str(names)]
    options += ["--mean", "0.5", "--std", "0.25,0.25,0.3", "--resize-px", "112"]
    done = CliRunner().invoke(app, [*options, "--interpolation", "bilinear"])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "pets")
    manifest = ModelPackage.load(tmp_path / "pets").manifest
    assert [label.id for label in manifest.labels] == ["cat", "dog", "horse", "owl", "fish"]
    assert manifest.normalization.mean == (0.5, 0.5, 0.5)
    assert manifest.normalization.std == (0.25, 0.25, 0.3)


def test_a_package_that_differs_from_its_source_is_not_written(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear()), tmp_path / "model.onnx")
    converted, spec = open_source(str(path), Given(**NAMED))
    for tensor in converted.model.graph.initializer:
        if tensor.name == "quincunx.head.bias":
            tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) + 0.1).tobytes()
    with pytest.raises(ImportRefused, match="does not agree with"):
        write(converted, spec, tmp_path / "pets", log=lambda _: None)
    assert not (tmp_path / "pets").exists()


def test_sizes_at_which_the_source_differs_are_not_offered(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear()), tmp_path / "model.onnx", "free")
    converted, spec = open_source(str(path), Given(**NAMED))
    right = spec.reference

    def of_one_size(images: np.ndarray) -> np.ndarray:
        return right(images) + (0.5 if images.shape[1] != SIDE_PX else 0)

    changed = type(spec)(**{**vars(spec), "reference": of_one_size})
    done = write(converted, changed, tmp_path / "pets", log=lambda _: None)
    assert done.manifest.graph.sizes == ((SIDE_PX, SIDE_PX),)
    assert "differs from the source" in done.manifest.provenance["imported"]["reason"]


def test_differences_are_of_logits_whatever_the_source_gives() -> None:
    logits = np.array([[1.0, 3.0, -2.0], [0.5, -4.0, 2.0]], np.float32)
    exponentials = np.exp(logits)
    softmax = exponentials / exponentials.sum(1, keepdims=True)
    assert difference(logits, logits, "none") == 0
    assert difference(logits + 7, softmax, "softmax") < 1e-6
    assert difference(logits, np.log(softmax), "log_softmax") < 1e-6
    assert difference(logits, 1 / (1 + np.exp(-logits)), "sigmoid") < 1e-5
    assert difference(logits * 1.01, softmax, "softmax") > 5e-3
    assert difference(logits[:, ::-1], logits, "none") == np.inf
    assert difference(logits, logits[:, :2], "none") == np.inf
    assert difference(logits * np.nan, logits, "none") == np.inf


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("names.txt", "tench\ncrane\ncrane\n\n", ["tench", "crane (1)", "crane (2)"]),
        ("names.json", json.dumps(["a", "b", "c"]), ["a", "b", "c"]),
        ("pairs.json", json.dumps({"1": ["n2", "b"], "0": ["n1", "a"], "2": ["n3", "b"]}),
         ["n1", "n2", "n3"]),
        ("objects.json", json.dumps([{"id": "x", "name": "X"}, {"name": "y"}, {"id": "z"}]),
         ["x", "y", "z"]),
        ("taken.txt", "a\na\na (1)\n", ["a (0)", "a (1) (1)", "a (1)"]),
        ("forms.txt", "\u00e9\ne\u0301\nb\n", ["\u00e9 (0)", "e\u0301 (1)", "b"]),
        ("lines.txt", "a\u2028b\r\nc\x0cd\x85e\nf", ["a\u2028b", "c\x0cd\x85e", "f"]),
    ],
)  # fmt: skip
def test_files_of_labels(name: str, content: str, ids: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert [label.id for label in read_labels(str(tmp_path / name), 3)] == ids


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names.txt", "a\nb\n", "2 labels, but the model answers for 3"),
        ("names.txt", "a\n\nc\n", "class 1 is ''"),
        ("names.json", "{", "not JSON"),
        ("names.json", '{"a": "x", "b": "y", "c": "z"}', "indices 0 to 2"),
        ("names.json", "[1.5, null, {}]", "class 0"),
        ("names.json", '{"0": "a", "1": "b", "2": "c", "2": "d"}', "'2' comes 2 times"),
        ("names.json", "[" * 100_000, "not JSON"),
        ("missing.txt", None, "cannot be read"),
    ],
)
def test_files_of_labels_that_do_not_fit(
    name: str, content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        read_labels(str(tmp_path / name), 3)


def test_options_that_contradict_each_other() -> None:
    assert triple("0.5", "--mean") == (0.5, 0.5, 0.5)
    for text in ("a", "1,2", "1,2,3,4", "nan", "1,,2"):
        with pytest.raises(UsageError, match="--mean"):
            triple(text, "--mean")
    with pytest.raises(UsageError, match="positive"):
        triple("0,1,1", "--std", positive=True)
    with pytest.raises(UsageError, match="go together"):
        Given(mean=(0, 0, 0)).statistics()
    with pytest.raises(UsageError, match="imagenet, half"):
        Given(normalization="own").statistics()


def test_an_onnx_file_is_imported_without_torch(tmp_path: Path) -> None:
    path = exported(classifier(*average_linear()), tmp_path / "model.onnx")
    code = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "fastai"):
            raise ImportError(f"behind the wall: {name}")

sys.meta_path.insert(0, Wall())
from service.cli import main
main()
"""
    options = ["--out", str(tmp_path / "pets"), "--normalization", "half", "--labels", "numbers"]
    options += ["--resize-px", "112", "--interpolation", "bilinear"]
    done = subprocess.run(
        [sys.executable, "-c", code, "import", str(path), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert verify(tmp_path / "pets").manifest.name == "pets"
