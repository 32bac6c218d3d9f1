"""Serve larger crops: continue with a package (`--init models/NAME`) if photos have more detail.

This is the last step of progressive resizing. Batches have the sizes that TTA uses: from 96 px, the
side of a cheap first pass, up to 224 px, the side of one pass over the whole image. The network
keeps what it learned at smaller sizes, so a few epochs at a low rate are enough.
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
