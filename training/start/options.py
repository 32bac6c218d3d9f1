"""The options that say what a run begins with. Checking them does not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import UsageError
from training import recipe as recipes
from training.recipe import AUTO


@dataclass(frozen=True)
class Options:
    """The options that say what a run begins with, as they were given."""

    recipe: str = AUTO
    overrides: Sequence[str] = ()
    init: Path | None = None
    backbone: str = ""
    weights: str = ""

    def check(self) -> None:
        """Refuse options that do not go together, and recipes that do not exist.

        Raises:
            UsageError: see above.
        """
        if self.recipe != AUTO:
            recipes.check_name(self.recipe)
        if self.weights and not self.backbone:
            raise UsageError("--weights goes with --backbone; for a package or a run use --init")
        if self.backbone and self.init:
            raise UsageError("--backbone and --init are two ways to begin: name one of them")
