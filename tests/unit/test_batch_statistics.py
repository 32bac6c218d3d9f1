"""Batch normalization's statistics are the plain mean over what was shown."""

from pathlib import Path

import torch
from torch import nn

from service.package.manifest import InputSize, Normalization
from tests.support.dataset import drawn_dataset
from training.data.dataset import split
from training.network.batch_statistics import remeasure, served_batches
from training.recipe import load


def test_statistics_are_the_mean_over_batches_and_weights_stay() -> None:
    convolution, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    network = nn.Sequential(convolution, norm)
    norm(torch.full((2, 4, 3, 3), 7.0))  # statistics of something else
    before = {key: value.clone() for key, value in network.named_parameters()}
    batches = [torch.randn(6, 3, 8, 8) + shift for shift in (0.0, 1.0, 5.0)]
    remeasure(network, iter(batches), len(batches))
    with torch.no_grad():
        shown = [convolution(batch).transpose(0, 1).flatten(1) for batch in batches]
    means = torch.stack([values.mean(1) for values in shown]).mean(0)
    variances = torch.stack([values.var(1) for values in shown]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    for key, value in network.named_parameters():
        assert torch.equal(value, before[key])


def test_dropout_does_not_change_the_statistics() -> None:
    """It works in training only, so served features have the statistics without it."""
    norm, hidden = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    network = nn.Sequential(norm, nn.Dropout(0.5), hidden)
    batch = torch.randn(16, 3, 8, 8)
    remeasure(network, iter([batch]), 1)
    torch.testing.assert_close(hidden.running_mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(hidden.running_var, torch.ones(3), atol=1e-2, rtol=0)


def test_every_batch_of_served_crops_is_full_and_normalized(tmp_path: Path) -> None:
    items = split(drawn_dataset(tmp_path / "data"), load("small-cpu", ["calibration_share=0.2"]))
    sizes = InputSize(crop_px=32, resize_px=64)
    stats = Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), source="given")
    batches, total = served_batches(items.train, sizes, stats, 10, seed=3)
    made = list(batches)
    assert [tuple(batch.shape) for batch in made] == [(10, 3, 32, 32)] * total
    assert total == 1
    assert -2 <= made[0].min() < 0 < made[0].max() <= 2
