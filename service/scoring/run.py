"""What is scored and how: everything that decides the rows of a run."""

import hashlib
import json
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from service.errors import DataError
from service.inference.cores import usable_cores
from service.inference.predictor import Predictor
from service.scoring import rows as columns
from service.scoring.files import is_url
from service.scoring.item import Position
from service.scoring.options import ScoreOptions, Speed
from service.scoring.pipeline import Located, score_items
from service.scoring.rows import Row
from service.scoring.scorer import Scorer
from service.scoring.sources import Columns, Leaf

FEW_SOURCES = 20
BEGINNING = Position(0, 0)


@dataclass(frozen=True)
class Run:
    """Everything that decides what the rows are."""

    leaves: Sequence[Leaf]
    predictor: Predictor
    options: ScoreOptions = field(default_factory=ScoreOptions)
    speed: Speed = field(default_factory=Speed)
    columns: Columns = field(default_factory=Columns)
    elsewhere: str | None = None
    """The provider, where inference does not run in this process."""

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
        """What a run that goes on must have in common with the one that began."""
        predictor, speed = self.predictor, self.resolved_speed
        sources = [
            leaf.name if is_url(leaf.name) or leaf.name == "-" else os.path.abspath(leaf.name)
            for leaf in self.leaves
        ]
        settings: dict[str, Any] = {
            "format": 1,
            "package": f"{predictor.manifest.name} {predictor.manifest.version}",
            "manifest_sha256": predictor.package.manifest_sha256,
            "precision": predictor.precision,
            "provider": self.provider,
            "max_pixels": predictor.max_pixels,
            "sources": _shortened(sources),
            "columns": asdict(self.columns),
            "options": self.options.as_dict(),
            "batch_views": speed.batch_views,
            "chunk_images": speed.chunk_images,
        }
        return json.loads(json.dumps(settings))  # as it will be read back: tuples are lists

    def rows(
        self, start: Position = BEGINNING, last: str | None = None
    ) -> Generator[list[Row], None, None]:
        """Score from `start` on, in the order of the sources, a chunk at a time."""
        return score_items(located(self.leaves, start, last), self.scorer(), self.resolved_speed)

    def scorer(self) -> Scorer:
        """Turns items into rows.

        Raises:
            UsageError: options that make no sense for this model.
        """
        return Scorer(self.predictor, self.options, self.resolved_speed.batch_views)


def located(leaves: Sequence[Leaf], start: Position, last: str | None) -> Iterator[Located]:
    """Every item from `start` on; `last` is the path that must come just before it.

    Raises:
        DataError: another path does: the source has changed since.
    """
    for source, leaf in enumerate(leaves):
        if source < start.source:
            continue
        index = start.image if source == start.source else 0
        if index and last is not None:
            items = leaf.items(index - 1)
            before = next(items, None)
            if before is None or before.path != last:
                raise DataError(
                    f"{leaf.name} has changed: image {index} was {last} and is now "
                    f"{before.path if before else 'missing'}; start anew (--restart)"
                )
        else:
            items = leaf.items(index)
        for item in items:
            yield Position(source, index), item
            index += 1


def _shortened(sources: list[str]) -> list[str]:
    """A million shards are told apart by a digest."""
    if len(sources) <= FEW_SOURCES:
        return sources
    digest = hashlib.sha256("\0".join(sources).encode("utf-8", "surrogateescape")).hexdigest()
    return [sources[0], f"… {len(sources)} in all, sha256 {digest}", sources[-1]]
