"""``python -m training.frontier.peak_memory PACKAGE PRECISION METHOD IMAGE BOXES``: print peak MiB.

This is a separate process, because a peak cannot be reset. It opens the package, answers one batch
of 32 copies of the image, and prints its peak memory. BOXES are those of `custom`, separated by
semicolons, or empty. On Linux the peak is read from /proc: `ru_maxrss` survives exec there, so a
small child would report its parent's size.
"""

import resource
import sys
from pathlib import Path

from service.inference.engine import MAX_BATCH_VIEWS, run_all
from service.inference.option_text import boxes_of
from service.inference.predictor import Predictor
from service.package.manifest import Mode
from training.evaluation.methods import methods

MODES: tuple[Mode, ...] = (
    "none", "five_crop", "ten_crop", "dense", "centre_dense", "adaptive", "custom",
)  # fmt: skip
KIB_PER_UNIT = 1 / 1024 if sys.platform == "darwin" else 1


def main(package: str, precision: str, name: str, image: str, boxes: str = "") -> None:
    predictor = Predictor.from_package(package, precision=precision, provider="cpu")  # type: ignore[arg-type]
    costs = [float(part) for part in name.split() if part.replace(".", "").isdigit()]
    every = methods(predictor, MODES, costs, boxes=boxes_of("boxes", boxes))
    (chosen,) = (method for method in every if method.name == name)
    pixels = predictor.open_image(Path(image).read_bytes())
    run_all([chosen.start(predictor, pixels) for _ in range(MAX_BATCH_VIEWS)], predictor.session)
    print(peak_mib())


def peak_mib() -> float:
    """The peak of this process's resident memory."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
        (line,) = (text for text in lines if text.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB_PER_UNIT / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
