"""Training decodes files as the exported package does: the recipe's `decode` and its factor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from service import cli
from service.errors import UsageError
from service.inference.decode import decode, decode_image
from service.inference.image.views import Pixels
from service.inference.tta.planner import Planner
from service.package.package import ModelPackage
from tests.support.dataset import drawn_dataset
from tests.support.images import drawn, encoded
from tests.support.untrained import write_run
from training import recipe as recipes
from training.data.dataset import Split, split
from training.data.samples import views
from training.data.stats import from_files, from_images
from training.export.export import load_source
from training.fit.item_crop import item_crop, least_size
from training.fit.loaders import dataloaders, load_image
from training.fit.train import channel_stats, train
from training.previews.sample_batch import sample_batch
from training.recipe import Recipe
from training.run import checkpoint

SIZES = ["crop_px=32", "resize_px=64", "calibration_share=0.2", "stage.1.size_px=32"]
SMALL = [*SIZES, "augment=crop", "min_scale=0.5"]
LARGE_PX = (800, 1200)


def small(*more: str) -> Recipe:
    return recipes.load("baseline", [*SMALL, *more])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in which every file is a JPEG that can be scaled down."""
    folder = drawn_dataset(tmp_path_factory.mktemp("data"), train=4, val=1)
    for number, file in enumerate(sorted(folder.glob("*/*/*.png"))):
        file.with_suffix(".jpg").write_bytes(encoded(drawn(*LARGE_PX, seed=number), "JPEG"))
        file.unlink()
    return folder


def loaded(images: Split, recipe: Recipe) -> list[Pixels]:
    """The pixels of every file, in order, as the loaders give them to the first transform."""
    dataset: Any = dataloaders(images, recipe, 32, None)
    parts = [*dataset.train_ds, *dataset.valid_ds]
    return [np.asarray(image) for image, _ in parts]


def files(images: Split) -> list[Path]:
    return [item.path for item in (*images.train, *images.calibration)]


def test_the_loaders_give_the_pixels_of_the_serving_decoder(data: Path) -> None:
    recipe = small()
    images = split(data, recipe)
    for pixels, file in zip(loaded(images, recipe), files(images), strict=True):
        served = decode_image(file.read_bytes(), least_size=least_size(recipe, 32))
        assert served.scale == 4
        np.testing.assert_array_equal(pixels, served.array())


def test_an_exact_recipe_loads_every_pixel(data: Path) -> None:
    recipe = small("decode=exact")
    images = split(data, recipe)
    for pixels, file in zip(loaded(images, recipe), files(images), strict=True):
        np.testing.assert_array_equal(pixels, decode(file.read_bytes()))


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize(("height", "width"), [(224, 224), (375, 500)])
def test_small_files_are_loaded_as_before(
    name: str, height: int, width: int, tmp_path: Path
) -> None:
    """All recipes that ship: no file of Imagenette's size is scaled."""
    file = tmp_path / "small.jpg"
    file.write_bytes(encoded(drawn(height, width), "JPEG"))
    recipe = recipes.load(name)
    assert recipe.decode == "scaled"
    for size_px in {stage.size_at(epoch) for stage in recipe.stages for epoch in range(99)}:
        image = load_image(file, least_size(recipe, size_px))
        np.testing.assert_array_equal(np.asarray(image), decode(file.read_bytes()))


@settings(max_examples=60)
@given(
    st.integers(100, 1500), st.integers(100, 1500), st.sampled_from(["crop", "presize"]),
    st.floats(0.05, 1), st.integers(1, 8), st.booleans(),
    st.sampled_from(["shorter_side", "squash"]),
)  # fmt: skip
def test_no_crop_of_a_scaled_image_has_fewer_pixels_than_the_factor_says(
    height: int, width: int, augment: str, min_scale: float, factor: int, validation: bool, fit: str
) -> None:
    recipe = small(
        f"augment={augment}", "presize_px=64", f"min_scale={min_scale}", f"decode_factor={factor}",
        f"fit={fit}",
    )  # fmt: skip
    data = encoded(np.zeros((height, width, 3), np.uint8), "JPEG")
    image = decode_image(data, least_size=least_size(recipe, 32))
    crop: Any = item_crop(recipe, 32).transform()
    if validation and image.scale > 1:
        assert min(image.image.size) + 0.5 >= factor * crop.whole_px
    for _ in range(0 if validation else 20):
        crop.before_call(Image.new("RGB", image.image.size), 0)
        if image.scale > 1:
            # A crop is a whole number of pixels: it may be half a pixel smaller.
            # In a squashed image both of its ends are rounded too.
            spare = 0.5 if fit == "shorter_side" else 1.5
            assert min(crop.cp_size) + spare >= factor * max(crop.final_size)


