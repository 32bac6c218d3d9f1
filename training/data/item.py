"""One labelled file of a data set."""

from dataclasses import dataclass
from pathlib import Path

from service.inference.tta.task import split_labels


@dataclass(frozen=True)
class Item:
    """One labelled file; of a multi-label data set `label` holds all labels, `;` between."""

    path: Path
    label: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of multi-label data, sorted; none where none of the classes is there."""
        return tuple(sorted(set(split_labels(self.label))))
