"""The chapter's starting point: a network from scratch, five epochs, no normalization.

Every other recipe in this folder changes one thing of this one, or of the recipe that it names.
"""

from training.recipe import Recipe, Stage

RECIPE = Recipe(
    summary="xresnet50 from scratch, 5 epochs at 224 px, no normalization",
    stages=(Stage(epochs=5, size_px=224, lr=3e-3),),
    normalization="none",
)
