"""A good small model on two CPU cores: the default model's recipe.

Most epochs run at small sizes, where an epoch costs a quarter. The crops grow while the learning
rate is still flat, and the anneal runs at the served size. Optimizer and schedule are those of
Imagenette's leaderboard (ranger, flat-cos). Mixup is left out, because it needs many more epochs.
"""

from training.recipe import Architecture, Recipe, Stage

RECIPE = Recipe(
    summary="xresnet18 on a CPU: 22 epochs growing from 64 over 96 to 128 px",
    architecture=Architecture(name="xresnet18"),
    stages=(
        Stage(epochs=22, size_px=64, grow_at=((12, 96), (19, 128)), schedule="flat_cos", lr=8e-3),
    ),
    crop_px=128,
    resize_px=160,
    optimizer="ranger",
    normalization="dataset",
    augment="crop",
    min_scale=0.35,
    label_smoothing=0.1,
)
