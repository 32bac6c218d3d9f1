"""A run's own files. They are not part of its sources, even if they are in the same folder."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from service.scoring.files import local_path


@dataclass(frozen=True)
class OwnFiles:
    """Files and folders that a run writes. `path in own_files` is true for everything in them.

    Without this, `score . -o out.csv` would count `out.csv.partial/` among the skipped files.
    """

    paths: frozenset[str] = frozenset()
    """Absolute, with links resolved."""

    @classmethod
    def of(cls, paths: Iterable[os.PathLike[str] | str]) -> "OwnFiles":
        """These files and folders, whether they are there or not."""
        return cls(frozenset(os.path.realpath(path) for path in paths))

    def __contains__(self, path: object) -> bool:
        local = local_path(path) if isinstance(path, str) else None
        if local is None:
            return False
        names = {os.path.basename(own) for own in self.paths}
        if names.isdisjoint(local.split("/")):  # quick, for a million names
            return False
        real = os.path.realpath(local)
        return any(real == own or real.startswith(f"{own}/") for own in self.paths)
