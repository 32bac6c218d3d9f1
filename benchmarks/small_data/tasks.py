"""Small data sets: a few classes of a folder of photos, or drawn shapes and textures."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE_PX = 160
Drawer = Callable[[random.Random], Image.Image]


def some_of(source: Path, target: Path, *, classes: int, train: int, val: int, seed: int) -> None:
    """Copy some classes of ``source/{train,val}/<class>/*``; classes and files are drawn by `seed`.

    `train` and `val` are numbers of images of all classes together.
    """
    dice = random.Random(seed)
    names = sorted(path.name for path in (source / "train").iterdir() if path.is_dir())
    chosen = sorted(dice.sample(names, classes)) if classes < len(names) else names
    for part, count in (("train", train), ("val", val)):
        for name, images in zip(chosen, _shares(count, len(chosen)), strict=True):
            files = sorted((source / part / name).iterdir())
            folder = target / part / name
            folder.mkdir(parents=True)
            for file in dice.sample(files, min(images, len(files))):
                shutil.copyfile(file, folder / file.name)


def drawn(target: Path, drawers: dict[str, Drawer], *, train: int, val: int, seed: int = 0) -> None:
    """Draw a data set with this number of images in all classes together, as JPEG."""
    for part, count in (("train", train), ("val", val)):
        for (name, draw), images in zip(drawers.items(), _shares(count, len(drawers)), strict=True):
            folder = target / part / name
            folder.mkdir(parents=True)
            for number in range(images):
                dice = random.Random(f"{seed}/{part}/{name}/{number}")
                draw(dice).save(folder / f"{number:04}.jpg", quality=85)


def _shares(count: int, parts: int) -> list[int]:
    return [count // parts + (part < count % parts) for part in range(parts)]


def _colour(dice: random.Random) -> tuple[int, int, int]:
    return dice.randrange(256), dice.randrange(256), dice.randrange(256)


def _background(dice: random.Random) -> Image.Image:
    """Two colours that blend, and noise."""
    noise = np.random.default_rng(dice.randrange(2**32))
    ramp = np.linspace(0, 1, SIDE_PX)[:, None, None] * np.ones((1, SIDE_PX, 1))
    first, second = (np.array(_colour(dice), np.float64) for _ in range(2))
    pixels = first * ramp + second * (1 - ramp)
    pixels += noise.normal(0, dice.uniform(2, 20), pixels.shape)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.rotate(dice.choice((0, 90, 180, 270)))


def _polygon(corners: int, inner: float = 1.0) -> Drawer:
    """A regular polygon, or a star whose inner corners are at the share `inner` of the radius."""

    def draw(dice: random.Random) -> Image.Image:
        image, turn = _background(dice), dice.uniform(0, 2 * np.pi)
        radius = dice.uniform(0.16, 0.34) * SIDE_PX
        x, y = (dice.uniform(0.36, 0.64) * SIDE_PX for _ in range(2))
        angles = turn + np.arange(2 * corners) * np.pi / corners
        radii = radius * np.where(np.arange(2 * corners) % 2, inner, 1.0)
        if inner == 1:
            angles, radii = angles[::2], radii[::2]
        points = [
            (x + r * np.cos(a), y + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)
        ]
        ImageDraw.Draw(image).polygon(points, fill=_colour(dice))
        return image

    return draw


SHAPES: dict[str, Drawer] = {
    "triangle": _polygon(3),
    "square": _polygon(4),
    "disc": _polygon(40),
    "star": _polygon(5, inner=0.42),
}
"""One shape of any colour, size, place and turn before a background of any colour."""


def _texture(pattern: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]):
    """Two colours that `pattern` mixes, 0..1 for each pixel, with any scale and turn."""

    def draw(dice: random.Random) -> Image.Image:
        noise = np.random.default_rng(dice.randrange(2**32))
        y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] * (2 * np.pi / dice.uniform(12, 40))
        turn, shift = dice.uniform(0, np.pi), dice.uniform(0, 2 * np.pi)
        across = x * np.cos(turn) + y * np.sin(turn) + shift
        along = y * np.cos(turn) - x * np.sin(turn)
        share = pattern(across, along)[..., None]
        first, second = (np.array(_colour(dice), np.float64) for _ in range(2))
        pixels = first * share + second * (1 - share)
        pixels += noise.normal(0, dice.uniform(5, 30), pixels.shape)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    return draw


TEXTURES: dict[str, Drawer] = {
    "stripes": _texture(lambda u, v: (np.sin(u) + 1) / 2),
    "checks": _texture(lambda u, v: (np.sign(np.sin(u) * np.sin(v)) + 1) / 2),
    "dots": _texture(lambda u, v: (np.cos(u) + np.cos(v) > 0.8).astype(np.float64)),
    "waves": _texture(lambda u, v: (np.sin(u + 1.5 * np.sin(v / 2)) + 1) / 2),
    "rings": _texture(lambda u, v: (np.sin(np.hypot(u - 9, v - 9)) + 1) / 2),
}
"""Textures of any colours, scale and turn, with noise."""

DRAWN = {"shapes": SHAPES, "textures": TEXTURES}
