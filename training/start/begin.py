"""From the options of `train`, `lr-find` and `show-batch` to a recipe and initial weights."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.package.shipped import package_folder
from service.replacing import replacing_file
from training import recipe as recipes
from training.network.initial_weights import InitialWeights, read_initial_weights
from training.network.pretrained import NO_WEIGHTS, Backbone
from training.network.pretrained import RECIPE as OF_BACKBONES
from training.recipe import AUTO, Recipe
from training.run import checkpoint
from training.start import auto
from training.start.options import Options

CHOICE = "choice.json"
"""In the folder of a run whose recipe was chosen: its name, and whether weights were chosen too."""


@dataclass(frozen=True)
class Beginning:
    """A recipe, and the weights that its network starts from."""

    recipe: Recipe
    initial: InitialWeights | None
    read_again: Callable[[], InitialWeights | None]
    """The weights for another network that starts as this one did."""
    choice: auto.Choice | None = None

    def write(self, run: Path) -> None:
        """Note the choice in the folder of a run, for `--resume`."""
        if self.choice is None:
            return
        run.mkdir(parents=True, exist_ok=True)
        facts = {
            "recipe": self.choice.recipe,
            "from_shipped": self.choice.init == auto.shipped(),
            "why": self.choice.why,
        }
        with replacing_file(run / CHOICE) as stream:
            stream.write(json.dumps(facts, indent=1).encode())


def begin(
    data: Path,
    options: Options,
    log: Callable[[str], None],
    *,
    resumed: Path | None = None,
) -> Beginning:
    """Read or choose the recipe and the weights; `log` gets a line about a choice.

    `resumed` is the folder of a run to continue: its choice is kept.

    Raises:
        UsageError: options that do not go together, or no such recipe, network or file.
        DataError: the data cannot be trained on.
    """
    options.check()
    begun = resumed and (resumed / checkpoint.STATE).exists()
    if options.backbone:
        return _of_backbone(options, log, begun=bool(begun))
    init = package_folder(options.init) if options.init else None
    if resumed and begun and options.recipe == AUTO and not (resumed / CHOICE).is_file():
        own = checkpoint.load(resumed).facts["recipe"]
        return _from(recipes.changed(own, options.overrides), init)
    if options.recipe != AUTO:
        return _from(recipes.load(options.recipe, list(options.overrides)), init)
    choice = _choice(data, options, init, resumed)
    log(choice.line())
    chosen = recipes.load(choice.recipe, [*choice.overrides, *options.overrides])
    return _from(chosen, choice.init, choice)


def _from(recipe: Recipe, init: Path | None, choice: auto.Choice | None = None) -> Beginning:
    initial = read_initial_weights(init) if init else None
    return Beginning(recipe, initial, lambda: initial, choice)


def _choice(data: Path, options: Options, init: Path | None, resumed: Path | None) -> auto.Choice:
    """What the resumed run chose; else what fits the data."""
    noted = resumed / CHOICE if resumed else None
    if noted is None or not noted.is_file():
        images = auto.training_images(data, options.overrides)
        return auto.choose(images, init, gpu=auto.gpu_is_there())
    facts = json.loads(noted.read_text(encoding="utf-8"))
    if facts["from_shipped"] and not init:
        init, given = auto.shipped(), ()
    else:
        given = auto.architecture_of(init) if init else ()
    return auto.Choice(facts["recipe"], init, "as the run chose", given, resumed=True)


def _of_backbone(options: Options, log: Callable[[str], None], *, begun: bool) -> Beginning:
    backbone = Backbone.named(options.backbone)
    name = OF_BACKBONES if options.recipe == AUTO else options.recipe
    chosen = recipes.load(name, [*backbone.overrides(name), *options.overrides])
    backbone.check_sizes(chosen)
    if options.weights == NO_WEIGHTS:
        log(f"{options.backbone} starts from random weights, as --weights none says")
    # The checkpoint of a run that has begun has the weights.
    initial = backbone.initial_weights(NO_WEIGHTS if begun else options.weights)
    return Beginning(
        chosen,
        initial,
        lambda: backbone.initial_weights(options.weights) if begun else initial,
    )
