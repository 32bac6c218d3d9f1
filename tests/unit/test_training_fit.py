"""`fit` of a recipe: validation sees the views of serving; with `squash` training does so too."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from service.errors import UsageError
from service.inference.image.geometry import Size
from service.inference.image.views import Pixels, cut, resize, size_of
from service.inference.tta.planner import Planner
from service.package.manifest import InputSize
from tests.support.images import COLOURS, drawn, encoded
from training import recipe as recipes
from training.data.cache.build import Cache
from training.data.cache.storing import Storing
from training.data.dataset import Split, split
from training.fit.cached.crops import training_crops
from training.fit.cached.loaders import cached_loaders
from training.fit.cached.sources import DevicePixels, FilePixels
from training.fit.item_crop import ItemCrop, item_crop
from training.fit.loaders import dataloaders
from training.recipe import Recipe

SMALL = [
    "crop_px=32", "resize_px=64", "calibration_share=0.5", "stage.1.size_px=32", "augment=crop",
    "normalization=none",
]  # fmt: skip
CPU = torch.device("cpu")
FITS = ("squash", "shorter_side")
SHAPES = [(100, 260), (300, 90), (120, 120)]
LEVELS = 1.01
"""How far the matrix products may be from Pillow, of 255 levels."""


def small(*more: str) -> Recipe:
    return recipes.load("baseline", [*SMALL, "fit=squash", *more])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Two classes of images of several shapes; half of them are held out for calibration."""
    folder = tmp_path_factory.mktemp("data")
    for part in ("train", "val"):
        for offset, name in enumerate(list(COLOURS)[:2]):
            (folder / part / name).mkdir(parents=True)
            for number, shape in enumerate(SHAPES * 2):
                file = folder / part / name / f"{number}.png"
                file.write_bytes(encoded(drawn(*shape, seed=10 * offset + number)))
    return split(folder, small())


def none_view(image: np.ndarray, sizes: InputSize) -> Pixels:
    (only,) = Planner(sizes).passes("none", size_of(image))
    return cut(resize(image, only.resized, only.interpolation), only.box)


def served(images: Split, recipe: Recipe) -> list[np.ndarray]:
    """What the package of this recipe shows the network of the calibration images."""
    pixels = [np.asarray(Image.open(item.path)) for item in images.calibration]
    return [none_view(image, recipe.input_size()) for image in pixels]


def batch_of(loader: Any) -> np.ndarray:
    """All images of a loader: [N, H, W, 3] in 0..255."""
    found = torch.cat([batch[0].as_subclass(torch.Tensor) for batch in loader])
    return (found * 255).permute(0, 2, 3, 1).numpy()


def test_a_recipe_keeps_the_shape_unless_it_says_squash() -> None:
    assert small().input_size().fit == "squash"
    plain = recipes.load("baseline", SMALL)
    assert plain.input_size().fit == "shorter_side"
    old = plain.to_json()
    del old["fit"]
    assert Recipe.from_json(old) == plain
    with pytest.raises(UsageError, match=r"recipe.fit must be one of shorter_side, squash"):
        small("fit=stretch")


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("sizes", [[], ["resize_px=32"], ["resize_px=96", "crop_px=64"]])
def test_validation_of_files_is_the_view_of_none(images: Split, sizes: list[str], fit: str) -> None:
    recipe = small(*sizes, f"fit={fit}")
    loaders = dataloaders(images, recipe, recipe.crop_px, None)
    # Serving resizes the whole image. Here only the crop is made, so edges are rounded otherwise.
    differences = np.abs(batch_of(loaders.valid) - np.stack(served(images, recipe)))
    assert differences.max() <= LEVELS
    assert differences.mean() < 0.05


@pytest.mark.parametrize(("fit", "another"), [FITS, FITS[::-1]])
def test_presized_validation_shows_the_same_part(images: Split, fit: str, another: str) -> None:
    """Presizing resizes twice, so pixels differ a little. Views of another part differ much."""
    recipe = small("augment=presize", "presize_px=96", f"fit={fit}")
    found = batch_of(dataloaders(images, recipe, recipe.crop_px, None).valid)
    expected = np.stack(served(images, recipe)).astype(float)
    kept = served(images, small(f"fit={another}"))
    for got, own, other in zip(found, expected, kept, strict=True):
        assert np.abs(got - own).mean() < 3
        if not np.array_equal(own, other):  # not a square image
            assert np.abs(got - other).mean() > 1.5 * np.abs(got - own).mean()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("kind", [FilePixels, DevicePixels])
