"""The served models: loaded, warmed up, and replaced without a failed request."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from service.api.server.freed_memory import give_back_memory
from service.api.server.model_set import ModelSet, Served
from service.api.server.watched_session import WatchedSession
from service.errors import ModelPackageError, ShuttingDown, UsageError
from service.inference.image.budget import DECODING, usual_pixels
from service.inference.predictor import Predictor
from service.inference.runtime.cores import usable_cores
from service.inference.tta.steps import check_default_mode
from service.package import shipped
from service.package.manifest import Precision
from service.package.package import MANIFEST, find
from service.scheduler.admission import Observer
from service.scheduler.batcher import Batcher
from service.scheduler.workers import Workers
from service.settings import Settings

logger = logging.getLogger("quincunx.models")

CPU_BATCH_VIEWS = 10
GPU_BATCH_VIEWS = 64
CLOSING = "the server is shutting down"
SETTLED_S = 1.0
TRIES = 3
"""The most tries to open a package that changes while it is read."""


class Models:
    """Every served model; the first is the default. `load` swaps the whole set at once."""

    def __init__(self, settings: Settings, observer: Callable[[str], Observer]) -> None:
        self._settings = settings
        self._observer = observer
        threads = settings.threads or max(2, usable_cores())
        self.workers = Workers(threads)
        DECODING.limit_pixels = settings.max_decoding_pixels or usual_pixels()
        self._cores = min(threads, usable_cores())
        self._current = ModelSet()
        self._enough: dict[tuple[str, Precision, int], int] = {}
        """`Predictor.enough_views` by the sha256, the precision and the crops of a graph. A reload
        of the same graph measures nothing: that would take a core from the requests."""
        self._closing = False
        self._reloading = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Served]:
        return iter(self._current)

    @property
    def ready(self) -> bool:
        return bool(self._current) and not self._closing

    def borrow(self) -> ModelSet:
        """The models that are served now, for a `with` block: until its end they stay in service.

        So they answer the request that holds them, even if a reload replaces them meanwhile.

        Raises:
            ShuttingDown: no model is loaded yet, or the server is shutting down.
        """
        if self._closing:
            raise ShuttingDown(CLOSING)
        if not self._current:
            raise ShuttingDown("the models are still loading")
        return self._current

    def wait_s(self) -> float:
        """How long one more view would wait for its answer, at the model with the longest queue."""
        return max((served.batcher.admission.wait_s(1) for served in self._current), default=0.0)

    def close(self) -> None:
        """Refuse new requests. Admitted requests are answered."""
        self._closing = True

    def get(self, wanted: str | None = None) -> Served:
        """One of the models that are served now; see `ModelSet.get`."""
        return self._current.get(wanted)

    async def load(self) -> tuple[Served, ...]:
        """Verify, open and warm up every package; then serve them instead of the old models.

        The old models answer the requests that began on them.

        Raises:
            ModelPackageError: a package is incomplete or altered; the old models stay in service.
            UsageError: two packages have one name and version; the old models stay in service.
            ShuttingDown: the server is shutting down.
        """
        async with self._reloading:
            await self._room_on_the_gpu()
            fresh = await asyncio.to_thread(self._open_all)
            if self._closing:
                raise ShuttingDown(CLOSING)
            old = self._current
            self._current = ModelSet(tuple(Served(p, self._batcher(p)) for p in fresh))
            served = tuple(self._current)
            for model in served:
                logger.info("serving %s (%s)", model.tag, self._how(model.predictor))
        task = asyncio.create_task(old.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retired)
        return served

    async def _room_on_the_gpu(self) -> None:
        """Wait until models of earlier loads are gone: a GPU should not hold three sets.

        A model that is freed also disturbs the recording of another one.
        """
        if self._retiring and any(_on_gpu(served.predictor) for served in self._current):
            await asyncio.wait(self._retiring, timeout=self._settings.request_timeout_ms / 1000)

    def _how(self, predictor: Predictor) -> str:
        """The precision and the provider, for the log."""
        shown = f"{predictor.precision}, {predictor.session.provider}"
        tf32 = _on_gpu(predictor) and predictor.precision == "fp32" and self._settings.tf32
        return f"{shown}, TF32" if tf32 else shown

    async def drain(self) -> None:
        """Answer the admitted requests; refuse new ones."""
        self.close()
        await asyncio.gather(self._current.retire(), *self._retiring)
        self.workers.shutdown()

    def _retired(self, task: "asyncio.Task[None]") -> None:
        self._retiring.discard(task)
        loop = task.get_loop()
        # A little later, because requests that were just answered still refer to the old models.
        loop.call_later(SETTLED_S, loop.run_in_executor, None, give_back_memory)

    def _batcher(self, predictor: Predictor) -> Batcher:
        at_once = self._max_concurrent_batches(predictor)
        on_gpu = _on_gpu(predictor)
        return Batcher(
            WatchedSession(predictor.session) if on_gpu else predictor.session,
            self.workers,
            runner=Workers(at_once, nicer=0, name="gpu") if on_gpu else None,
            max_concurrent_batches=at_once,
            latency_session=predictor.latency_session,
            max_batch_views=self._batch_views(predictor),
            enough_views=self._enough_views(predictor),
            max_queue_views=self._settings.max_queue_views,
            observer=self._observer(predictor.manifest.name),
        )

    def _batch_views(self, predictor: Predictor) -> int:
        own = GPU_BATCH_VIEWS if _on_gpu(predictor) else CPU_BATCH_VIEWS
        return self._settings.max_batch_views or own

    def _enough_views(self, predictor: Predictor) -> int | None:
        """None: batches grow to their limit, on a GPU and where the setting names a limit."""
        if _on_gpu(predictor) or self._settings.max_batch_views:
            return None
        precision, crop_px = predictor.precision, predictor.manifest.input.crop_px
        work = predictor.package.sha256(precision), precision, crop_px
        if work not in self._enough:
            self._enough[work] = predictor.enough_views
        return self._enough[work]

    def _max_concurrent_batches(self, predictor: Predictor) -> int:
        return predictor.session.max_concurrent_batches(self._cores)

    def _open_all(self) -> list[Predictor]:
        predictors = [self._open(folder) for folder in package_folders(self._settings)]
        tags = [f"{p.manifest.name}@{p.manifest.version}" for p in predictors]
        for tag in tags:
            if tags.count(tag) > 1:
                raise UsageError(f"{tag} is served from two packages; versions must differ")
        return predictors

    def _open(self, folder: Path) -> Predictor:
        """Open one package; open it again if it was replaced meanwhile."""
        for _ in range(TRIES - 1):
            before = _state_of(folder)
            try:
                return self._open_now(folder)
            except ModelPackageError:
                if _state_of(folder) == before:
                    raise
        return self._open_now(folder)

    def _open_now(self, folder: Path) -> Predictor:
        settings = self._settings
        predictor = Predictor.from_package(
            # A link may point elsewhere at every load. Within one load it is followed once, so
            # that all files are of the same version.
            folder.resolve(),
            precision=settings.precision,
            provider=settings.provider,
            threads=settings.session_threads,
            latency_threads=latency_threads(settings, self._cores),
            max_pixels=settings.max_pixels,
            max_decode_ms=settings.max_decode_ms,
            graph_cache=settings.graph_cache,
            tf32=settings.tf32,
        )
        check_default_mode(predictor.model)
        predictor.warm_up(self._batch_views(predictor), self._max_concurrent_batches(predictor))
        self._enough_views(predictor)  # measure it now: the event loop must not
        return predictor


def _state_of(folder: Path) -> object:
    """A value that changes when a package, or a link in its path, is replaced."""
    manifest = (folder / MANIFEST).resolve()
    try:
        found = manifest.stat()
    except OSError:
        return manifest
    return manifest, found.st_ino, found.st_mtime_ns


def _on_gpu(predictor: Predictor) -> bool:
    return predictor.session.provider != "cpu"


def latency_threads(settings: Settings, cores: int) -> int | None:
    """Threads of one run in single-request mode on `cores`; None: the mode is off."""
    usual, wanted = settings.session_threads, settings.latency_threads or cores
    if not usual or wanted <= usual:
        return None
    # The runtime pins its threads to cores only if it chooses their number itself.
    return 0 if wanted == usable_cores() else wanted


def package_folders(settings: Settings) -> tuple[Path, ...]:
    """The packages to serve: those of the setting, else all in `models/`, as in a bento.

    Raises:
        ModelPackageError: there is no package, or none of a name that was given.
    """
    if settings.packages:
        return tuple(map(shipped.package_folder, settings.packages))
    if found := find(shipped.MODELS):
        return tuple(found)
    raise ModelPackageError(
        f"no model package in {shipped.MODELS}; name one: quincunx serve FOLDER (QUINCUNX_PACKAGES)"
    )
