"""Hold an opened graph to its manifest: run it once and look at what it gives."""

import numpy as np

from service.errors import InferenceFailed, ModelPackageError
from service.inference.runtime.session import Output, Session
from service.package.manifest import STRIDE_PX, Manifest


def check_fit(session: Session, manifest: Manifest) -> None:
    """Run the graph on a crop, and on a whole image, as every mode does.

    What a graph says of its outputs may be less than the truth: a network that was exported with a
    fixed size inside fails only when it runs, and one whose training failed gives no numbers.

    Raises:
        ModelPackageError: the graph fails, gives other shapes than the contract, or gives NaN.
    """
    crop_px, resize_px = manifest.input.crop_px, manifest.input.resize_px
    # Two crops show a graph that takes one image at a time. On a GPU each shape costs a search.
    images = 2 if session.provider == "cpu" else 1
    cells = -(-resize_px // STRIDE_PX)
    classes = len(manifest.labels)
    _check_run(session, (images, crop_px), "logits", (images, classes))
    _check_run(session, (1, resize_px), "class_map", (1, classes, cells, cells))


def _check_run(
    session: Session, given: tuple[int, int], output: Output, expected: tuple[int, ...]
) -> None:
    number, side_px = given
    # Every value of a pixel, so that a channel that is always 0 does not hide anything.
    values = np.arange(number * side_px * side_px * 3, dtype=np.uint32) * 7
    views = (values % 256).astype(np.uint8).reshape(number, side_px, side_px, 3)
    try:
        got = session.run(views, output)
    except InferenceFailed as error:
        raise ModelPackageError(f"{session.path} does not run: {error}") from error
    if got.shape != expected:
        raise ModelPackageError(
            f"{session.path} must give {output} of shape {list(expected)} for images of "
            f"{list(views.shape)}, but gives {list(got.shape)}"
        )
    if not np.isfinite(got).all():
        raise ModelPackageError(f"{session.path} gives {output} that are NaN or infinite")