def test_crops_without_a_smallest_size_need_every_pixel() -> None:
    assert least_size(small("min_scale=0"), 32) is None


def test_statistics_are_those_of_the_serving_decoder(data: Path) -> None:
    recipe = small("normalization=dataset")
    images = split(data, recipe)
    least = Planner(recipe.input_size()).decoding()
    paths = [item.path for item in images.train]
    served = [decode_image(path.read_bytes(), least_size=least) for path in paths]
    assert {image.scale for image in served} == {4}
    got = channel_stats(recipe, images)
    assert got == from_images(image.array() for image in served)
    exact = channel_stats(small("normalization=dataset", "decode=exact"), images)
    assert exact == from_files(paths)
    np.testing.assert_allclose(got.mean, exact.mean, atol=2e-3)


def test_show_batch_says_how_it_loads(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def noted(path: Path, **how: Any) -> Any:
        seen.append(how["least_size"])
        return load_image(path, **how)

    monkeypatch.setattr("training.fit.loaders.load_image", noted)
    recipe = small("batch_images=4", "least_steps=0")
    sample_batch(data, recipe, log=lambda _: None)
    assert set(seen) == {least_size(recipe, 32)}


def test_views_for_int8_and_statistics_follow_the_recipe(data: Path) -> None:
    item = split(data, small()).train[0]
    recipe = small()
    image = decode_image(item.path.read_bytes(), least_size=Planner(recipe.input_size()).decoding())
    scaled = next(views(item, recipe.input_size(), ["none"]))
    exact = next(views(item, small("decode=exact").input_size(), ["none"]))
    assert image.scale == 4
    assert (scaled != exact).any()
    assert np.abs(scaled.astype(int) - exact).mean() < 1


def test_a_record_without_the_value_is_exact() -> None:
    old = small().to_json()
    del old["decode"], old["decode_factor"]
    assert Recipe.from_json(old).decode == "exact"
    assert Recipe.from_json(old) != small()
    assert Recipe.from_json(small().to_json()) == small()


def test_resuming_an_old_run_says_what_to_set(tmp_path: Path, drawn_data: Path) -> None:
    run = old_run(tmp_path / "run", drawn_data)
    recipe = Recipe.from_json(checkpoint.load(run).facts["recipe"] | {"decode": "scaled"})
    with pytest.raises(UsageError, match=r"differs in decode,.*--set decode=exact"):
        train(drawn_data, recipe, run, resume=True, log=lambda _: None)


def test_sizes_that_no_package_can_have_are_refused_before_training() -> None:
    with pytest.raises(UsageError, match=r"resize_px: .*3136.*6400"):
        small("resize_px=6400")
    with pytest.raises(UsageError, match=r"decode_factor: .*0"):
        small("decode_factor=0")


def old_run(folder: Path, data: Path) -> Path:
    """A run that was written before recipes had `decode`."""
    run = write_run(folder, data)
    state = checkpoint.load(run)
    del state.facts["recipe"]["decode"], state.facts["recipe"]["decode_factor"]
    checkpoint.save(run, state)
    return run


def test_a_package_decodes_as_its_run_did(exported: Path, tmp_path: Path, drawn_data: Path) -> None:
    sizes = ModelPackage.load(exported).manifest.input
    assert (sizes.decode, sizes.decode_factor) == ("scaled", 3)
    old = load_source(old_run(tmp_path / "run", drawn_data), drawn_data, allow_unfinished=False)
    assert old.sizes.decode == "exact"


def test_the_command_overrides_the_recipe(
    run_folder: Path, drawn_data: Path, tmp_path: Path
) -> None:
    package = tmp_path / "made"
    given = ["export", str(run_folder), "--out", str(package), "--data", str(drawn_data)]
    result = CliRunner().invoke(cli.app, [*given, "--no-int8", "--decode", "exact"])
    assert result.exit_code == 0, result.output
    content = json.loads((package / "manifest.json").read_text())
    assert content["input"]["decode"] == "exact"
    assert "scaled down" not in (package / "MODEL_CARD.md").read_text()


def test_the_command_names_the_ways_of_decoding(tmp_path: Path) -> None:
    given = ["export", "run", "--out", str(tmp_path / "made"), "--data", "data"]
    result = CliRunner().invoke(cli.app, [*given, "--decode", "half"])
    assert result.exit_code == 2
    assert "'exact', 'scaled'" in result.output
