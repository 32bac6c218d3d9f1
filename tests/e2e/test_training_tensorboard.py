"""TensorBoard's event files hold the curves of the run, whole after a stop in the middle."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.dataset import drawn_dataset
from training import recipe
from training.fit.train import train
from training.run import checkpoint
from training.run.tensorboard import TensorBoardLogger

pytestmark = [
    pytest.mark.skipif(
        find_spec("tensorboard") is None, reason="the extra [tensorboard] is missing"
    ),
    pytest.mark.usefixtures("one_thread"),
]
TINY = [
    "architecture.widen=0.25", "batch_images=4", "stage.1.epochs=3", "stage.1.size_px=32",
    "stage.1.grow_at=[[2, 64]]", "crop_px=32", "resize_px=64", "calibration_share=0.2",
]  # fmt: skip


class Interrupted(TensorBoardLogger):
    """Somebody presses Ctrl-C in the second epoch."""

    def batch(self, number: int, **values: float) -> None:
        super().batch(number, **values)
        if number == 21:
            raise KeyboardInterrupt


def scalars(folder: Path) -> dict[str, list[Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}


def test_curves_can_be_read_back_after_a_stop(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path / "data")  # 48 training images: 12 batches an epoch
    made = recipe.load("small-cpu", TINY)
    run, logs = tmp_path / "run", tmp_path / "logs"
    with pytest.raises(KeyboardInterrupt):
        train(data, made, run, board=Interrupted(logs), log=lambda _: None)
    assert [e.step for e in scalars(logs)["batch/train_loss"]] == [1, 11, 21]
    assert len(checkpoint.load(run).facts["history"]) == 1

    train(data, made, run, resume=True, board=TensorBoardLogger(logs), log=lambda _: None)
    curves = scalars(logs)
    history = checkpoint.load(run).facts["history"]
    for column in set(history[0]) - {"epoch"}:
        events = curves[f"epoch/{column}"]
        assert [event.step for event in events] == [1, 2, 3]
        assert [e.value for e in events] == pytest.approx([r[column] for r in history], rel=1e-6)
    assert [event.value for event in curves["epoch/size_px"]] == [32, 32, 64]
    for tag in ("batch/train_loss", "batch/lr"):
        assert [event.step for event in curves[tag]] == [1, 11, 21, 31]
