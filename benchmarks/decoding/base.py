"""Run by `benchmarks.decoding` with another checkout on the path: time a file on every line read.

The modules and names of older checkouts are tried too.
"""

import importlib
import sys
from pathlib import Path
from time import thread_time
from typing import Any


def first(*names: str) -> Any:
    """The first of the modules that is there."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise SystemExit(f"the checkout has none of {', '.join(names)}")


def main() -> None:
    data = Path(sys.argv[1]).read_bytes()
    crop_px, resize_px = int(sys.argv[2]), int(sys.argv[3])
    manifest = first("service.package.manifest", "service.inference.manifest")
    plans = first("service.inference.tta.planner", "service.inference.planner")
    steps = first(
        "service.inference.tta.passes", "service.inference.tta.steps", "service.inference.tta"
    )
    size_of = first("service.inference.image.views", "service.inference.views").size_of
    decode = first("service.inference.decode").decode
    planner = plans.Planner(manifest.InputSize(crop_px=crop_px, resize_px=resize_px))
    for _ in sys.stdin:
        start = thread_time()
        image = decode(data)
        steps.make_views(image, planner.passes("five_crop", size_of(image)))
        print(thread_time() - start, flush=True)


if __name__ == "__main__":
    main()
