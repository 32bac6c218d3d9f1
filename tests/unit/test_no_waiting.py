"""A training step never waits for a GPU: nothing reads the value of a tensor on the device.

Tensors on torch's `meta` device have no values, so reading one is an error.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fastai.learner import AvgSmoothLoss
from torch import nn

from training import recipe
from training.data.dataset import split
from training.data.stats import IMAGENET
from training.fit import mixers
from training.fit.learner import loss_of
from training.fit.loop.distillation import Distilled
from training.fit.loop.each_epoch import READ_LOSS_EVERY, EachEpoch
from training.fit.loop.ema import WeightAverage
from training.fit.loop.run import Run
from training.fit.loop.smooth_loss import DeviceSmoothLoss
from training.recipe import Distillation, Ema, Mix, Recipe, Stage

MIXERS: list[dict[str, Any]] = [
    {"mixer": "mixup"},
    {"mixer": "cutmix", "mixer_alpha": 1.0},
    {"mixer": "resizemix"},
    {"mixes": (Mix("mixup", share=0.4), Mix("cutmix", share=0.4))},
]


@pytest.mark.parametrize("values", MIXERS, ids=lambda values: next(iter(values.values())))
@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_no_mixer_reads_from_the_device(values: dict[str, Any], task: Any) -> None:
    made = Recipe(summary="", stages=(Stage(1, 32),), **values)
    images = torch.empty(6, 3, 32, 32, device="meta")
    labels = torch.empty(6, dtype=torch.long, device="meta")
    if task == "multi_label":
        labels = torch.empty(6, 5, device="meta")
    for seed in range(8):
        torch.manual_seed(seed)
        mixer: Any = mixers.mixer(made)[0]
        learn = SimpleNamespace(xb=(images,), yb=(labels,), x=images, y=labels, training=True)
        learn.loss_func = loss_of(made, task)
        mixer.learn = learn
        mixer.before_train()
        mixer.before_batch()
        loss = learn.loss_func(torch.empty(6, 5, device="meta"), *learn.yb)
        assert loss.device.type == "meta"


def test_the_smoothed_loss_has_fastais_values_and_stays_on_the_device() -> None:
    ours, theirs = DeviceSmoothLoss(), AvgSmoothLoss()
    for value in (2.0, 1.0, 4.0):
        learn = SimpleNamespace(loss=torch.tensor([value, value + 1]))
        ours.accumulate(learn)
        theirs.accumulate(learn)
        assert float(ours.value) == float(theirs.value)
    ours.reset()
    ours.accumulate(SimpleNamespace(loss=torch.empty(2, device="meta")))
    assert ours.value.device.type == "meta"


def test_neither_the_average_nor_a_teacher_reads_from_the_device() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).to("meta")
    average: Any = WeightAverage(Ema(decay=0.9), model, model.state_dict(), 0)
    average.learn = SimpleNamespace(model=model)
    for event in ("before_train", "after_step", "before_validate", "after_validate"):
        getattr(average, event)()
    logits = torch.empty(6, 5, device="meta")
    taught: Any = Distilled(lambda _: logits, Distillation(), IMAGENET, "single_label")
    loss = torch.empty((), device="meta")
    images = torch.empty(6, 3, 8, 8, device="meta")
    taught.learn = SimpleNamespace(x=images, pred=logits, loss_grad=loss, loss=loss)
    taught.after_loss()


def test_the_loss_is_read_every_so_many_batches(
    drawn_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe.load(
        "small-cpu",
        ["architecture.widen=0.25", "batch_images=2", "least_steps=0", "stage.1.epochs=1",
         "stage.1.size_px=32", "stage.1.grow_at=[]", "crop_px=32", "resize_px=32",
         "calibration_share=0.1"],
    )  # fmt: skip
    read: list[str] = []
    check = EachEpoch.check

    def counted(self: EachEpoch, loss: float, of: str) -> float:
        read.append(of)
        return check(self, loss, of)

    monkeypatch.setattr(EachEpoch, "check", counted)
    monkeypatch.setattr("training.fit.loop.each_epoch.READ_LOSS_EVERY", 4)
    assert READ_LOSS_EVERY >= 4
    run = Run(made, split(drawn_data, made), IMAGENET, tmp_path, None, None, 0, lambda _: None)
    assert run.batches == 13
    run.go()
    # Batches 1, 5, 9 and 13, and once more before the checkpoint is written.
    assert read == ["training"] * 5 + ["calibration"]
