"""The same run on a cluster: a Ray Data job, one read task for each source, a pool of actors.

    sources ──> read tasks ──────────> actors, each with one session ──> rows, in order, to the
                paths, or the bytes    and the whole local pipeline      journal of the driver
                out of archives

Actors open files themselves, so local paths must be visible on every node (a shared disk), or be
URLs. The model package travels with the job.
"""

import importlib
import logging
import os
import pickle
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa

from service.errors import InferenceFailed, QuincunxError, UsageError
from service.inference.predictor import Predictor
from service.inference.runtime.providers import Provider
from service.listing.skipped import Skipped
from service.package.manifest import Precision
from service.package.package import MANIFEST, ModelPackage
from service.scoring.groups import Located
from service.scoring.item import Position
from service.scoring.options import ScoreOptions, Speed
from service.scoring.own_files import OwnFiles
from service.scoring.pipeline import score_items
from service.scoring.resume.passed_over import PassedOver
from service.scoring.rows import Row
from service.scoring.run import Run, located
from service.scoring.scorer import Scorer
from service.scoring.sources import ImageSource

BUNDLE_BYTES = 32 * 1024 * 1024
"""The bytes that a read task passes on at once, if it has read the images itself."""
CHUNKS_PER_BUNDLE = 4
"""Chunks in a bundle. An actor gets one bundle at a time; in it decoding and inference overlap."""
READ_CPUS = 0.5


@dataclass(frozen=True)
class Cluster:
    """Where the job runs."""

    address: str | None = None
    """None: RAY_ADDRESS, a cluster that this machine belongs to, or a new local one."""
    actors: int = 0
    """Sessions open at once; 0 lets Ray choose, up to one for each GPU or node."""


@dataclass(frozen=True)
class _Actor:
    """The actors that the cluster's resources allow for a `Cluster`."""

    most: int
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Connection:
    """A connected Ray cluster, and where inference runs on it."""

    cluster: Cluster
    provider: Provider

    @property
    def _actor(self) -> _Actor:
        nodes: list[dict[str, Any]] = [n for n in _ray().nodes() if n["Alive"]]
        gpus = int(sum(n["Resources"].get("GPU", 0) for n in nodes))
        cores = [int(n["Resources"].get("CPU", 0)) for n in nodes]
        working = [count for count in cores if count] or [1]
        if self.provider == "cpu":
            # One core of each node is left for reading.
            return _Actor(self.cluster.actors or len(working), max(1, min(working) - 1), 0)
        if not gpus:
            raise UsageError(f"provider {self.provider} was asked for; the cluster has no GPU")
        share = max(1, int(sum(cores) / gpus) - 1)
        return _Actor(self.cluster.actors or gpus, share, 1)

    def rows(self, run: Run, start: Position) -> Generator[list[Row], None, None]:
        """Score from `start` on: rows in the order of the sources.

        Raises:
            DataError: a source changed while it was read.
            InferenceFailed: the job failed.
        """
        ray = _ray()
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        # Each of our rows is a bundle of images. Never join rows into larger blocks: then one actor
        # would get all images of a folder.
        context.target_max_block_size = 1
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        actor, speed = self._actor, run.resolved_speed
        read = ray.data.read_datasource(
            _datasource(run, start, CHUNKS_PER_BUNDLE * speed.chunk_images),
            override_num_blocks=len(run.sources) - start.source,  # or Ray splits ours up
            num_cpus=READ_CPUS,  # differs from the actors', or Ray would fuse reading into them
        )
        scored = read.map_batches(
            ScoringActor,
            batch_size=None,  # one bundle at a time, as it was read
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actor.most),
            num_cpus=actor.cpus,
            num_gpus=actor.gpus,
            fn_constructor_kwargs={
                "package": ray.put(_packed(run.predictor.package, run.predictor.precision)),
                "precision": run.predictor.precision,
                "provider": self.provider,
                "max_pixels": run.predictor.max_pixels,
                "options": run.options,
                "folder": os.getcwd(),
                "speed": replace(
                    speed,
                    decode_threads=run.speed.decode_threads or actor.cpus + 1,
                    infer_threads=run.speed.infer_threads or actor.cpus,
                    decode_processes=0,
                ),
            },
        )
        try:
            for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
                for scored_bundle in batch["rows"].to_pylist():
                    source, rows, skipped = pickle.loads(scored_bundle)  # noqa: S301  # ours
                    run.passed_over.read_to_the_end(source, skipped)
                    yield rows
        except ray.exceptions.RayError as error:
            raise _cause(error) from error


def _ray() -> Any:
    """Ray, an extra that is imported only when it is used. It is Any, because Ray has few types.

    Raises:
        UsageError: it is not installed.
    """
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError:
        raise UsageError("the ray engine needs Ray: pip install 'quincunx[ray]'") from None


