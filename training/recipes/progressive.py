"""`normalized` with progressive resizing: most epochs on small images, the last ones on large.

Small images cost a third of the time, and the network learns nearly as much from them. The change
of size is also one more augmentation. The second stage is fastai's `fine_tune`, as for a pretrained
network.
"""

from dataclasses import replace

from training.recipe import Stage
from training.recipes import normalized

RECIPE = replace(
    normalized.RECIPE,
    summary="4 epochs at 128 px, then fine-tuned for 5 at 224 px",
    stages=(
        Stage(epochs=4, size_px=128, lr=3e-3),
        Stage(epochs=5, size_px=224, schedule="fine_tune", lr=1e-3),
    ),
)
