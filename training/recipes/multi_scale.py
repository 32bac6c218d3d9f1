"""Make a package good at every size that TTA uses: `--init models/NAME`.

Batches have 96, 128 or (after the crops have grown) 160 px: the sides of the cheap pass, of a crop,
and of the whole image in one pass. The learning rate starts at half of the rate that the network
was trained with, stays flat, then anneals.
"""

from training.recipe import Architecture, Recipe, Stage

RECIPE = Recipe(
    summary="go on with a package (--init) for 8 epochs at 96, 128 and 160 px",
    architecture=Architecture(name="xresnet18"),
    stages=(Stage(epochs=8, size_px=128, grow_at=((5, 160),), schedule="flat_cos", lr=4e-3),),
    crop_px=128,
    resize_px=160,
    batch_sizes_px=(96, 128, 160),
    optimizer="ranger",
    normalization="init",
    augment="crop",
    min_scale=0.35,
    label_smoothing=0.1,
)
