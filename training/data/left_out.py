"""What an evaluation does not cover: files that were skipped, and classes without an image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.listing.skipped import Skipped
from service.package.manifest import Manifest
from training.data.class_folders import listed
from training.data.labelled import Labelled

UNDECODED = "cannot be decoded"


@dataclass(frozen=True)
class LeftOut:
    """Files and classes that an evaluation does not measure."""

    skipped: Skipped = field(default_factory=Skipped)
    """Files that are not images, or not of a format that is decoded."""
    unreadable: dict[Path, str] = field(default_factory=dict)
    """Images that cannot be decoded, each with its reason."""
    absent: tuple[str, ...] = ()
    """Ids of the model's classes that no measured image has."""

    def facts(self) -> dict[str, Any]:
        """For JSON, beside the numbers."""
        return {
            **self.skipped.facts(),
            "unreadable": len(self.unreadable),
            "classes_without_images": list(self.absent),
        }

    def lines(self, *, undecoded: bool = True) -> list[str]:
        """For people: a line for each kind; images that cannot be decoded only if `undecoded`."""
        every = Skipped()
        for path in self.unreadable if undecoded else ():
            every.add(str(path), UNDECODED)
        every.extend(self.skipped)
        lines = every.lines()
        if self.absent:
            lines.append(f"classes of the model without an image: {listed(self.absent)}")
        return lines


def left_out(
    items: Sequence[object], manifest: Manifest, present: Iterable[int], unreadable: dict[Path, str]
) -> LeftOut:
    """What is left out of `items`, where classes of the indices `present` were measured."""
    seen = set(present)
    absent = tuple(label.id for label in manifest.labels if label.index not in seen)
    return LeftOut(items.skipped if isinstance(items, Labelled) else Skipped(), unreadable, absent)
