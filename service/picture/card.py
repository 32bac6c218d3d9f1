"""What a picture of a prediction shows, in plain values."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from service.console.text import shown
from service.inference.decode import decode_image
from service.inference.image.geometry import FractionBox, Size
from service.inference.image.views import Pixels

if TYPE_CHECKING:
    from service.inference.prediction import Prediction

SIDE_PX = 256
"""The longer side of the image in a picture."""
ACCEPTED_PIXELS, ACCEPTED_MS = 10**9, 600_000
"""Limits of the second decoding. The image was already accepted under the predictor's limits."""


@dataclass(frozen=True)
class Card:
    """The content of a picture."""

    image: Image.Image | None
    """RGB; None if the prediction has no image."""
    boxes: tuple[FractionBox, ...]
    """Where the views lay, each place once."""
    classes: tuple[tuple[str, float], ...]
    """Name and probability, the likeliest first."""
    lines: tuple[str, ...]
    """Sentences about the answer."""


def card(prediction: "Prediction") -> Card:
    """Collect what a picture of `prediction` shows. The image is decoded again, in a small size."""
    places = {
        (b.left, b.top, b.right, b.bottom): b for b in (v.box for v in prediction.answer.views)
    }
    return Card(
        image=None if prediction.image is None else _thumbnail(prediction.image),
        boxes=tuple(places.values()),
        classes=tuple((shown(top.name), top.probability) for top in prediction.top),
        lines=tuple(_lines(prediction)),
    )


def _thumbnail(image: bytes | Pixels) -> Image.Image:
    if isinstance(image, bytes):
        picture = decode_image(image, ACCEPTED_PIXELS, ACCEPTED_MS, _small).image
    else:
        picture = Image.fromarray(image)
    scale = SIDE_PX / max(picture.size)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.BILINEAR)


def _small(size: Size) -> Size:
    share = min(1.0, SIDE_PX / max(size.height, size.width))
    return Size(max(1, math.ceil(size.height * share)), max(1, math.ceil(size.width * share)))


def _lines(prediction: "Prediction") -> list[str]:
    answer = prediction.answer
    lines = [f"{answer.tta}, cost {answer.cost:.1f} crops"]
    if answer.gate_open is not None:
        lines.append(
            "not sure after the first pass: a second pass ran"
            if answer.gate_open
            else "sure after the first pass"
        )
    if not answer.calibrated:
        lines.append("probabilities are not calibrated")
    if prediction.unknown is not None and prediction.unknown.is_unknown:
        lines.append("perhaps none of the classes: the image is unlike the training images")
    if prediction.labels is not None:
        lines.append(f"labels: {_listed([label.name for label in prediction.labels])}")
    if prediction.prediction_set_classes is not None:
        names = [one.name for one in prediction.prediction_set_classes]
        lines.append(f"prediction set: {_listed(names)}")
    return lines


def _listed(names: list[str], most: int = 10) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(map(shown, names[:most])) or "none") + rest