def connect(cluster: Cluster, provider: Provider) -> Connection:
    """Join or start Ray. `auto` means CUDA if the cluster has a GPU.

    Raises:
        UsageError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _ray()
    try:
        ray.init(
            address=cluster.address,
            ignore_reinit_error=True,
            include_dashboard=False if cluster.address is None else None,
            logging_level="warning",
            log_to_driver=False,
        )
    except (ConnectionError, ValueError) as error:
        raise UsageError(f"no Ray cluster at {cluster.address}: {error}") from error
    if provider == "auto":
        provider = "cuda" if ray.cluster_resources().get("GPU", 0) else "cpu"
    return Connection(cluster, provider)


def open_here(
    package: Path, precision: Precision | Literal["auto"], provider: Provider
) -> Predictor:
    """Open the graph of the actors on the driver's CPU, for its labels and checks.

    Raises:
        ModelPackageError: the package is incomplete or altered, or lacks the precision.
    """
    precision = ModelPackage.load(package).served_precision(precision, gpu=provider != "cpu")
    return Predictor.from_package(package, precision=precision, provider="cpu", threads=1)


class ScoringActor:
    """One session on one node: batches of items in, rows out."""

    def __init__(
        self,
        package: Any,
        precision: Precision,
        provider: Provider,
        max_pixels: int,
        options: ScoreOptions,
        folder: str,
        speed: Speed,
    ) -> None:
        _enter(folder)
        files = cast("dict[str, bytes]", _ray().get(package))
        with tempfile.TemporaryDirectory(prefix="quincunx-") as unpacked:
            for name, data in files.items():
                (Path(unpacked) / name).write_bytes(data)
            predictor = Predictor.from_package(
                unpacked,
                precision=precision,
                provider=provider,
                threads=1,
                max_pixels=max_pixels,
            )
        self._scorer = Scorer(predictor, options, speed.batch_views)
        self._speed = speed

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score bundles of items. The rows are pickled; only the driver reads them."""
        scored: list[bytes] = []
        bundles: list[Any] = batch["items"].to_pylist()
        for bundle in bundles:
            source, items, skipped = pickle.loads(bundle)  # noqa: S301  # ours
            scored.append(pickle.dumps((source, self._score(items), skipped)))
        return pa.table({"rows": pa.array(scored, pa.large_binary())})

    def _score(self, items: list[Located]) -> list[Row]:
        chunks = score_items(iter(items), self._scorer, self._speed)
        return [row for chunk in chunks for row in chunk]


def _datasource(run: Run, start: Position, images: int) -> Any:
    """A Ray datasource with one read task for each source that is not finished."""
    own = run.passed_over.own
    ray = _ray()
    metadata: Any = importlib.import_module("ray.data.block").BlockMetadata

    class Items(ray.data.Datasource):
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[Any]:
            nothing_known = metadata(None, None, exec_stats=None, input_files=None)
            return [
                ray.data.ReadTask(
                    _Read(source, number, start, images, os.getcwd(), own), nothing_known
                )
                for number, source in enumerate(run.sources)
                if number >= start.source
            ]

    return Items()


@dataclass(frozen=True)
class _Read:
    """Reads one source, on the node that Ray chooses."""

    source: ImageSource
    number: int
    start: Position
    images: int
    folder: str
    own: OwnFiles

    def __call__(self) -> Iterator[pa.Table]:
        _enter(self.folder)
        first = self.start.image if self.number == self.start.source else 0
        held: list[Located] = []
        held_bytes = 0
        passed_over = PassedOver(self.own)
        for at, item in located([self.source], Position(0, first), passed_over):
            held.append((Position(self.number, at.image), item))
            held_bytes += len(item.data or b"")
            if len(held) >= self.images or held_bytes >= BUNDLE_BYTES:
                yield self._bundle(held, Skipped())
                held, held_bytes = [], 0
        yield self._bundle(held, passed_over.total())

    def _bundle(self, items: list[Located], skipped: Skipped) -> pa.Table:
        """Items; the last bundle also has the skipped files of the source."""
        packed = pickle.dumps((self.number, items, skipped))
        return pa.table({"items": pa.array([packed], pa.large_binary())})


def _enter(folder: str) -> None:
    """Change to the driver's working folder, so that relative paths mean the same."""
    if os.path.isdir(folder):
        os.chdir(folder)


def _packed(package: ModelPackage, precision: Precision) -> dict[str, bytes]:
    """The files of a package that one precision needs, and a manifest that names no others."""
    source = package.source(precision)
    kept = tuple(file for file in package.manifest.files if file.precision == source)
    manifest = package.manifest.model_copy(update={"files": kept})
    files = {file.file: package.read(file.precision) for file in kept}
    return {MANIFEST: manifest.model_dump_json().encode(), **files, **package.read_unknown()}


def _cause(error: Exception) -> QuincunxError:
    """Our own error with which a task or actor failed, or else the job's failure as one of ours."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, QuincunxError):
            return type(seen)(*seen.args)
        seen = getattr(seen, "cause", None) or seen.__cause__
    return InferenceFailed(f"the Ray job failed: {str(error).strip().splitlines()[-1]}")
