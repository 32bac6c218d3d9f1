"""Skipped files, which are not images: how many, why, and the first few by name."""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from service.console.text import storable
from service.listing.image_files import suffix_of

NAMED = 3
"""How many files are named for each reason."""
MOST_REASONS = 50
"""The most reasons that are counted apart, so that memory is bounded with any suffixes."""

NO_SUFFIX = "no suffix"
OTHER_SUFFIXES = "other suffixes"
HIDDEN = "hidden or system"
SPECIAL = "pipe, socket or device"
LINK = "link in an archive"
OUTSIDE = "outside of the class folders"


@dataclass
class Group:
    """The files that were skipped for one reason."""

    files: int = 0
    first: list[str] = field(default_factory=list[str])


@dataclass
class Skipped:
    """Skipped files, grouped by reason: a suffix such as `.txt`, or a phrase."""

    groups: dict[str, Group] = field(default_factory=dict[str, Group])
    ignored: Container[str] = field(default=(), repr=False, compare=False)
    """Paths that are not counted."""

    @property
    def files(self) -> int:
        """How many files were skipped; hidden and system files are not among them."""
        return sum(g.files for reason, g in self.groups.items() if reason != HIDDEN)

    @property
    def hidden(self) -> int:
        """How many hidden and system files and folders were skipped."""
        return self.groups[HIDDEN].files if HIDDEN in self.groups else 0

    def add(self, path: str, reason: str | None = None) -> None:
        """Count a file; without a `reason` its suffix is the reason."""
        if path in self.ignored:
            return
        reason = reason or suffix_of(path) or NO_SUFFIX
        if reason not in self.groups and len(self.groups) >= MOST_REASONS:
            reason = OTHER_SUFFIXES
        group = self.groups.setdefault(reason, Group())
        group.files += 1
        if len(group.first) < NAMED:
            group.first.append(storable(path))

    def extend(self, other: "Skipped") -> None:
        """Add another count to this one."""
        for reason, theirs in other.groups.items():
            full = reason not in self.groups and len(self.groups) >= MOST_REASONS
            group = self.groups.setdefault(OTHER_SUFFIXES if full else reason, Group())
            group.files += theirs.files
            group.first = [*group.first, *theirs.first][:NAMED]

    def facts(self) -> dict[str, Any]:
        """For JSON: `skipped` and `hidden` as numbers, and the files of each reason."""
        return {"skipped": self.files, "hidden": self.hidden, "skipped_by_reason": self.as_json()}

    def as_json(self) -> dict[str, Any]:
        """The groups, the largest first."""
        ranked = sorted(self.groups.items(), key=lambda one: (-one[1].files, one[0]))
        return {reason: {"files": g.files, "first": g.first} for reason, g in ranked}

    @classmethod
    def from_json(cls, groups: dict[str, Any]) -> "Skipped":
        """What `as_json` wrote."""
        return cls({reason: Group(g["files"], list(g["first"])) for reason, g in groups.items()})

    def lines(self) -> list[str]:
        """For people: a line for each reason, the largest first."""
        return [
            f"skipped {group['files']} {'file' if group['files'] == 1 else 'files'} ({reason}): "
            + ", ".join(group["first"])
            + (", …" if group["files"] > len(group["first"]) else "")
            for reason, group in self.as_json().items()
        ]
