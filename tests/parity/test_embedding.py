"""Embeddings: equal to the features' mean by hand, in every way in which a graph is run."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from service.api.heatmap import with_class_map
from service.errors import InferenceFailed, ModelPackageError, UsageError
from service.inference.engine import InProgress, run_to_end, run_views
from service.inference.fp16.graph import to_fp16
from service.inference.image.views import size_of
from service.inference.options import Options
from service.inference.predictor import Predictor
from service.inference.runtime.session import Session
from service.inference.tta.passes import make_views
from service.package.manifest import Manifest, Mode
from service.package.package import ModelPackage
from tests.property.test_batching import alone
from tests.support.batching import asked, batching
from tests.support.embedded import PHOTO, embedding_package, opened
from tests.support.images import drawn
from tests.support.kinds import KINDS, Drawn, kind_graph, kind_package
from training.export.embedding import embed_package
from training.surgery.embedding import add_embedding, embedding_channels

IMAGES = [PHOTO, drawn(200, 80), drawn(72, 72)]


def of_views(predictor: Predictor, image: Any, mode: Mode) -> NDArray[np.float64]:
    """[V, C]: the mean of every view's cells. A cell counts as a whole, also at the border."""
    planner = predictor.model.planner
    views = make_views(image, planner.passes(mode, size_of(image)))
    step = predictor.manifest.graph.stride_px
    found: list[NDArray[np.float64]] = []
    for view in views:
        high, wide = view.pixels.shape[0] // step, view.pixels.shape[1] // step
        cells = view.pixels.reshape(high, step, wide, step, 3).mean((1, 3)) / 255
        found.append(cells.mean((0, 1)))
    return np.stack(found)


@pytest.mark.parametrize("name", KINDS)
def test_an_embedding_is_the_mean_of_the_features(tmp_path: Path, name: str) -> None:
    kind, stride_px = KINDS[name]
    predictor = opened(embedding_package(tmp_path / "kind", kind, stride_px))
    wanted = replace_stride(predictor, stride_px)  # the manifest of `crops` has none
    for image in IMAGES:
        expected = of_views(wanted, image, "none")
        np.testing.assert_allclose(predictor.embed([image], "none"), expected, atol=1e-5)


def replace_stride(predictor: Predictor, stride_px: int) -> Predictor:
    graph = predictor.manifest.graph.model_copy(update={"stride_px": stride_px})
    manifest = predictor.manifest.model_copy(update={"graph": graph})
    return replace(predictor, package=replace(predictor.package, manifest=manifest))


@pytest.mark.parametrize("kind", ["class_map", "average"])
@pytest.mark.parametrize("image", range(len(IMAGES)))
def test_modes_average_the_embeddings_of_their_views(
    tmp_path: Path, kind: Drawn, image: int
) -> None:
    predictor = opened(embedding_package(tmp_path / "kind", kind))

    def got(mode: Mode) -> NDArray[np.float32]:
        return predictor.embed([IMAGES[image]], mode)[0]

    for mode in ("five_crop", "ten_crop", "dense"):
        expected = of_views(predictor, IMAGES[image], mode).mean(0)
        np.testing.assert_allclose(got(mode), expected, atol=1e-5)
    both = (got("none") + got("dense")) / 2
    np.testing.assert_allclose(got("centre_dense"), both, atol=1e-5)


def test_embed_uses_the_default_mode_and_gives_one_row_for_each_image(tmp_path: Path) -> None:
    predictor = opened(embedding_package(tmp_path / "kind", default_mode="dense"))
    rows = predictor.embed(IMAGES)
    assert rows.shape == (3, 3)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, predictor.embed(IMAGES, "dense"))
    assert predictor.embed([]).shape == (0, 3)
    predictions = predictor.classify(IMAGES, "dense")
    np.testing.assert_array_equal(rows, [one.embedding for one in predictions])


def test_a_package_without_embeddings_serves_as_before(tmp_path: Path) -> None:
    predictor = opened(kind_package(tmp_path / "kind"))
    (prediction,) = predictor.classify([PHOTO], "five_crop")
    assert prediction.embedding is None
    assert prediction.unknown is None
    with pytest.raises(UsageError, match="kind has no embeddings"):
        predictor.embed([PHOTO])
    with pytest.raises(InferenceFailed):
        predictor.session.run_with_embedding(PHOTO[None], "logits")


