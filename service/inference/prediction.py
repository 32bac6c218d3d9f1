"""The answer for one image with its labels, as fields and as a picture."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.inference.image.views import Pixels
from service.inference.tta.steps import Classification
from service.inference.unknown import Unknown

KEPT_PX = 256
"""The longer side of a copy of pixels that is kept for pictures: from this value to twice this
value."""
MOST_SHOWN = 50
"""Predictions of a list that a notebook shows."""


@dataclass(frozen=True)
class TopClass:
    """One of the likeliest classes."""

    index: int
    id: str
    name: str
    probability: float

    def as_json(self) -> dict[str, Any]:
        """The class as answers over HTTP and `quincunx classify --json` write it."""
        return {
            "label": self.id,
            "name": self.name,
            "index": self.index,
            "probability": self.probability,
        }


@dataclass(frozen=True)
class Prediction:
    """The answer for one image, with labels."""

    label: str
    name: str
    probability: float
    top: tuple[TopClass, ...]
    prediction_set: tuple[str, ...] | None
    answer: Classification = field(compare=False)
    """All numbers of the answer. Arrays have no single truth value, so `==` leaves them out."""
    labels: tuple[TopClass, ...] | None = None
    """Multi-label models: the classes at or above their thresholds, likeliest first; maybe none."""
    prediction_set_classes: tuple[TopClass, ...] | None = None
    """The classes of `prediction_set`, in its order, with their names and probabilities."""
    image: bytes | Pixels | None = field(default=None, repr=False, compare=False)
    """For pictures: the file that was classified, or a small copy of the pixels."""

    @property
    def unknown(self) -> Unknown | None:
        """Whether none of the classes fits; None if the package or the mode cannot say."""
        return self.answer.unknown

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """float32[C], the mean over views; None if the package has no embeddings."""
        return self.answer.embedding

    def picture(self) -> Image.Image:
        """The answer as an RGB image: the photo with its views, the likely classes, the cost.

        Save it with ``prediction.picture().save("answer.png")``.
        """
        from service.picture.card import card
        from service.picture.drawing import draw

        return draw(card(self))

    def show(self) -> None:
        """Show the picture: in a notebook as HTML, elsewhere in the system's viewer of images.

        Raises:
            UsageError: there is no viewer or no screen; `picture` makes an image to save.
        """
        from service.picture.viewing import show

        show(self)

    def _repr_html_(self) -> str:
        """Notebooks show the prediction as this."""
        from service.picture.card import card
        from service.picture.html import html

        return html(card(self))


def kept_image(image: bytes | bytearray | memoryview | Pixels) -> bytes | Pixels:
    """The data that a prediction keeps for its picture: the file, or a small copy of pixels.

    The copy leaves out rows and columns. It is a copy because the caller may fill its array with
    the next image.
    """
    if not isinstance(image, np.ndarray):
        return bytes(image)  # copies nothing if it is bytes
    step = max(1, max(image.shape[:2]) // KEPT_PX)
    return image[::step, ::step].copy()


class Predictions(list[Prediction]):
    """The predictions of several images. A notebook shows each of them as a picture."""

    def _repr_html_(self) -> str:
        parts = [one._repr_html_() for one in self[:MOST_SHOWN]]  # pyright: ignore[reportPrivateUsage]
        if len(self) > MOST_SHOWN:
            parts.append(f"<div>and {len(self) - MOST_SHOWN} more</div>")
        return "".join(parts)
