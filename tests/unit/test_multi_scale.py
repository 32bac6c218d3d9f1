"""Batches come at the sizes that the recipe names, none larger than what was loaded."""

from types import SimpleNamespace

import torch

from training.fit.multi_scale import MultiScale
from training.recipe import load


def sides_seen(callback: MultiScale, loaded_px: int, batches: int = 40) -> set[int]:
    seen: set[int] = set()
    for _ in range(batches):
        learn = SimpleNamespace(xb=(torch.rand(2, 3, loaded_px, loaded_px),))
        learn.x = learn.xb[0]
        callback.learn = learn
        callback.before_batch()
        assert learn.xb[0].shape[2] == learn.xb[0].shape[3]
        seen.add(learn.xb[0].shape[-1])
    return seen


def test_every_named_size_is_drawn_up_to_that_of_the_crops() -> None:
    callback = MultiScale((96, 128, 160))
    assert sides_seen(callback, 160) == {96, 128, 160}
    assert sides_seen(callback, 128) == {96, 128}
    assert sides_seen(callback, 64) == {64}


def test_the_same_seed_draws_the_same_sizes() -> None:
    callback = MultiScale((32, 64))
    drawn: list[list[int]] = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append([max(sides_seen(callback, 64, batches=1)) for _ in range(10)])
    assert drawn[0] == drawn[1]


def test_a_flat_picture_stays_flat_when_it_is_made_small() -> None:
    callback = MultiScale((32,))
    learn = SimpleNamespace(xb=(torch.full((1, 3, 64, 64), 0.7),))
    learn.x = learn.xb[0]
    callback.learn = learn
    callback.before_batch()
    torch.testing.assert_close(learn.xb[0], torch.full((1, 3, 32, 32), 0.7))


def test_the_recipe_trains_at_every_size_it_serves() -> None:
    recipe = load("multi-scale")
    assert set(recipe.batch_sizes_px) >= {recipe.crop_px, recipe.resize_px}
