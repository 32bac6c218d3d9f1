"""The Python API takes uint8 arrays and files, and casts nothing else to them."""

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.options import Options
from service.inference.predictor import Predictor
from service.scoring import score
from tests.support.images import coloured, encoded

PIXELS = coloured("red", 80, 90)
FILE = encoded(PIXELS)
DTYPES = (
    *("bool", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "object", "S3", "U3"),
)


def test_a_path_and_a_pillow_image_are_refused_with_what_to_write(predictor: Predictor) -> None:
    for given, hint in (("a.jpg", "read_bytes"), (Image.fromarray(PIXELS), r"np\.asarray")):
        with pytest.raises(UsageError, match=hint):
            predictor.classify([given])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="read_bytes"):
        predictor.classify("a.jpg")  # type: ignore[arg-type]


def test_any_sequence_of_images_is_taken(predictor: Predictor) -> None:
    both = predictor.classify(deque([FILE, PIXELS]))
    assert both == predictor.classify((FILE, PIXELS))


@pytest.mark.parametrize("source", [FILE, None, 7])
def test_what_is_no_source_is_named(predictor: Predictor, source: Any) -> None:
    with pytest.raises(UsageError, match="a source must be a path"):
        score(source, predictor)


def test_predictions_can_be_compared(predictor: Predictor) -> None:
    red, same, blue = predictor.classify([coloured(name) for name in ("red", "red", "blue")])
    assert red == same != blue
    assert len({red, same, blue}) == 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_array_is_cast(predictor: Predictor, dtype: str) -> None:
    """Not even where every value would survive: 255.0 may as well be the top of another range."""
    with pytest.raises(UsageError, match=r"an array of uint8 of shape \(H, W, 3\), but got"):
        predictor.classify([PIXELS.astype(dtype)])


@pytest.mark.parametrize(
    "image",
    [
        PIXELS.tolist(),
        Image.fromarray(PIXELS),
        Path("photo.jpg"),
        "photo.jpg",
        None,
        7,
        np.ma.masked_array(PIXELS, mask=PIXELS == 0),
        PIXELS[:, :, 0],
        PIXELS.transpose(2, 0, 1),
        np.zeros((80, 90, 4), np.uint8),
        np.zeros((0, 90, 3), np.uint8),
    ],
    ids=str,
)
def test_what_is_no_image_is_named(predictor: Predictor, image: Any) -> None:
    with pytest.raises(UsageError, match="an image must be"):
        predictor.classify([FILE, image])


@pytest.mark.parametrize("images", [FILE, PIXELS, "photo.jpg", None, {"a": FILE}, iter([FILE])])
def test_one_image_is_no_sequence_of_images(predictor: Predictor, images: Any) -> None:
    with pytest.raises(UsageError, match="images must be a sequence"):
        predictor.classify(images)


def test_files_and_pixels_may_be_any_buffer_or_view(predictor: Predictor) -> None:
    kinds: list[Any] = [
        FILE,
        bytearray(FILE),
        memoryview(FILE),
        PIXELS,
        np.asfortranarray(PIXELS),
        PIXELS[:, ::-1],
    ]
    assert {p.label for p in predictor.classify(kinds)} == {"red"}
    assert {p.label for p in predictor.classify(np.stack([PIXELS, PIXELS]))} == {"red"}  # pyright: ignore[reportArgumentType]
    assert predictor.classify([]) == []


@pytest.mark.parametrize("top_k", [0, -1, 2.5, True, "3", None, float("nan")])
def test_top_k_is_a_whole_number(predictor: Predictor, top_k: Any) -> None:
    with pytest.raises(UsageError, match="top_k must be a whole number of at least 1"):
        predictor.classify([FILE], top_k=top_k)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tta": "fivecrop"}, "tta must be one of none, five_crop"),
        ({"tta": "fivecrop", "boxes": (FractionBox(0, 0, 1, 1),)}, "tta must be one of"),
        ({"tta": ""}, "tta must be one of"),
        ({"tta": ["dense"]}, "tta must be one of"),
        ({"aggregate": "average"}, "aggregate must be one of mean, max"),
        ({"coverage": "0.9"}, r"coverage must be a finite number, but got '0.9' \(str\)"),
        ({"coverage": True}, "coverage must be a finite number"),
        ({"coverage": float("nan")}, "coverage must be a finite number"),
        ({"gate_cost": float("inf")}, "gate_cost must be a finite number"),
        ({"coverage": 1.0000001}, "coverage must be from 0 to 1, but got 1.0000001"),
        ({"gate_cost": -1}, "gate_cost must be from 0 to 100, but got -1"),
        (
            {"coverage": 10**5000},
            "coverage must be a finite number, but got 'a number of more than",
        ),
        ({"gate_costs": 2}, "no option 'gate_costs'; did you mean 'gate_cost'"),
        ({"boxes": "0,0,1,1"}, "boxes must be a sequence of FractionBox"),
        ({"boxes": ((0, 0, 1, 1),)}, "box 0 must be a FractionBox"),
        ({"boxes": (FractionBox(0, 0, 1, "1"),)}, "bottom of box 0 must be a finite number"),  # type: ignore
        ({"boxes": (FractionBox(0, 0, 1, 1, "no"),)}, "flip of box 0 must be a bool"),  # type: ignore
    ],
)
def test_an_option_of_a_wrong_type_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**options)


def test_a_coverage_is_not_rounded_to_one_that_was_fitted(predictor: Predictor) -> None:
    for coverage in (0.95, np.float32(0.95)):
        (answer,) = predictor.classify([FILE], coverage=coverage)  # pyright: ignore[reportArgumentType]
        assert answer.prediction_set
        classes = answer.prediction_set_classes
        assert classes
        assert tuple(one.id for one in classes) == answer.prediction_set
        assert classes[0] == answer.top[0]
    for coverage in (0.9500004, 0.949999):
        with pytest.raises(UsageError, match=f"coverage must be one of .* but got {coverage}"):
            predictor.classify([FILE], coverage=coverage)


@pytest.mark.parametrize(
    "options", [{"top_k": 2.5}, {"top_k": "3"}, {"top_k": 0}, {"tta": ""}, {"aggregate": "mode"}]
)
def test_scoring_takes_the_same_options(
    predictor: Predictor, tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "red.png").write_bytes(FILE)
    with pytest.raises(UsageError, match=f"{next(iter(options))} must be"):
        score(tmp_path, predictor, **options)
