"""Compare the view that a package makes of a photo with the library's own preprocessing."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.console.text import reason_of
from service.inference.image.views import Pixels, cut, resize, size_of
from service.inference.tta.planner import Planner
from service.package.manifest import InputSize
from training.surgery.probe import smooth_images
from training.surgery.wanted import Triple

Preprocess = Callable[[Pixels], Tensor]
"""A library's own function: a photo, uint8[H, W, 3] in RGB -> the input of its model, normalized,
float32[3, S, S]."""
SHAPES = ((1.0, 1.5), (1.5, 1.0))
"""Height and width of the photos, in sides of the resized image."""
LEVELS = 10.0
"""The largest mean difference, of 255 levels. fastai's presizing, which resizes twice, differs by
up to 7; another part of the photo, or another shape, by 16 or more."""


def difference(own: Preprocess, sizes: InputSize, mean: Triple, std: Triple) -> str:
    """How the view of mode `none` differs from `own` on photos that are not square.

    A sentence for the report; empty if both are alike.
    """
    worst = 0.0
    for high, wide in SHAPES:
        height, width = round(high * sizes.resize_px), round(wide * sizes.resize_px)
        photo = smooth_images(1, height, width)[0]
        try:
            with torch.inference_mode():
                expected = _levels(own(photo), mean, std)
        except Exception as error:  # of the library's own code
            reason = reason_of(error)
            return f"the source's own preprocessing was not compared, because it fails: {reason}"
        view = _view(photo, sizes)
        if expected.shape != view.shape:
            (rows, columns), side = expected.shape[:2], sizes.crop_px
            return f"the source makes inputs of {columns}×{rows} px, the package of {side}×{side}"
        worst = max(worst, float(np.abs(view - expected).mean()))
    if worst <= LEVELS:
        return ""
    return (
        f"photos that are not square differ from the source's own preprocessing by {worst:.0f} of "
        "255 levels on average: compare its answers with those of the package on your images"
    )


def _view(photo: Pixels, sizes: InputSize) -> NDArray[np.float32]:
    (only,) = Planner(sizes).passes("none", size_of(photo))
    return cut(resize(photo, only.resized, only.interpolation), only.box).astype(np.float32)


def _levels(planes: Tensor, mean: Triple, std: Triple) -> NDArray[np.float32]:
    """Normalized float32[3, H, W] -> float32[H, W, 3] from 0 to 255."""
    found = planes.detach().cpu().as_subclass(Tensor).double()
    centre, spread = (torch.tensor(one, dtype=torch.float64).view(3, 1, 1) for one in (mean, std))
    return ((found * spread + centre) * 255).permute(1, 2, 0).float().numpy()
