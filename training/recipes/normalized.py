"""`baseline` with every channel normalized by ImageNet's mean and standard deviation.

The package contains these statistics, so the network gets the same inputs in serving as in
training. `--set normalization=dataset` computes them over the training images instead.
"""

from dataclasses import replace

from training.recipes import baseline

RECIPE = replace(
    baseline.RECIPE,
    summary="baseline, normalized with ImageNet's statistics",
    normalization="imagenet",
)
