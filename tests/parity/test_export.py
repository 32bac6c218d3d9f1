"""The exported graph is the torch network: normalization, class map, any shape; else no package."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from service.errors import DataError, ExportError, UsageError
from service.inference.predictor import Predictor
from service.inference.runtime.session import Session
from service.package.manifest import InputSize
from service.package.package import ModelPackage
from tests.support.dataset import drawn_dataset
from tests.support.images import drawn, encoded
from tests.support.untrained import RECIPE, STATS, network, normalized, write_run
from training.data.dataset import scan
from training.export import export as exporting
from training.export.export import export_package
from training.export.graph import ServingGraph
from training.export.parity import check_parity
from training.network.weights import round_to_fp16, weights_from_package
from training.recipe import Recipe

SHAPES = [(1, 64, 64), (3, 96, 160), (2, 64, 96), (5, 33, 77)]
ROOT = Path(__file__).parents[2]


def images(n: int, height: int, width: int) -> np.ndarray:
    return np.stack([drawn(height, width, seed) for seed in range(n)])


@pytest.fixture(scope="module")
def session(exported: Path) -> Session:
    return Session.open(exported / "model.onnx", provider="cpu")


@pytest.fixture(scope="module")
def rounded() -> torch.nn.Sequential:
    """The torch network with the weights that a package stores."""
    made = network()
    made.load_state_dict(round_to_fp16(made.state_dict()))
    return made.eval()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logits_are_those_of_the_network_on_normalized_pixels(
    session: Session, rounded: torch.nn.Sequential, shape: tuple[int, int, int]
) -> None:
    pixels = images(*shape)
    with torch.inference_mode():
        expected = rounded(normalized(torch.from_numpy(pixels))).numpy()
    got = session.run(pixels, "logits")
    assert got.shape == (shape[0], 3)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logits_are_the_mean_of_the_class_map(
    session: Session, shape: tuple[int, int, int]
) -> None:
    pixels = images(*shape)
    class_map = session.run(pixels, "class_map")
    n, height, width = shape
    assert class_map.shape == (n, 3, -(-height // 32), -(-width // 32))
    np.testing.assert_allclose(class_map.mean((2, 3)), session.run(pixels, "logits"), atol=1e-4)


def test_the_mean_of_a_window_is_the_logits_of_its_features(
    session: Session, rounded: torch.nn.Sequential
) -> None:
    pixels = images(2, 96, 128)
    layers = list(rounded.children())
    with torch.inference_mode():
        features = normalized(torch.from_numpy(pixels))
        for layer in layers[:-4]:
            features = layer(features)  # (2, C, 3, 4)
        expected = layers[-1](features[:, :, 1:3, 1:4].mean((2, 3))).numpy()
    window = session.run(pixels, "class_map")[:, :, 1:3, 1:4].mean((2, 3))
    np.testing.assert_allclose(window, expected, atol=1e-4 * np.abs(expected).max())
    whole = session.run(pixels, "logits")
    assert np.abs(window - whole).max() > 1e-2  # else the window would prove nothing


def test_a_batch_gives_what_its_images_give_alone(session: Session) -> None:
    pixels = images(4, 64, 96)
    alone = np.concatenate([session.run(one[None], "logits") for one in pixels])
    np.testing.assert_allclose(session.run(pixels, "logits"), alone, atol=1e-4)


def test_storing_weights_as_float16_hardly_changes_the_answer(session: Session) -> None:
    pixels = images(4, 64, 64)
    with torch.inference_mode():
        exact = network()(normalized(torch.from_numpy(pixels))).numpy()
    apart = np.abs(session.run(pixels, "logits") - exact).max() / np.abs(exact).max()
    assert 0 < apart < 5e-3


def test_the_package_is_complete_and_classifies(exported: Path) -> None:
    manifest = ModelPackage.load(exported).manifest
    assert [f.precision for f in manifest.files] == ["fp32", "int8"]
    assert [label.id for label in manifest.labels] == ["blue", "green", "red"]
    assert manifest.normalization.mean == STATS.mean
    assert (manifest.input.crop_px, manifest.input.resize_px) == (64, 96)
    assert Recipe.from_json(manifest.provenance["recipe"]) == RECIPE
    assert len(manifest.provenance["parity"]["largest_relative_difference"]) == 3
    prediction = Predictor.from_package(exported).classify([drawn(120, 160)], tta="dense")[0]
    assert sum(top.probability for top in prediction.top) == pytest.approx(1)
    assert "## Classes" in (exported / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_the_file_alone_says_labels_sizes_and_normalization(exported: Path, name: str) -> None:
    props = {p.key: p.value for p in onnx.load(exported / name).metadata_props}
    assert '"id":"blue"' in props["quincunx.labels"]
    assert '"crop_px":64' in props["quincunx.input"]
    assert str(STATS.mean[1]) in props["quincunx.normalization"]


def test_no_file_names_a_path_of_this_machine(exported: Path) -> None:
    for path in exported.iterdir():
        for secret in (str(ROOT), str(Path.home()), "site-packages", "/tmp"):
            assert secret.encode() not in path.read_bytes(), path.name


def changed(path: Path, target: Path, factor: float) -> Path:
    """A copy of a graph with one convolution's weights multiplied."""
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name == "1.0.weight")
    values = numpy_helper.to_array(tensor) * np.float16(factor)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, target)
    return target


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_parity_refuses_a_graph_of_other_weights(
    exported: Path, drawn_data: Path, tmp_path: Path, factor: float
) -> None:
    made = network()
    made.load_state_dict(round_to_fp16(made.state_dict()))
    graph = ServingGraph(made, STATS.mean, STATS.std)
    items = scan(drawn_data / "train")[:3]
    sizes = ModelPackage.load(exported).manifest.input
    assert check_parity(graph, exported / "model.onnx", items, sizes)
    altered = changed(exported / "model.onnx", tmp_path / "model.onnx", factor)
    with pytest.raises(ExportError, match="does not agree with its checkpoint: at 64x64 px"):
        check_parity(graph, altered, items, sizes)