@pytest.mark.parametrize("kind", ["class_map", "average", "maximum", "any_crops"])
def test_the_other_outputs_stay_the_same_bits(tmp_path: Path, kind: Drawn) -> None:
    before = opened(kind_package(tmp_path / "before", kind, deep=True))
    after = opened(embedding_package(tmp_path / "after", kind, deep=True))
    for mode in before.model.modes:
        if mode == "custom":
            continue
        for old, new in zip(
            before.classify(IMAGES, mode), after.classify(IMAGES, mode), strict=True
        ):
            np.testing.assert_array_equal(old.answer.raw, new.answer.raw)


@pytest.mark.parametrize("mode", ["none", "five_crop", "dense"])
@pytest.mark.parametrize("kind", ["class_map", "average"])
def test_fixed_buffers_give_the_same_embeddings(tmp_path: Path, kind: Drawn, mode: Mode) -> None:
    predictor = opened(embedding_package(tmp_path / "kind", kind, deep=True))
    path = predictor.package.path("fp32")
    bound = replace(predictor, session=Session.open(path, provider="cpu", io_binding=True))
    bound.warm_up()
    for number in (1, 2, 3):
        expected = predictor.embed(IMAGES[:number], mode)
        np.testing.assert_allclose(bound.embed(IMAGES[:number], mode), expected, atol=1e-5)


def test_crops_that_share_layers_have_the_embeddings_of_whole_crops(tmp_path: Path) -> None:
    folder = embedding_package(tmp_path / "kind", deep=True, crop_px=64, resize_px=80)
    predictor = opened(folder)
    planner = predictor.model.planner
    passes = planner.passes("five_crop", size_of(PHOTO))
    views = make_views(PHOTO, passes, predictor.session)
    assert {view.output for view in views} == {"logits_of_features"}
    _, expected = predictor.session.run_with_embedding(
        np.stack([view.pixels for view in make_views(PHOTO, passes)]), "logits"
    )
    _, got = predictor.session.run_with_embedding(
        np.stack([view.pixels for view in views]), "logits_of_features"
    )
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(
        predictor.embed([PHOTO], "five_crop")[0], expected.mean(0), atol=1e-5
    )


async def test_a_batch_of_several_images_gives_each_its_own_embedding(tmp_path: Path) -> None:
    predictor = opened(embedding_package(tmp_path / "kind", deep=True))
    expected = [alone(predictor, image, "dense").embedding for image in IMAGES]
    async with batching(predictor) as (batcher, _):
        tasks = [
            asked(batcher, lambda image=image: predictor.start(image, Options(tta="dense")))
            for image in IMAGES
        ]
        for task, wanted in zip(tasks, expected, strict=True):
            answer, _ = await task
            assert answer.embedding is not None
            assert wanted is not None
            np.testing.assert_allclose(answer.embedding, wanted, atol=1e-5)


def test_a_heat_map_uses_the_view_of_a_dense_pass(tmp_path: Path) -> None:
    """On a GPU another view would be a shape that is not warm."""
    predictor = opened(embedding_package(tmp_path / "kind"))
    dense = InProgress(predictor.start(PHOTO, Options(tta="dense")))
    crop = predictor.start(PHOTO, Options(tta="none"))
    heat = InProgress(with_class_map(crop, PHOTO, predictor.model.planner))
    heat.send(run_views(heat.views, predictor.session))
    assert [view.key for view in heat.views] == [view.key for view in dense.views]
    run_to_end([heat, dense], predictor.session)
    np.testing.assert_array_equal(heat.answer.class_map, dense.answer.class_map)


@pytest.mark.parametrize("kind", ["class_map", "average"])
def test_the_derived_fp16_graph_has_the_embedding(tmp_path: Path, kind: Drawn) -> None:
    predictor = opened(embedding_package(tmp_path / "kind", kind, deep=True))
    half = Session.open(Path("fp16"), provider="cpu", data=to_fp16(predictor.package.read("fp32")))
    crop = np.stack([drawn(48, 48)])
    expected = predictor.session.run_with_embedding(crop, "logits")[1]
    got = half.run_with_embedding(crop, "logits")[1]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_exported_graphs_have_embeddings_of_all_precisions(exported: Path) -> None:
    package = ModelPackage.load(exported)
    channels = package.manifest.graph.embedding
    assert channels
    crop = drawn(package.manifest.input.crop_px, package.manifest.input.crop_px)
    rows: list[NDArray[np.float32]] = []
    for precision in package.precisions:
        predictor = Predictor.from_package(exported, precision=precision, provider="cpu")
        rows.append(predictor.session.run_with_embedding(crop[None], "logits")[1][0])
        assert rows[-1].shape == (channels,)
    assert (
        float(np.corrcoef(np.stack(rows)).min()) > 0.95
    )  # int8 rounds, and drawn images exceed its range


