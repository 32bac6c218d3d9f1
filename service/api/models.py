"""The served models: loaded, warm, found by name, replaced without a failed request."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service.admission import Observer
from service.batching import Batcher
from service.errors import ModelPackageError, ShuttingDown, UnknownModel, UsageError
from service.inference.cores import usable_cores
from service.inference.geometry import FractionBox, Size
from service.inference.manifest import Mode
from service.inference.package import find
from service.inference.predictor import Predictor
from service.settings import Settings
from service.workers import Workers

logger = logging.getLogger("quincunx.models")

CPU_BATCH_VIEWS = 10
GPU_BATCH_VIEWS = 64
SQUARE = Size(1000, 1000)


@dataclass(frozen=True)
class Served:
    """One model, warm, with its own queue."""

    predictor: Predictor
    batcher: Batcher

    @property
    def name(self) -> str:
        return self.predictor.manifest.name

    @property
    def version(self) -> str:
        return self.predictor.manifest.version

    @property
    def tag(self) -> str:
        """`NAME@VERSION`."""
        return f"{self.name}@{self.version}"

    def views(self, mode: Mode, boxes: tuple[FractionBox, ...] = ()) -> int:
        """The views that an image begins with in `mode`, for the queue's bound.

        A second pass, which few images need, is counted once it is asked for.

        Raises:
            UsageError: `custom` without boxes, or boxes for another mode.
        """
        plan = self.predictor.model.planner.plan(mode, SQUARE, boxes)
        return len(plan.first)


class Models:
    """Every served model; the first is the default. `load` swaps the whole set at once."""

    def __init__(self, settings: Settings, observer: Callable[[str], Observer]) -> None:
        self._settings = settings
        self._observer = observer
        threads = settings.threads or max(2, usable_cores())
        self.workers = Workers(threads)
        self._cores = min(threads, usable_cores())
        self._served: tuple[Served, ...] = ()
        self._closing = False
        self._reloading = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served)

    @property
    def ready(self) -> bool:
        return bool(self._served) and not self._closing

    def check_ready(self) -> None:
        """Refuse work that cannot be done now.

        Raises:
            ShuttingDown: nothing is loaded yet, or the server is about to end.
        """
        if self._closing:
            raise ShuttingDown("the server is shutting down")
        if not self._served:
            raise ShuttingDown("the models are still loading")

    def check_room(self, timeout_s: float) -> None:
        """Refuse before a body is read what no model could answer in time: it costs least then.

        Raises:
            Overloaded: a single view more is too much, for every model.
        """
        waiting = [served.batcher.admission for served in self._served]
        if waiting and all(one.pressure(1, timeout_s) > 1 for one in waiting):
            waiting[0].check(1, timeout_s)

    def wait_s(self) -> float:
        """How long one view more would wait for its answer, at the model with the longest queue."""
        return max((served.batcher.admission.wait_s(1) for served in self._served), default=0.0)

    def close(self) -> None:
        """Take no new work; what was admitted is finished."""
        self._closing = True

    def get(self, wanted: str | None = None) -> Served:
        """The model `NAME` or `NAME@VERSION`; the default for None.

        Raises:
            UnknownModel: none such is served.
        """
        for served in self._served:
            if wanted is None or wanted in (served.name, served.tag):
                return served
        tags = ", ".join(served.tag for served in self._served)
        raise UnknownModel(f"no model {str(wanted)[:80]!r}; served: {tags}")

    async def load(self) -> tuple[Served, ...]:
        """Verify, open and warm up every package, then serve them instead of what was served.

        Requests on the old models are answered by the old models.

        Raises:
            ModelPackageError: a package is incomplete or altered; what was served goes on.
        """
        async with self._reloading:
            folders = package_folders(self._settings)
            fresh = await asyncio.to_thread(self._open_all, folders)
            old = self._served
            self._served = tuple(Served(p, self._batcher(p)) for p in fresh)
            for served in self._served:
                logger.info("serving %s (%s)", served.tag, served.predictor.precision)
        for served in old:
            task = asyncio.create_task(served.batcher.drain())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        return self._served

    async def drain(self) -> None:
        """Finish what was admitted; refuse the rest."""
        self.close()
        await asyncio.gather(*(served.batcher.drain() for served in self._served))
        self.workers.shutdown()

    def _batcher(self, predictor: Predictor) -> Batcher:
        return Batcher(
            predictor.session,
            self.workers,
            runner=Workers(1, nicer=0, name="gpu") if _on_gpu(predictor) else None,
            side_by_side=self._side_by_side(predictor),
            lone=predictor.session.lone,
            max_batch_views=self._batch_views(predictor),
            max_queue_views=self._settings.max_queue_views,
            observer=self._observer(predictor.manifest.name),
        )

    def _batch_views(self, predictor: Predictor) -> int:
        own = GPU_BATCH_VIEWS if _on_gpu(predictor) else CPU_BATCH_VIEWS
        return self._settings.max_batch_views or own

    def _side_by_side(self, predictor: Predictor) -> int:
        return predictor.session.side_by_side(self._cores)

    def _open_all(self, folders: tuple[Path, ...]) -> list[Predictor]:
        settings = self._settings
        predictors: list[Predictor] = []
        for folder in folders:
            predictor = Predictor.from_package(
                folder,
                precision=settings.precision,
                provider=settings.provider,
                threads=settings.session_threads,
                lone_threads=lone_threads(settings, self._cores),
                max_pixels=settings.max_pixels,
                max_decode_ms=settings.max_decode_ms,
            )
            predictor.warm_up(self._batch_views(predictor), self._side_by_side(predictor))
            predictors.append(predictor)
        tags = [f"{p.manifest.name}@{p.manifest.version}" for p in predictors]
        for tag in tags:
            if tags.count(tag) > 1:
                raise UsageError(f"{tag} is served from two packages; versions must differ")
        return predictors


def _on_gpu(predictor: Predictor) -> bool:
    return predictor.session.provider != "cpu"


def lone_threads(settings: Settings, cores: int) -> int | None:
    """Threads for an image that is alone on `cores`; None where they are those of any batch."""
    usual, wanted = settings.session_threads, settings.lone_threads or cores
    if not usual or wanted <= usual:
        return None
    # The runtime holds threads on cores of their own only where it chooses their number.
    return 0 if wanted == usable_cores() else wanted


def package_folders(settings: Settings) -> tuple[Path, ...]:
    """The packages to serve: those named, else every one under `models/`.

    Raises:
        ModelPackageError: there is none.
    """
    if settings.packages:
        return settings.packages
    roots = (Path("models"), Path(__file__).parents[2] / "models")
    for root in roots:
        if found := find(root):
            return tuple(found)
    raise ModelPackageError(
        f"no model package in {roots[0].resolve()}; name one: quincunx serve FOLDER "
        "(QUINCUNX_PACKAGES)"
    )