def test_a_refused_export_leaves_the_package_before_it(
    exported: Path,
    run_folder: Path,
    drawn_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = shutil.copytree(exported, tmp_path / "models" / "untrained")
    wrong = onnx.load(changed(exported / "model.onnx", tmp_path / "wrong.onnx", 1.1))
    monkeypatch.setattr(exporting, "to_onnx", lambda _: wrong)
    with pytest.raises(ExportError, match="does not agree"):
        export_package(run_folder, package, drawn_data, overwrite=True, log=lambda _: None)
    assert ModelPackage.load(package).precisions == ("fp32", "int8")
    assert list(package.parent.iterdir()) == [package]


def test_a_new_export_replaces_the_package_whole(
    exported: Path,
    run_folder: Path,
    drawn_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = shutil.copytree(exported, tmp_path / "untrained")
    (package / "of-the-old-weights.png").write_bytes(b"")
    same = onnx.load(package / "model.onnx")
    monkeypatch.setattr(exporting, "to_onnx", lambda _: same)
    with pytest.raises(UsageError, match="replace it with --overwrite"):
        export_package(run_folder, package, drawn_data)
    export_package(
        run_folder, package, drawn_data, int8=False, version="2", overwrite=True,
        log=lambda _: None,
    )  # fmt: skip
    assert sorted(p.name for p in package.iterdir()) == [
        "MODEL_CARD.md",
        "manifest.json",
        "model.onnx",
    ]
    assert ModelPackage.load(package).manifest.version == "2"


def test_an_unfinished_run_is_exported_only_when_allowed(drawn_data: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", drawn_data, finished=False)
    with pytest.raises(ExportError, match=r"has done 1 of 1 epochs.*--allow-unfinished"):
        export_package(run, tmp_path / "out", drawn_data)
    assert exporting.load_source(run, drawn_data, allow_unfinished=True).recipe == RECIPE


def test_it_is_served_at_the_sizes_that_were_asked_for(
    run_folder: Path, drawn_data: Path, tmp_path: Path
) -> None:
    sizes = InputSize(crop_px=96, resize_px=128)
    package = export_package(
        run_folder, tmp_path / "larger", drawn_data, int8=False, sizes=sizes, log=lambda _: None
    )
    scaled = sizes.model_copy(update={"decode": "scaled"})
    assert ModelPackage.load(package).manifest.input == scaled
    answer = (
        Predictor.from_package(package).classify([encoded(drawn(200, 300))], tta="dense")[0].answer
    )
    assert answer.cost == pytest.approx(128 * 192 / 96**2)
    card = (package / "MODEL_CARD.md").read_text()
    assert "crops are 96×96 px" in card
    assert "The recipe has crops of 64 px out of 96" in card


def test_statistics_of_served_crops_replace_those_of_training_and_nothing_else(
    run_folder: Path, drawn_data: Path, tmp_path: Path
) -> None:
    package = export_package(
        run_folder, tmp_path / "own", drawn_data, int8=False, statistics_images=10,
        log=lambda _: None,
    )  # fmt: skip
    plain = export_package(
        run_folder, tmp_path / "plain", drawn_data, int8=False, log=lambda _: None
    )
    own, trained = (weights_from_package(folder) for folder in (package, plain))
    changed = {key for key in own if not torch.equal(own[key], trained[key])}
    statistics = {key for key in own if key.endswith(("running_mean", "running_var"))}
    assert changed == statistics
    assert (
        "crops of 10 training images, cut as they are served"
        in (package / "MODEL_CARD.md").read_text()
    )


def test_other_data_than_the_run_was_trained_on_is_refused(
    run_folder: Path, tmp_path: Path
) -> None:
    other = drawn_dataset(tmp_path / "data", train=3, val=1)
    with pytest.raises(DataError, match="is not what"):
        export_package(run_folder, tmp_path / "out", other)


def test_a_folder_of_something_else_is_not_overwritten(
    run_folder: Path, drawn_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"photo")
    with pytest.raises(UsageError, match="is not a model package"):
        export_package(run_folder, tmp_path, drawn_data)
