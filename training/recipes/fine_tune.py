"""Start from the weights of another package, named with `--init models/NAME`.

One epoch trains only the new head. Then all layers train, the early ones with a hundredth of the
learning rate (fastai's `fine_tune`). The architecture must be that of the other package; here it is
that of the shipped model. The sizes are smaller than its own, so that an epoch on a CPU is short.
The normalization is taken from the package.
"""

from training.recipe import Architecture, Recipe, Stage

RECIPE = Recipe(
    summary="fine-tune another package (--init): a new head for 1 epoch, then everything for 5",
    architecture=Architecture(name="xresnet18"),
    stages=(Stage(epochs=5, size_px=128, schedule="fine_tune", lr=2e-3),),
    crop_px=128,
    resize_px=160,
    normalization="init",
    augment="crop",
    min_scale=0.35,
    label_smoothing=0.1,
)
