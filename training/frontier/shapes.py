"""Give images another shape before they are measured: photos of people are seldom square."""

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from service.inference.image.geometry import Size
from service.inference.image.views import AnyImage, Pixels, as_pixels, resize
from service.inference.predictor import Predictor
from service.inference.tta.passes import StepsOf
from training.evaluation.methods import Method, Result


@dataclass(frozen=True)
class Shape:
    """How images are changed."""

    aspect: float = 1.0
    """Ratio of the longer to the shorter side; 1: images are left as they are."""
    stretch: bool = False
    """Stretch images instead of cutting them."""

    def of(self, image: AnyImage) -> AnyImage:
        """The image in this shape."""
        if self.aspect == 1:
            return image
        return stretched(image, self.aspect) if self.stretch else rectangle(image, self.aspect)

    def before(self, method: Method) -> Method:
        """The method, on images that are brought into this shape first."""

        def start(predictor: Predictor, image: AnyImage) -> StepsOf[Result]:
            return method.start(predictor, self.of(image))

        return replace(method, start=start)


AS_THEY_ARE = Shape()


def rectangle(image: AnyImage, aspect: float) -> Pixels:
    """The largest middle part whose longer side is `aspect` times its shorter side.

    Half of the images become landscape, the others portrait. A checksum of the pixels decides, so
    the result for an image is always the same.
    """
    pixels = as_pixels(image)
    height, width = pixels.shape[:2]
    landscape = crc32(pixels.tobytes()) % 2 == 0
    ratio = aspect if landscape else 1 / aspect
    wide, high = min(width, round(height * ratio)), min(height, round(width / ratio))
    left, top = (width - wide) // 2, (height - high) // 2
    return np.ascontiguousarray(pixels[top : top + high, left : left + wide])


def stretched(image: AnyImage, aspect: float) -> Pixels:
    """The whole image, `aspect` times as wide as it was.

    This turns a landscape photo that was squashed to a square into its own shape again.
    """
    pixels = as_pixels(image)
    height, width = pixels.shape[:2]
    return resize(pixels, Size(height, round(width * aspect)), "bicubic")