def test_validation_of_decoded_images_is_the_view_of_none(
    images: Split, tmp_path: Path, kind: Any, fit: str
) -> None:
    recipe = small(f"fit={fit}")
    decoded = Cache(Storing(2000), tmp_path).build(images.paths(), "drawn")
    loaders = cached_loaders(kind(decoded, CPU), images, recipe, recipe.crop_px, None)
    assert np.abs(batch_of(loaders.valid) - np.stack(served(images, recipe))).max() <= LEVELS


@pytest.mark.parametrize("shape", SHAPES)
def test_a_random_crop_is_one_of_the_squashed_image(shape: tuple[int, int]) -> None:
    image = Image.fromarray(drawn(*shape, seed=3))
    side = max(shape)
    square = image.resize((side, side), Image.Resampling.BILINEAR)
    ours: Any = ItemCrop(32, 0.35, 64, "squash").transform()
    theirs: Any = ItemCrop(32, 0.35, 32).transform()
    stretch = np.array([shape[1] / side, shape[0] / side])
    for seed in range(20):
        random.seed(seed)
        ours.before_call((image, None), 0)
        random.seed(seed)
        theirs.before_call((square, None), 0)
        first, last = np.array(theirs.tl), np.array(theirs.tl) + theirs.cp_size
        assert np.abs(np.array(ours.tl) - first * stretch).max() <= 0.5
        assert np.abs(np.array(ours.tl) + ours.cp_size - last * stretch).max() <= 0.5
        assert ours.final_size == theirs.final_size == (32, 32)


def test_square_images_are_cropped_as_before() -> None:
    image = Image.fromarray(drawn(90, 90))
    ours: Any = ItemCrop(32, 0.35, 64, "squash").transform()
    before: Any = ItemCrop(32, 0.35, 32).transform()
    for seed in range(20):
        for one in (ours, before):
            random.seed(seed)
            one.before_call(image, 0)
        assert (ours.tl, ours.cp_size) == (before.tl, before.cp_size)


def test_crops_of_decoded_images_are_those_of_a_square() -> None:
    full = np.tile(np.array([200, 600]), (300, 1))
    stored = np.tile(np.array([100, 300]), (300, 1))
    found = training_crops(
        full, stored, ItemCrop(32, 0.35, 64, "squash"), True, np.random.default_rng(2)
    )
    squares = np.full((300, 2), 600)
    square = training_crops(
        squares, squares, ItemCrop(32, 0.35, 32), True, np.random.default_rng(2)
    )
    expected = square.boxes / 600 * [300, 100, 300, 100]
    np.testing.assert_allclose(found.boxes, expected)
    assert (found.flips == square.flips).all()
    assert (found.bounds[:, 2:] <= [300, 100]).all()
    shares = (found.boxes[:, 2:] - found.boxes[:, :2]) / [300, 100]
    ratios = shares[:, 0] / shares[:, 1]
    assert ratios.min() > 0.74
    assert ratios.max() < 1.36


def test_the_least_size_has_the_pixels_of_the_validation_square() -> None:
    crop = item_crop(small("resize_px=320"), 32)
    assert crop.whole_px == 320
    assert crop.shorter_side_px() >= 320
    plain = item_crop(recipes.load("baseline", [*SMALL, "resize_px=320"]), 32)
    assert (plain.whole_px, plain.fit) == (320, "shorter_side")
    assert plain.shorter_side_px() >= 320


def test_narrow_images_have_crops() -> None:
    image = Image.fromarray(drawn(2, 400))
    crop: Any = ItemCrop(32, 0.05, 32, "squash").transform()
    for seed in range(50):
        random.seed(seed)
        made = crop(image, split_idx=0)
        assert made.size == (32, 32)
        assert min(crop.cp_size) >= 1
        assert crop.tl[0] + crop.cp_size[0] <= 400
        assert crop.tl[1] + crop.cp_size[1] <= 2
    assert Size(32, 32) == size_of(np.asarray(crop(image, split_idx=1)))


def test_of_very_long_images_only_the_crop_is_made() -> None:
    """Resized as a whole, this image would have 90 million pixels."""
    crop: Any = ItemCrop(300, 0.35, 300).transform()
    made = crop(Image.fromarray(drawn(2, 2000)), split_idx=1)
    assert made.size == (300, 300)
