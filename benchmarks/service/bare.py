"""What the service is held against: decoding and the bare session, without HTTP or a queue.

The same photos, the same decoder, the same views and the same graph; nobody asks and nobody is
answered. Three loops, because which is fastest depends on the model and the machine.
"""

import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

from service.inference.engine import InProgress, run_to_end
from service.inference.predictor import Predictor
from service.inference.tta.steps import Classification, Options
from service.package.manifest import Mode, Precision

AHEAD = 8
"""Images that are decoded while the session is busy."""

Loop = Callable[["Bare", float], float]


class Bare:
    """One graph, open twice: with all cores in one run, and with one core a run."""

    def __init__(
        self, package: Path, precision: Precision, mode: Mode, files: tuple[bytes, ...], cores: int
    ) -> None:
        self.options = Options(tta=mode)
        self.files = files
        self.cores = cores
        self.wide, self.narrow = (
            Predictor.from_package(package, precision=precision, provider="cpu", threads=threads)
            for threads in (0, 1)
        )
        for predictor in (self.wide, self.narrow):
            predictor.warm_up()

    def prepare(self, predictor: Predictor, data: bytes) -> InProgress[Classification]:
        """Decode a photo and make its views."""
        return InProgress(predictor.start(predictor.open_image(data), self.options))

    def finish(self, predictor: Predictor, image: InProgress[Classification]) -> Classification:
        """Run the views of one image, as one batch, to its answer."""
        run_to_end([image], predictor.session)
        return image.answer


def one_after_another(bare: Bare, seconds: float) -> float:
    """One thread: decode an image, run it on all cores, take the next."""
    with _Clock(seconds) as clock:
        for data in clock.while_time(cycle(bare.files)):
            bare.finish(bare.wide, bare.prepare(bare.wide, data))
    return clock.per_second


def decode_ahead(bare: Bare, seconds: float) -> float:
    """A pool decodes the next images while the session, on all cores, runs this one."""
    with ThreadPoolExecutor(bare.cores) as pool, _Clock(seconds) as clock:
        photos = cycle(bare.files)
        waiting: list[Future[InProgress[Classification]]] = [
            pool.submit(bare.prepare, bare.narrow, data) for data in islice(photos, AHEAD)
        ]
        for data in clock.while_time(photos):
            ready = waiting.pop(0).result()
            waiting.append(pool.submit(bare.prepare, bare.narrow, data))
            bare.finish(bare.wide, ready)
        for future in waiting:
            future.cancel()
    return clock.per_second


def a_thread_a_core(bare: Bare, seconds: float) -> float:
    """Every core decodes an image and runs it alone, with one thread in the session."""

    def work(offset: int) -> int:
        with _Clock(seconds) as clock:
            photos = islice(cycle(bare.files), offset, None, bare.cores)
            for data in clock.while_time(photos):
                bare.finish(bare.narrow, bare.prepare(bare.narrow, data))
        return clock.count

    started = time.perf_counter()
    with ThreadPoolExecutor(bare.cores) as pool:
        count = sum(pool.map(work, range(bare.cores)))
    return count / (time.perf_counter() - started)


LOOPS: dict[str, Loop] = {
    "one after another": one_after_another,
    "decode ahead": decode_ahead,
    "a thread a core": a_thread_a_core,
}


class _Clock:
    """Counts what is done until the time is up."""

    def __init__(self, seconds: float) -> None:
        self.count = 0
        self.per_second = 0.0
        self._seconds = seconds
        self._started = 0.0

    def __enter__(self) -> "_Clock":
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.per_second = self.count / (time.perf_counter() - self._started)

    def while_time(self, items: "cycle[bytes] | islice[bytes]") -> Generator[bytes]:
        for item in items:
            yield item
            self.count += 1
            if time.perf_counter() - self._started >= self._seconds:
                return
