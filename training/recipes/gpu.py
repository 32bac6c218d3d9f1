"""The best small model in a few minutes of a GPU.

AdamW, a cosine after a short warm-up, and an exponential moving average (EMA) of the weights, which
is validated and exported. Most batches are mixed: half with mixup, 30% with CutMix. The crops grow
from 128 over 160 to 192 px. Photos are served at 192 px, cut from a shorter side of 224 px, with
statistics of batch normalization that are measured on such crops.

The sketch of this recipe did about 310 epochs of Imagenette in 8 minutes of an H100.
`--minutes 8` plans the number of epochs for another GPU, another data set, or less time.
"""

from training.recipe import Architecture, Ema, Mix, Recipe, Stage

RECIPE = Recipe(
    summary="xresnet18 on a GPU: AdamW, EMA, mixup and CutMix, 300 epochs at 128 to 192 px",
    architecture=Architecture(name="xresnet18"),
    stages=(
        Stage(
            epochs=300,
            size_px=128,
            grow_at_share=((0.3, 160), (0.75, 192)),
            schedule="cosine",
            warm_up=0.05,
            lr=2e-3,
        ),
    ),
    crop_px=192,
    resize_px=224,
    batch_images=128,
    optimizer="adamw",
    weight_decay=0.05,
    ema=Ema(decay=0.9995),
    normalization="dataset",
    augment="crop",
    min_scale=0.35,
    mixes=(Mix("mixup", share=0.5, alpha=0.2), Mix("cutmix", share=0.3, alpha=1.0)),
    label_smoothing=0.1,
    statistics_images=3000,
    checkpoint_epochs=10,
)
