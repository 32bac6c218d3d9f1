"""Up to about 2,000 images: start from the weights of another package (`--init models/NAME`).

`quincunx train` takes this recipe by default where images are few. It then starts from the shipped
package. All layers train at one learning rate, in small batches. The number of epochs follows from
the number of images: a run has at least 400 steps. The normalization is taken from the package.
"""

from training.recipe import Architecture, Recipe, Stage

RECIPE = Recipe(
    summary="few images: train on from a package (--init), in small batches, at least 400 steps",
    architecture=Architecture(name="xresnet18"),
    stages=(
        Stage(epochs=10, size_px=96, grow_at_share=((0.6, 128),), schedule="one_cycle", lr=2e-3),
    ),
    crop_px=128,
    resize_px=160,
    batch_images=16,
    least_steps=4,
    least_updates=400,
    optimizer="adam",
    normalization="init",
    augment="crop",
    min_scale=0.35,
    label_smoothing=0.1,
)
