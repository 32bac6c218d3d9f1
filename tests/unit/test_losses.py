"""Multi-label losses and mixed targets against the closed form."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import training.torchvision_compat  # noqa: F401  (before fastai)
from tests.support.shapes import shapes
from training.fit import mixers
from training.fit.losses import SmoothedBinaryFlat, loss_of
from training.recipe import Mixer, Recipe, Stage

STAGES = (Stage(epochs=1, size_px=32),)
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


def recipe(mixer: Mixer = "none", smoothing: float = 0.0) -> Recipe:
    return Recipe(summary="", stages=STAGES, mixer=mixer, label_smoothing=smoothing)


def test_a_multi_label_loss_is_binary_cross_entropy() -> None:
    loss = loss_of(recipe(), "multi_label")(LOGITS, TARGETS)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, TARGETS)
    assert float(loss) == pytest.approx(float(expected))


def test_smoothing_is_half_of_epsilon_on_either_side() -> None:
    loss = loss_of(recipe(smoothing=0.1), "multi_label")
    assert isinstance(loss, SmoothedBinaryFlat)
    smoothed = torch.where(TARGETS == 1, 0.95, 0.05)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, smoothed)
    assert float(loss(LOGITS, TARGETS)) == pytest.approx(float(expected))


@pytest.mark.parametrize("mixer", ["mixup", "cutmix", "resizemix"])
def test_mixed_targets_are_the_two_images_labels_by_their_shares(mixer: Mixer) -> None:
    from fastai.learner import Learner

    torch.manual_seed(0)
    callback: Any = mixers.mixer(recipe(mixer))[0]
    loaders: Any = _Loaders()
    loss = SmoothedBinaryFlat(0.1)
    learn: Any = Learner(loaders, torch.nn.Identity(), loss_func=loss, cbs=[callback])
    learn.epoch, learn.training, learn.dl = 0, True, loaders.train
    own = (torch.rand(8, 5) < 0.5).float()
    learn.xb, learn.yb = (torch.rand(8, 3, 32, 32),), (own,)
    for event in ("before_train", "before_batch"):
        callback(event)
    share = torch.as_tensor(callback.lam).float().reshape(-1, 1)
    expected = share * own + (1 - share) * callback.yb1[0]
    np.testing.assert_allclose(torch.as_tensor(learn.yb[0]), expected, atol=1e-6)


class _Loaders:
    """What a Learner asks of its data before it is used."""

    train: tuple[()] = ()
    device = torch.device("cpu")


def test_a_sample_says_every_label_of_an_image(tmp_path_factory: pytest.TempPathFactory) -> None:
    from training.previews.sample_batch import describe, sample_batch

    names = ["bar", "disc", "square"]
    assert describe({0: 1.0, 1: 0.0, 2: 1.0}, names) == "bar + square"
    assert describe({0: 0.0, 1: 0.0, 2: 0.0}, names) == "none"
    assert describe({0: 1.0, 1: 0.3, 2: 0.0}, names) == "1.0 bar + 0.3 disc"
    table = shapes(tmp_path_factory.mktemp("shapes"), train=24, split=False)
    made = Recipe(
        summary="", stages=STAGES, mixer="mixup", batch_images=8, augment="crop",
        normalization="none",
    )  # fmt: skip
    batch = sample_batch(table, made, log=lambda _: None)
    assert len(batch.samples) == 8
    assert any("0." in sample.label for sample in batch.samples)
