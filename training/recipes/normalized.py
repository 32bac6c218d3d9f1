"""`baseline` with ImageNet's mean and standard deviation taken out of every channel.

The statistics travel with the package: a network sees at serving what it saw in training, whoever
deploys it. `--set normalization=dataset` computes them over the training images instead.
"""

from dataclasses import replace

from training.recipes import baseline

RECIPE = replace(
    baseline.RECIPE,
    summary="baseline, normalized with ImageNet's statistics",
    normalization="imagenet",
)
