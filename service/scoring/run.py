"""Everything that determines the rows of a run: sources, package and options."""

import hashlib
import json
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy
import onnxruntime  # type: ignore[import-untyped]
import PIL
import pyarrow as pa

from service.errors import DataError, UsageError
from service.inference.predictor import Predictor
from service.inference.runtime.cores import usable_cores
from service.scoring import rows as columns
from service.scoring.files import is_url
from service.scoring.groups import Located
from service.scoring.item import Position
from service.scoring.options import ScoreOptions, Speed
from service.scoring.pipeline import score_items
from service.scoring.result.parts import FORMAT
from service.scoring.resume.passed_over import PassedOver
from service.scoring.resume.trace import items_of
from service.scoring.rows import Row
from service.scoring.scorer import Scorer
from service.scoring.sources import Columns, ImageSource
from service.scoring.sources.source import KnowsLabels
from service.scoring.summary.uncertain import Uncertain
from service.version import own_version

FEW_SOURCES = 20
MOST_LABELS = 100_000
"""Distinct labels that are checked before the run. Further labels are checked row by row."""
BEGINNING = Position(0, 0)


@dataclass(frozen=True)
class Run:
    """Everything that determines the rows."""

    sources: Sequence[ImageSource]
    predictor: Predictor
    options: ScoreOptions = field(default_factory=ScoreOptions)
    speed: Speed = field(default_factory=Speed)
    columns: Columns = field(default_factory=Columns)
    elsewhere: str | None = None
    """The provider, if inference runs in another process."""
    uncertain: Uncertain | None = None
    """Picks the images that are most worth labelling, if they are asked for."""
    passed_over: PassedOver = field(default_factory=PassedOver)
    """Files in the sources that are not images. Complete when every row is finished."""

    @property
    def provider(self) -> str:
        return self.elsewhere or self.predictor.session.provider

    @property
    def schema(self) -> pa.Schema:
        return columns.schema(self.options, self.predictor.manifest)

    @property
    def resolved_speed(self) -> Speed:
        return self.speed.resolved(self.provider, usable_cores())

    def settings(self) -> dict[str, Any]:
        """The settings that must be equal when an earlier run is continued."""
        predictor, speed = self.predictor, self.resolved_speed
        sources = [
            source.name
            if is_url(source.name) or source.name == "-"
            else os.path.abspath(source.name)
            for source in self.sources
        ]
        settings: dict[str, Any] = {
            "format": FORMAT,
            "libraries": _libraries(),
            "package": f"{predictor.manifest.name} {predictor.manifest.version}",
            "manifest_sha256": predictor.package.manifest_sha256,
            "precision": predictor.precision,
            "provider": self.provider,
            "max_pixels": predictor.max_pixels,
            "max_decode_ms": predictor.max_decode_ms,
            "sources": _shortened(sources),
            "columns": asdict(self.columns),
            "options": self.options.as_dict(),
            "batch_views": speed.batch_views,
            "chunk_images": speed.chunk_images,
        }
        return json.loads(json.dumps(settings))  # as it is read back: tuples become lists

    def rows(self, start: Position = BEGINNING) -> Generator[list[Row], None, None]:
        """Score from `start` on, in the order of the sources, a chunk at a time."""
        items = located(self.sources, start, self.passed_over)
        return score_items(items, self.scorer(), self.resolved_speed)

    def scorer(self) -> Scorer:
        """Turns items into rows.

        Raises:
            UsageError: options that do not fit this model.
        """
        return Scorer(self.predictor, self.options, self.resolved_speed.batch_views)

    def check(self) -> None:
        """Refuse known errors before any image is read.

        Raises:
            UsageError: options that do not fit this model, or a label column holds a name
                that several classes have.
        """
        scorer = self.scorer()
        checked: set[str] = set()
        for source in self.sources:
            try:
                for label in source.true_labels() if isinstance(source, KnowsLabels) else ():
                    if label not in checked and len(checked) < MOST_LABELS:
                        checked.add(label)
                        scorer.check_labels(label)
            except DataError as error:
                raise UsageError(f"{source.name}: {error}") from error


def located(
    sources: Sequence[ImageSource], start: Position, passed_over: PassedOver
) -> Iterator[Located]:
    """Every item from `start` on, with its position. `passed_over` counts the files that are none.

    Raises:
        DataError: an archive, table or list changed while it was read.
    """
    for number, source in enumerate(sources):
        if number >= start.source:
            first = start.image if number == start.source else 0
            skipped = passed_over.of_one_source()
            for image, item in enumerate(items_of(source, first, skipped), first):
                yield Position(number, image), item
            passed_over.read_to_the_end(number, skipped)


def _libraries() -> dict[str, str]:
    """The versions of the libraries that affect the rows, besides the package."""
    return {
        "quincunx": own_version(),
        "onnxruntime": onnxruntime.__version__,
        "pillow": PIL.__version__,
        "numpy": numpy.__version__,
    }


def _shortened(sources: list[str]) -> list[str]:
    """Replace a long list of sources by a digest, for example a million shards."""
    if len(sources) <= FEW_SOURCES:
        return sources
    digest = hashlib.sha256("\0".join(sources).encode("utf-8", "surrogateescape")).hexdigest()
    return [sources[0], f"… {len(sources)} in all, sha256 {digest}", sources[-1]]
