"""The floor of decoding: Pillow alone turns JPEGs into pixels of the scale that the service uses.

No view is made, no network runs, and nothing is sent. Code that decodes with Pillow's libjpeg
cannot be faster than this.
"""

import io
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

from PIL import Image

from service.bench.photos import Photos
from service.inference.decode import decode_image
from service.inference.runtime.cores import usable_cores
from service.inference.tta.planner import Planner
from service.package.manifest import Manifest


@dataclass(frozen=True)
class Decoding:
    """Files, and how many times smaller the service decodes each of them."""

    files: Sequence[bytes]
    scales: Sequence[int]

    @classmethod
    def of(cls, photos: Photos, manifest: Manifest) -> "Decoding":
        """What serving `photos` with a package decodes."""
        planner = Planner(manifest.input, manifest.adaptive, manifest.graph)
        least_size = planner.decoding()
        scales = [decode_image(data, least_size=least_size).scale for data in photos.files]
        return cls(photos.files, scales)

    def one(self, number: int) -> None:
        """Decode a file; `number` counts on over all files."""
        index = number % len(self.files)
        scale = self.scales[index]
        with Image.open(io.BytesIO(self.files[index])) as image:
            if scale > 1:
                image.draft(None, (image.width // scale, image.height // scale))
            image.load()

    def alone_ms(self, seconds: float) -> float:
        """The median time of a file, one after another in one thread."""
        times: list[float] = []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            begun = time.perf_counter()
            self.one(len(times))
            times.append(1e3 * (time.perf_counter() - begun))
        return statistics.median(times)

    def per_second(self, seconds: float) -> float:
        """Files per second with a thread on every core."""
        numbers, threads = count(), usable_cores()
        begun = time.perf_counter()

        def work() -> int:
            done = 0
            while not done or time.perf_counter() < begun + seconds:
                self.one(next(numbers))
                done += 1
            return done

        with ThreadPoolExecutor(threads) as pool:
            done = sum(future.result() for future in [pool.submit(work) for _ in range(threads)])
        return done / (time.perf_counter() - begun)
