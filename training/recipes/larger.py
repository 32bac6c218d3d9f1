"""Serve larger crops: go on with a package (`--init models/NAME`) where the photos hold more.

The last step of progressive resizing, with the sizes of TTA in mind: batches from 96 px, the side
of a cheap first pass, up to 224 px, that of one pass over the whole image. What was learned at
smaller sizes carries over, so a few epochs at a low rate are enough.
"""

from training.recipe import Architecture, Recipe, Stage

RECIPE = Recipe(
    summary="go on with a package (--init) for 4 epochs at 96 to 224 px",
    architecture=Architecture(name="xresnet18"),
    stages=(Stage(epochs=4, size_px=224, schedule="flat_cos", lr=2e-3),),
    crop_px=192,
    resize_px=224,
    batch_sizes_px=(96, 128, 160, 192, 224),
    optimizer="ranger",
    normalization="init",
    augment="crop",
    min_scale=0.35,
    label_smoothing=0.1,
)
