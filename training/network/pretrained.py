"""`quincunx train --backbone`: the pretrained weights of a network, and its preprocessing."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from service.console.text import reason_of
from service.errors import UsageError
from training.data.stats import ChannelStats
from training.imports.given import Given
from training.imports.modules.source import ModuleSource
from training.network.backbone import reader
from training.network.initial_weights import InitialWeights
from training.recipe import Recipe

NO_WEIGHTS = "none"
RECIPE = "fine-tune"
"""What a backbone is trained with by default."""


@dataclass(frozen=True)
class Backbone:
    """A network of timm or torchvision, and what its library says of it."""

    source: str
    """As the user named it: "timm:resnet18"."""
    untrained: ModuleSource
    """Its module has random weights."""

    @classmethod
    def named(cls, source: str) -> "Backbone":
        """Describe `source`; nothing is downloaded.

        Raises:
            UsageError: no such network, or its library is not installed.
        """
        library, name = reader(source)
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the random weights of `--weights none` are always the same
            return cls(source, library.untrained(name))

    def overrides(self, recipe: str) -> list[str]:
        """The values of `recipe` that come from the backbone, as ``KEY=VALUE``.

        Recipe fine-tune takes its sizes too. Other recipes have sizes of their own.
        """
        of, values = self.untrained, {"architecture.name": self.source, "normalization": "init"}
        if of.interpolation:
            values["interpolation"] = of.interpolation
        found = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        if recipe == RECIPE:
            found += [f"crop_px={of.crop_px}", f"resize_px={of.resize_px}"]
            found.append(f"stage.1.size_px={of.crop_px}")
            about = f"fine-tune {self.source}: a new last layer first, then everything"
            found.append(f"summary={json.dumps(about)}")
        return found

    def check_sizes(self, recipe: Recipe) -> None:
        """Raises UsageError if the network does not take a size that the recipe names."""
        network = self.untrained.module.eval()
        sizes = {px for stage in recipe.stages for px in stage.sizes()}
        for px in sorted({*sizes, *recipe.batch_sizes_px, recipe.crop_px}):
            try:
                with torch.inference_mode():
                    network(torch.zeros(1, 3, px, px))
            except Exception as error:  # of the network's own code
                raise UsageError(
                    f"{self.source} does not take images of {px}×{px} px ({reason_of(error)}): the "
                    "sizes are crop_px, stage.N.size_px and batch_sizes_px"
                ) from error

    def initial_weights(self, weights: str) -> InitialWeights:
        """The weights of a file; of the library's hub if `weights` is ""; random ones if "none".

        Raises:
            UsageError: no such file.
            ImportRefused: a file of another network, or the hub cannot be reached.
        """
        if weights == NO_WEIGHTS:
            of = self.untrained
        else:
            library, name = reader(self.source)
            of = library.read(name, Given(weights=Path(weights) if weights else None))
        if of.mean is None or of.std is None:
            raise UsageError(f"{self.source} does not say its normalization")
        origin = {"name": self.source, "weights": of.facts["weights"]}
        stats = ChannelStats(of.mean, of.std, of.statistics_from)
        return InitialWeights(of.module.state_dict(), stats, origin)
