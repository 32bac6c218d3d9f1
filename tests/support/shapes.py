"""A multi-label data set that the tests draw: discs, squares and bars, each of its own colour."""

import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"disc": (225, 40, 30), "square": (40, 200, 60), "bar": (40, 70, 235)}


def shapes(folder: Path, train: int = 120, val: int = 30, *, split: bool = True) -> Path:
    """Draw images of up to three shapes, rectangular and of many sizes; returns their table.

    A table with a `split` column, or without one and then of `train` images alone.
    """
    dice = random.Random(0)
    (folder / "images").mkdir(parents=True)
    rows = [["path", "label", *(["split"] if split else [])]]
    for number in range(train + (val if split else 0)):
        there = [name for name in COLOURS if dice.random() < 0.45]
        path = folder / "images" / f"{number:04}.png"
        _drawn(there, dice).save(path)
        part = "train" if number < train else "val"
        rows.append([f"images/{path.name}", ";".join(there), *([part] if split else [])])
    with (folder / "shapes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "shapes.csv"


def _drawn(there: list[str], dice: random.Random) -> Image.Image:
    width, height = dice.randint(60, 120), dice.randint(60, 90)
    grey = dice.randint(90, 160)
    image = Image.new("RGB", (width, height), (grey, grey, grey))
    draw = ImageDraw.Draw(image)
    for place, name in enumerate(dice.sample(there, len(there))):
        side = width // 3 - 6
        left, top = place * width // 3 + 3, dice.randint(0, height - side - 1)
        box = (left, top, left + side, top + side)
        if name == "disc":
            draw.ellipse(box, COLOURS[name])
        else:
            draw.rectangle(
                box if name == "square" else (left, 0, left + side // 2, height), COLOURS[name]
            )
    return image
