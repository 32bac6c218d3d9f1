"""What is read of a fastai Learner: classes, sizes, normalization, files of its validation set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import training.torchvision_compat  # noqa: F401  (before fastai)

# isort: split

import pandas as pd
import pytest
import torch
from fastai.vision.all import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    ImageDataLoaders,
    IntToFloatTensor,
    LabelSmoothingCrossEntropyFlat,
    Learner,
    Normalize,
    RandomCrop,
    RandomResizedCrop,
    RandomResizedCropGPU,
    RandTransform,
    Resize,
    TensorImage,
    aug_transforms,
    get_image_files,
    imagenet_stats,
)
from PIL import Image
from torch import nn

from service.errors import ImportRefused, UsageError
from tests.support.dataset import drawn_dataset
from tests.support.images import COLOURS, drawn, encoded
from training.imports.learners.reading import read
from training.imports.learners.validation_set import validation_items

CLASSES = sorted(COLOURS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("data"), train=4, val=2)


def learner(data: Path, **options: Any) -> Any:
    dls = ImageDataLoaders.from_folder(data, valid="val", bs=4, num_workers=0, **options)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    return Learner(dls, model, loss_func=CrossEntropyLossFlat())


def presized() -> dict[str, Any]:
    return {"item_tfms": Resize(40), "batch_tfms": aug_transforms(size=32, min_scale=0.75)}


BICUBIC = (Image.Resampling.BICUBIC, 0)
KEEPS, SQUASHES = "shorter_side", "squash"
SIZES: dict[str, tuple[Callable[[], dict[str, Any]], tuple[Any, ...], str]] = {
    "resize": (lambda: {"item_tfms": Resize(32)}, (32, 32, "bilinear", KEEPS), ""),
    "bicubic": (
        lambda: {"item_tfms": Resize(32, resamples=BICUBIC)}, (32, 32, "bicubic", KEEPS), "",
    ),
    "squish": (lambda: {"item_tfms": Resize(32, "squish")}, (32, 32, "bilinear", SQUASHES), ""),
    "pad": (lambda: {"item_tfms": Resize(32, "pad")}, (32, 32, "bilinear", KEEPS), "pads"),
    "random crop": (
        lambda: {"item_tfms": RandomResizedCrop(32)}, (32, 40, "bilinear", SQUASHES), "",
    ),
    "squish, then crop": (
        lambda: {"item_tfms": [Resize(40, "squish"), RandomCrop(32)]},
        (32, 40, "bilinear", SQUASHES), "",
    ),
    "presized": (presized, (32, 32, "bilinear", KEEPS), ""),
    "presized crop": (
        lambda: {"item_tfms": RandomResizedCrop(64), "batch_tfms": aug_transforms(size=32)},
        (32, 40, "bilinear", SQUASHES), "",
    ),
    "a share of each side": (
        lambda: {
            "item_tfms": Resize(64), "batch_tfms": RandomResizedCropGPU(32, valid_scale=0.8),
        },
        (32, 40, "bilinear", KEEPS), "",
    ),
    "nothing": (dict, (None, None, None, None), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes_follow_the_validation_transforms(data: Path, name: str) -> None:
    options, expected, note = SIZES[name]
    found = read(learner(data, **options()))
    assert (found.crop_px, found.resize_px, found.interpolation, found.fit) == expected
    assert (note in " ".join(found.notes)) if note else not found.notes
    assert list(found.labels or ()) == CLASSES


def test_normalization_comes_from_the_learner(data: Path) -> None:
    plain = read(learner(data, item_tfms=Resize(32)))
    assert (plain.mean, plain.std) == ((0, 0, 0), (1, 1, 1))
    normal = read(
        learner(data, item_tfms=Resize(32), batch_tfms=Normalize.from_stats(*imagenet_stats))
    )
    assert normal.mean == (0.485, 0.456, 0.406)
    assert normal.std == (0.229, 0.224, 0.225)


SECOND = ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])


def both(dls: Any) -> Any:
    return [part.after_batch for part in (dls.train, dls.valid)]


def normalized_twice(learn: Any) -> None:
    for pipeline in both(learn.dls):
        pipeline.add(Normalize.from_stats(*SECOND, cuda=False))


def of_bytes(learn: Any) -> None:
    """The network takes pixels from 0 to 255."""
    for pipeline in both(learn.dls):
        for step in pipeline.fs:
            if isinstance(step, IntToFloatTensor):
                setattr(step, "div", 1.0)  # noqa: B010  (pyright does not know it)


def other_training_statistics(learn: Any) -> None:
    learn.dls.train.after_batch.add(Normalize.from_stats(*SECOND, cuda=False))


def one_number(learn: Any) -> None:
    for pipeline in both(learn.dls):
        pipeline.add(Normalize(0.5, 0.25))


@pytest.mark.parametrize(
    "change", [normalized_twice, of_bytes, other_training_statistics, one_number]
)
@pytest.mark.parametrize("normalize", [True, False])
def test_the_package_normalizes_as_the_validation_transforms(
    data: Path, tmp_path: Path, change: Callable[[Any], None], normalize: bool
) -> None:
    options = {"batch_tfms": Normalize.from_stats(*imagenet_stats)} if normalize else {}
    learn = learner(data, item_tfms=Resize(32), **options)
    change(learn)
    found = read(learn)
    (tmp_path / "own.png").write_bytes(encoded(drawn(32, 32, 5)))
    (given,) = learn.dls.test_dl([tmp_path / "own.png"]).one_batch()
    pixels = torch.from_numpy(drawn(32, 32, 5).copy()).permute(2, 0, 1).double() / 255
    mean, std = (torch.tensor(one).double().view(3, 1, 1) for one in (found.mean, found.std))
    expected = given[0].as_subclass(torch.Tensor)
    torch.testing.assert_close(((pixels - mean) / std).float(), expected, rtol=1e-5, atol=1e-4)


class Halved(RandTransform):
    """A transform that also changes validation images."""

    split_idx = None

    def encodes(self, x: TensorImage) -> TensorImage:
        return x.mul(0.5)  # pyright: ignore[reportReturnType]


def test_a_random_transform_of_validation_images_is_a_note(data: Path) -> None:
    found = read(learner(data, item_tfms=Resize(32), batch_tfms=Halved()))
    assert any("Halved is not in the package" in note for note in found.notes)


def test_a_multi_label_learner_and_its_validation_files(data: Path) -> None:
    files = [path.relative_to(data) for path in get_image_files(data / "train")]
    rows = {
        "file": [str(path) for path in files],
        "labels": ["red warm" if path.parent.name == "red" else path.parent.name for path in files],
    }
    dls = ImageDataLoaders.from_df(
        pd.DataFrame(rows),
        str(data),
        label_delim=" ",
        item_tfms=Resize(32),
        bs=4,
        valid_pct=0.5,
        seed=1,
    )
    learn = Learner(dls, nn.Flatten(), loss_func=BCEWithLogitsLossFlat())
    found = read(learn)
    assert found.task == "multi_label"
    assert found.activation == "none"
    assert set(found.labels or ()) <= {*CLASSES, "warm"}
    items = validation_items(learn)
    assert len(items) == len(files) // 2
    for item in items:
        colour = item.path.parent.name
        assert set(item.labels) == ({"red", "warm"} if colour == "red" else {colour})


def test_the_validation_set_and_its_absence(data: Path) -> None:
    learn = learner(data, item_tfms=Resize(32))
    items = validation_items(learn)
    assert {item.path for item in items} == set(get_image_files(data / "val"))
    assert all(item.label == item.path.parent.name for item in items)
    learn.dls.valid_ds.tls[0].items = learn.dls.valid_ds.tls[0].items[:0]
    with pytest.raises(UsageError, match="no validation images"):
        validation_items(learn)


def test_what_a_loss_takes_says_whether_the_model_gives_logits(data: Path) -> None:
    learn = learner(data, item_tfms=Resize(32))
    for loss in (LabelSmoothingCrossEntropyFlat(), CrossEntropyLossFlat(), nn.CrossEntropyLoss()):
        learn.loss_func = loss
        assert read(learn).activation == "none"
    learn.loss_func = lambda given, target: (given - target).abs().mean()
    assert read(learn).activation is None


def test_sizes_that_are_not_square_are_refused(data: Path) -> None:
    with pytest.raises(ImportRefused, match="64×96 px"):
        read(learner(data, item_tfms=Resize((96, 64))))


def test_the_model_is_not_changed(data: Path) -> None:
    from training.imports.modules.exporting import classifier

    learn = learner(data, item_tfms=Resize(32))
    learn.model.train()
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    classifier(learn.model)
    assert learn.model.training
    assert all(value.requires_grad for value in learn.model.parameters())
    assert all(torch.equal(value, before[k]) for k, value in learn.model.state_dict().items())
