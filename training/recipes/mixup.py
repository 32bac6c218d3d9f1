"""`normalized` with mixup: images and labels are blended in pairs (Zhang et al., arXiv:1710.09412).

The task becomes harder and overfitting rarer. So mixup helps from about 80 epochs up, and costs
accuracy with fewer: `--set stage.1.epochs=80`. `--set mixer=cutmix` and `mixer=resizemix` are
related methods.
"""

from dataclasses import replace

from training.recipes import normalized

RECIPE = replace(
    normalized.RECIPE,
    summary="normalized, with mixup (pays from about 80 epochs up)",
    mixer="mixup",
    mixer_alpha=0.4,
)