def test_the_input_of_the_last_linear_layer_is_the_embedding_of_a_graph_of_crops() -> None:
    model = kind_graph("any_crops", 16)
    graph = model.graph
    for node in graph.node:  # a graph without any name that says where the features are
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = "cells" if name == "features" else name
    del graph.node[-1]  # the maximum over cells
    weight = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)
    pooled = onnx.helper.make_node("GlobalMaxPool", ["cells"], ["pooled"])
    flat = onnx.helper.make_node("Flatten", ["pooled"], ["vector"])
    last = onnx.helper.make_node("MatMul", ["vector", "weight"], ["product"])
    shifted = onnx.helper.make_node("Add", ["product", "shift"], ["logits"])
    graph.node.extend([pooled, flat, last, shifted])
    graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(weight, "weight"),
            onnx.numpy_helper.from_array(np.zeros(4, np.float32), "shift"),
        ]
    )
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    assert add_embedding(model, 48) == 3
    assert embedding_channels(model) == 3
    session = Session.open(Path("m"), provider="cpu", data=model.SerializeToString())
    logits, found = session.run_with_embedding(drawn(48, 48)[None], "logits")
    np.testing.assert_allclose(found @ weight, logits, atol=1e-4)


def test_a_graph_without_a_linear_end_gets_none() -> None:
    model = kind_graph("any_crops", 16)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = "cells" if name == "features" else name
    assert add_embedding(model, 48) is None
    assert embedding_channels(model) is None


def test_a_package_gets_embeddings_once_and_a_new_version_if_asked(tmp_path: Path) -> None:
    folder = kind_package(tmp_path / "kind")
    manifest = embed_package(folder, version="1.1", log=lambda _: None)
    assert (manifest.version, manifest.graph.embedding) == ("1.1", 3)
    assert ModelPackage.load(folder).manifest == manifest
    with pytest.raises(UsageError, match="has embeddings of 3 numbers already"):
        embed_package(folder)


def test_what_lies_beside_the_files_of_a_package_is_kept(tmp_path: Path) -> None:
    folder = kind_package(tmp_path / "kind")
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    (folder / "gone").symlink_to("nowhere")
    stored = folder / "stored.onnx"
    (folder / "model.onnx").rename(stored)
    (folder / "model.onnx").symlink_to(stored.name)
    before = stored.read_bytes()
    embed_package(folder, log=lambda _: None)
    assert (folder / "notes" / "mine.txt").read_text() == "mine"
    assert (folder / "gone").is_symlink()
    assert stored.read_bytes() == before
    assert ModelPackage.load(folder).manifest.graph.embedding == 3


def test_a_package_whose_replacement_was_killed_is_put_back(tmp_path: Path) -> None:
    folder = kind_package(tmp_path / "kind")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder.rename(tmp_path / f".kind.{ended.pid}.abc.old")
    (tmp_path / f".kind.{ended.pid}.abc").mkdir()
    embed_package(folder, log=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["kind"]


def changed(folder: Path, **graph: Any) -> Path:
    manifest = ModelPackage.load(folder).manifest
    new = manifest.model_copy(update={"graph": manifest.graph.model_copy(update=graph)})
    (folder / "manifest.json").write_text(
        Manifest.model_validate(new.model_dump()).model_dump_json()
    )
    return folder


def test_a_graph_must_have_the_embedding_that_its_manifest_names(tmp_path: Path) -> None:
    without = changed(kind_package(tmp_path / "a"), embedding=3)
    with pytest.raises(ModelPackageError, match="must give embedding"):
        ModelPackage.load(without)
    other = changed(embedding_package(tmp_path / "b"), embedding=4)
    with pytest.raises(ModelPackageError, match=r"embedding: float32\[N, 4\]"):
        ModelPackage.load(other)
