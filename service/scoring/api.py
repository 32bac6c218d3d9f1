"""Scoring from Python: a generator of rows."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.options import Options, check_whole
from service.inference.predictor import Predictor
from service.listing.skipped import Skipped
from service.package.manifest import Aggregation, Mode
from service.scoring.options import ScoreOptions, Speed
from service.scoring.rows import Row
from service.scoring.run import Run
from service.scoring.sources import Columns, expand

Source = str | Path


class Scored(Iterator[Row]):
    """Rows in the order of the sources, and the skipped files that are not images."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rows = (row for chunk in run.rows() for row in chunk)

    def __next__(self) -> Row:
        return next(self._rows)

    @property
    def skipped(self) -> Skipped:
        """The skipped files. The counts are complete after the last row."""
        return self._run.passed_over.total()

    def close(self) -> None:
        """Stop before the last row."""
        self._rows.close()


def score(
    source: Source | Sequence[Source],
    package: Source | Predictor,
    *,
    tta: Mode | None = None,
    aggregate: Aggregation = "mean",
    coverage: float | None = None,
    gate_cost: float | None = None,
    known_rate: float | Literal["off"] | None = None,
    boxes: tuple[FractionBox, ...] = (),
    top_k: int = 5,
    single: bool = False,
    all_probabilities: bool = False,
    sha256: bool = False,
    embedding: bool = False,
    columns: Columns | None = None,
    speed: Speed | None = None,
) -> Scored:
    """Yield a row for each image, in the order of the sources. Later images are prepared meanwhile.

    `source`: one or more sources of `quincunx score`: folders, globs, lists, tables, archives.
    `package`: a folder, a name in ``models/``, or an open `Predictor`.
    `tta` to `top_k`: as for `Predictor.classify`.
    `single`: also give the answer of the single crop, without test-time augmentation.
    `all_probabilities`, `sha256`, `embedding`: add these fields to each row.
    `columns`: the columns of paths, images and labels in tables.
    `speed`: threads, processes and batch sizes.

    An image that cannot be read is a row with its `error`. Files that are no images are counted in
    `skipped`.

    Raises:
        UsageError: a source that does not exist, or invalid options for this model.
        ModelPackageError: the package is incomplete or altered.
    """
    check_whole("top_k", top_k, 1)
    opened = isinstance(package, Predictor)
    predictor = package if opened else Predictor.from_package(package, threads=1)
    sources = [source] if isinstance(source, (str, Path)) else source
    given: Any = sources
    if isinstance(given, (bytes, bytearray)) or not isinstance(given, Iterable):
        raise UsageError(
            f"a source must be a path, or several paths, but got {type(source).__name__}"
        )
    options = ScoreOptions.of(
        predictor.model,
        Options(
            tta=tta,
            aggregate=aggregate,
            coverage=coverage,
            gate_cost=gate_cost,
            known_rate=known_rate,
            boxes=boxes,
        ),
        top_k=top_k,
        single=single,
        all_probabilities=all_probabilities,
        sha256=sha256,
        embedding=embedding,
    )
    expanded = expand((str(one) for one in sources), columns)
    run = Run(expanded, predictor, options, speed or Speed(), columns or Columns())
    run.scorer()  # invalid options are refused here, not at the first row
    return Scored(run)
