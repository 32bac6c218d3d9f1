"""One labelled file of a data set."""

from dataclasses import dataclass
from pathlib import Path

from service.inference.tta.task import split_labels


@dataclass(frozen=True)
class Item:
    """One labelled file. In a multi-label data set `label` holds all labels, separated by `;`."""

    path: Path
    label: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of multi-label data, sorted; empty if the image shows none of the classes."""
        return tuple(sorted(set(split_labels(self.label))))
