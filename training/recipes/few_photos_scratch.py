"""`few-photos` without weights to start from: a network that has seen only these images.

It takes twice as many steps, and answers less well. It is for images that are very unlike photos,
and for installations without the shipped package.
"""

from dataclasses import replace

from training.recipe import Stage
from training.recipes import few_photos

RECIPE = replace(
    few_photos.RECIPE,
    summary="few images, from scratch: small batches, at least 800 steps",
    stages=(Stage(epochs=10, size_px=64, grow_at_share=((0.5, 96), (0.8, 128)), lr=4e-3),),
    least_updates=800,
    normalization="dataset",
)
