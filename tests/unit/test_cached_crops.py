"""Crops of decoded images: they lie where fastai's and serving's lie, and shrink as Pillow does."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp

from service.inference.image.geometry import Size, centre_box, shorter_side
from service.inference.image.views import Pixels, cut, resize
from tests.support.images import drawn, encoded
from training.data.cache.build import Cache
from training.data.cache.entry import CachedPixels
from training.data.cache.storing import Storing
from training.fit.cached.crops import Crops, random_boxes, served_crops, training_crops
from training.fit.cached.sources import DevicePixels, FilePixels
from training.fit.item_crop import ItemCrop

CPU = torch.device("cpu")
SIZES = [(375, 500), (500, 333), (224, 224), (40, 300), (300, 90), (7, 5)]
"""Height and width: of photos, squares, and images that are too narrow for most crops."""
LEVELS = 1.01
"""How far the matrix products may be from Pillow, which rounds twice: of 255 levels."""


@pytest.fixture(scope="module", name="pixels")
def _pixels(tmp_path_factory: pytest.TempPathFactory) -> CachedPixels:
    """Rectangular images, stored as they are: none is larger than 2000 px."""
    return cached(tmp_path_factory.mktemp("cached"), 2000)


def cached(folder: Path, shorter_px: int) -> CachedPixels:
    paths: list[Path] = []
    for number, size in enumerate(SIZES):
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(encoded(drawn(*size, seed=number)))
    return Cache(Storing(shorter_px), folder / "cache").build(paths, "drawn")


def fastai_boxes(height: int, width: int, count: int) -> np.ndarray:
    """Left, top, right, bottom of `count` crops that fastai draws."""
    transform: Any = ItemCrop(64, 0.35, 64).transform()
    image = Image.new("RGB", (width, height))
    rows: list[tuple[int, ...]] = []
    for _ in range(count):
        transform.before_call(image, split_idx=0)
        (left, top), (across, down) = transform.tl, transform.cp_size
        rows.append((left, top, left + across, top + down))
    return np.array(rows)


def p_value(one: np.ndarray, other: np.ndarray) -> float:
    """Of the Kolmogorov-Smirnov test that both have the same distribution."""
    result: Any = ks_2samp(one, other)
    return float(result.pvalue)


@pytest.mark.parametrize("size", SIZES[:5])
def test_crops_are_drawn_as_fastai_draws_them(size: tuple[int, int]) -> None:
    random.seed(1)
    count = 4000
    theirs = fastai_boxes(*size, count)
    sizes = np.tile(np.array(size), (count, 1))
    ours = random_boxes(sizes, 0.35, (3 / 4, 4 / 3), np.random.default_rng(1))
    for measured in (
        lambda box: (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]),  # area
        lambda box: (box[:, 2] - box[:, 0]) / (box[:, 3] - box[:, 1]),  # aspect ratio
        lambda box: box[:, 0] + box[:, 2],  # centre
        lambda box: box[:, 1] + box[:, 3],
        lambda box: box[:, 0],  # left and top
        lambda box: box[:, 1],
    ):
        assert p_value(measured(ours), measured(theirs)) > 0.01
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] <= sizes[:, ::-1]).all()


def test_the_test_of_the_distribution_can_fail() -> None:
    random.seed(1)
    theirs = fastai_boxes(375, 500, 4000)
    sizes = np.tile(np.array([375, 500]), (4000, 1))
    other = random_boxes(sizes, 0.30, (3 / 4, 4 / 3), np.random.default_rng(1))
    one, two = ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (theirs, other))
    assert p_value(one, two) < 0.001


def test_crops_of_stored_images_are_those_of_the_files() -> None:
    """A stored image is smaller than the file's; the crop shows the same part of it."""
    full = np.tile(np.array([600, 801]), (500, 1))
    stored = np.tile(np.array([150, 200]), (500, 1))
    crop = ItemCrop(32, 0.35, 32)
    large = training_crops(full, full, crop, True, np.random.default_rng(3))
    small = training_crops(full, stored, crop, True, np.random.default_rng(3))
    np.testing.assert_allclose(small.boxes[:, ::2] / 200, large.boxes[:, ::2] / 801)
    np.testing.assert_allclose(small.boxes[:, 1::2] / 150, large.boxes[:, 1::2] / 600)
    assert (small.flips == large.flips).all()
    assert 200 < small.flips.sum() < 300
    assert (small.bounds[:, :2] <= small.boxes[:, :2]).all()
    assert (small.bounds[:, 2:] >= small.boxes[:, 2:]).all()
    assert (small.bounds[:, 2:] <= [200, 150]).all()


