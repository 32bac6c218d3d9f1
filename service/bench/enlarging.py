"""Photos made as large as those of a phone, for measurements of time.

A drawn image costs a decoder what a photo costs, but a model is less sure about it than about a
photo, so `adaptive` runs its second pass more often. An enlarged photo keeps its content. It gets
the grain of a camera's sensor, because a smooth image would be a small and cheap file. Enlarged
photos say nothing about accuracy on real photos of that size.
"""

import numpy as np
from PIL import Image

from service.bench.drawing import add_grain, grain, jpeg
from service.bench.image_size import ImageSize
from service.inference.decode import decode


def enlarge(data: bytes, size: ImageSize, seed: int) -> bytes:
    """A JPEG of a photo in another size, with grain.

    A photo that is taller than wide gets `size` turned by 90 degrees. What does not fit the new
    aspect ratio is cut off on both sides.

    Raises:
        ClientError: the photo cannot be decoded.
    """
    photo = Image.fromarray(decode(data))
    target = size.width_px, size.height_px
    if (photo.height > photo.width) != (target[1] > target[0]):
        target = target[1], target[0]
    pixels = np.array(photo.resize(target, Image.Resampling.BICUBIC, box=_middle(photo, target)))
    generator = np.random.default_rng(seed)
    add_grain(pixels, grain(generator), generator)
    return jpeg(pixels)


def _middle(photo: Image.Image, target: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box of the target's aspect ratio in the middle of a photo."""
    scale = min(photo.width / target[0], photo.height / target[1])
    width, height = target[0] * scale, target[1] * scale
    left, top = (photo.width - width) / 2, (photo.height - height) / 2
    return left, top, min(left + width, photo.width), min(top + height, photo.height)
