"""A student gains from a teacher: over its own labels, at equal epochs, with equal seeds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from service.errors import UsageError
from service.inference.decode import decode
from tests.support.dataset import drawn_dataset
from training import recipe
from training.data.dataset import scan
from training.data.stats import ChannelStats
from training.fit.train import train
from training.network import architecture
from training.recipe import Recipe
from training.run import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "architecture.widen=0.25", "batch_images=8", "stage.1.size_px=32", "crop_px=32",
    "resize_px=32", "calibration_share=0.1", "subset_share=1", "optimizer=adamw",
    "stage.1.schedule=cosine", "stage.1.lr=0.005", "label_smoothing=0", "distillation.weight=4",
    "ema.decay=0.9",
]  # fmt: skip
SEEDS = (1, 2, 3)
T_975 = 4.303
"""Student's t at two degrees of freedom, for a 95% interval."""


def silent(_: str) -> None:
    pass


def made(epochs: int, seed: int) -> Recipe:
    return recipe.load("quick", [*TINY, f"stage.1.epochs={epochs}", f"seed={seed}"])


def right(run: Path, folder: Path) -> float:
    """The mean probability of the right class of whole images."""
    state = checkpoint.load(run)
    classes: list[str] = state.facts["classes"]
    network = architecture.build(made(1, 0).architecture, len(classes))
    network.load_state_dict(state.weights)
    stats = ChannelStats.from_json(state.facts["normalization"])
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (stats.mean, stats.std))
    items = scan(folder)
    pixels = torch.from_numpy(np.stack([decode(item.path.read_bytes()) for item in items]))
    labels = torch.tensor([classes.index(item.label) for item in items])
    with torch.no_grad():
        inputs = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        probabilities = network.eval()(inputs).softmax(1)
        return float(probabilities[torch.arange(len(items)), labels].mean())


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("clean"), train=24, val=20, side_px=32)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other images of the same classes, half of them in the folder of another class."""
    folder = drawn_dataset(tmp_path_factory.mktemp("noisy"), train=18, val=1, side_px=32)
    names = ("red", "green", "blue")
    for i in range(9):
        files = [(folder / "train" / name / f"{i:03}.png").read_bytes() for name in names]
        turned = files[1:] + files[:1] if i < 6 else files[2:] + files[:2]
        for name, content in zip(names, turned, strict=True):
            (folder / "train" / name / f"{i:03}.png").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def teacher(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(clean, made(5, 0), tmp_path_factory.mktemp("runs") / "teacher", log=silent)


def test_the_student_gains_over_its_own_labels_at_equal_epochs(
    clean: Path, noisy: Path, teacher: Path, tmp_path: Path
) -> None:
    gains: list[float] = []
    for seed in SEEDS:
        alone, taught = (
            train(noisy, made(8, seed), tmp_path / name, teacher=used, log=silent)
            for name, used in ((f"alone-{seed}", None), (f"taught-{seed}", teacher))
        )
        gains.append(right(taught, clean / "val") - right(alone, clean / "val"))
    half = T_975 * float(np.std(gains, ddof=1)) / len(gains) ** 0.5
    assert np.mean(gains) - half > 0, f"gains in the probability of the right class: {gains}"


def test_a_resumed_run_needs_its_teacher(noisy: Path, teacher: Path, tmp_path: Path) -> None:
    run = train(noisy, made(1, 1), tmp_path / "run", teacher=teacher, log=silent)
    facts = checkpoint.load(run).facts["teacher"]
    assert facts["name"] == teacher.name
    assert len(facts["sha256"]) == 64
    train(noisy, made(1, 1), run, resume=True, teacher=teacher, log=silent)
    with pytest.raises(UsageError, match="began with the teacher teacher, and got none"):
        train(noisy, made(1, 1), run, resume=True, log=silent)
    with pytest.raises(UsageError, match="began with the teacher teacher, and got run, whose"):
        train(noisy, made(1, 1), run, resume=True, teacher=run, log=silent)