def pillow(image: Pixels, crops: Crops, row: int, out_px: int) -> np.ndarray:
    """fastai's crop of an image: cut, then resized by Pillow, then mirrored."""
    left, top, right, bottom = crops.boxes[row].astype(int)
    made = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    pixels = np.asarray(made.resize((out_px, out_px), Image.Resampling.BILINEAR))
    return pixels[:, ::-1] if crops.flips[row] else pixels


@pytest.mark.parametrize("out_px", [32, 96, 320])
def test_crops_are_resized_as_pillow_does(pixels: CachedPixels, out_px: int) -> None:
    """Rectangles of all sizes in one batch, shrunk up to eleven times, and enlarged."""
    rows = np.tile(np.arange(len(SIZES)), 4)
    sizes = pixels.sizes[rows]
    crops = training_crops(
        sizes, sizes, ItemCrop(out_px, 0.35, out_px), True, np.random.default_rng(5)
    )
    assert 0 < crops.flips.sum() < len(rows)
    device = DevicePixels(pixels, CPU).prepare(rows, crops, out_px).finish()
    source = FilePixels(pixels, CPU)
    file = source.prepare(rows, crops, out_px).finish()
    sent = source._cut(rows, crops, out_px).finish()  # what a GPU does with the file's pixels
    assert torch.equal(sent, device)
    assert device.shape == file.shape == (len(rows), 3, out_px, out_px)
    for index, row in enumerate(rows):
        exact = pillow(pixels.image(row), crops, index, out_px).transpose(2, 0, 1)
        np.testing.assert_array_equal(file[index].numpy(), exact)
        assert np.abs(device[index].numpy() - exact).max() <= LEVELS


def test_a_shrunk_crop_is_antialiased(pixels: CachedPixels) -> None:
    """Stripes of one pixel become grey. Without a filter they would make stripes of other widths"""
    stripes = np.zeros((1, 512, 512, 3), np.uint8)
    stripes[:, :, ::2] = 255
    from training.fit.cached.resampling import resample

    whole = torch.tensor([[0.0, 0.0, 512.0, 512.0]])
    made = resample(torch.from_numpy(stripes), whole, whole, 60)
    assert made.std() < 2
    plain = torch.nn.functional.interpolate(
        torch.from_numpy(stripes).permute(0, 3, 1, 2).float(), (60, 60), mode="bilinear"
    )
    assert plain.std() > 50


@pytest.mark.parametrize(("crop_px", "resize_px"), [(32, 64), (64, 64), (96, 128)])
def test_calibration_crops_are_the_served_ones(
    pixels: CachedPixels, crop_px: int, resize_px: int
) -> None:
    rows = np.arange(len(SIZES))
    crops = served_crops(pixels.full_sizes[rows], pixels.sizes[rows], crop_px, resize_px)
    for source in (FilePixels(pixels, CPU), DevicePixels(pixels, CPU)):
        made = source.prepare(rows, crops, crop_px).finish()
        for row in rows:
            image = pixels.image(int(row))
            size = shorter_side(Size(*image.shape[:2]), resize_px)
            served = cut(resize(image, size), centre_box(size, crop_px)).transpose(2, 0, 1)
            assert np.abs(made[row].numpy() - served).max() <= LEVELS


def test_stored_images_keep_their_aspect_ratio(tmp_path: Path) -> None:
    pixels = cached(tmp_path, 100)
    rows = [pixels.rows[str(tmp_path / f"{number}.png")] for number in range(len(SIZES))]
    stored = [tuple(int(side) for side in pixels.sizes[row]) for row in rows]
    assert stored == [(100, 133), (150, 100), (100, 100), (40, 300), (300, 90), (7, 5)]
    assert [tuple(pixels.full_sizes[row]) for row in rows] == SIZES
    shrunk = resize(drawn(*SIZES[0], seed=0), Size(100, 133))
    np.testing.assert_array_equal(pixels.image(rows[0]), shrunk)
