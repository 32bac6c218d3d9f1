"""Small data get small batches, and the user hears of it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import DataError
from training import recipe as recipes
from training.fit.batch_size import SMALLEST_BATCH, fit_to_data


def fitted(images: int, *overrides: str, processes: int = 1) -> tuple[int, list[str]]:
    said: list[str] = []
    made = fit_to_data(recipes.load("quick", list(overrides)), images, said.append, processes)
    return made.batch_images, said


@pytest.mark.parametrize(
    ("images", "batch"), [(9000, 64), (1280, 64), (1279, 32), (400, 16), (171, 8), (44, 8), (8, 8)]
)
def test_an_epoch_has_steps_enough(images: int, batch: int) -> None:
    got, said = fitted(images)
    assert got == batch
    assert bool(said) == (batch != 64)
    for line in said:
        assert f"batches of {batch} images instead of 64" in line
        assert f"an epoch takes {images // batch} step" in line


def test_a_batch_that_was_asked_for_is_kept() -> None:
    assert fitted(100, "batch_images=64") == (64, [])
    assert fitted(100, "least_steps=0") == (64, [])
    assert fitted(100, "batch_images=64", "least_steps=4")[0] == 16


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"44 training images are fewer than a batch of 64.*batch_images=11"
    ):
        fitted(44, "batch_images=64")
    with pytest.raises(DataError, match=r"7 training images are fewer than a batch of 8"):
        fitted(7)


@given(images=st.integers(2, 20_000), batch=st.integers(2, 512), processes=st.integers(1, 4))
def test_a_batch_only_shrinks_and_is_shared_evenly(images: int, batch: int, processes: int) -> None:
    batch *= processes
    try:
        got, _ = fitted(images, f"batch_images={batch}", "least_steps=20", processes=processes)
    except DataError:
        return
    assert got <= min(batch, images)
    assert got % processes == 0
    assert got >= min(batch, SMALLEST_BATCH * processes)
    assert got == batch or images // (2 * got) < 20


@given(images=st.integers(16, 5000), least=st.integers(0, 2000))
@example(images=208, least=325)
def test_a_run_has_steps_enough_and_fitting_again_changes_nothing(images: int, least: int) -> None:
    made = recipes.load("small-cpu", [f"least_updates={least}", "batch_images=16"])
    fitted_once = fit_to_data(made, images, lambda _: None)
    (stage,), (before,) = fitted_once.stages, made.stages
    steps = images // 16
    assert stage.epochs * steps >= least
    assert stage.epochs == before.epochs or (stage.epochs - 1) * steps < least
    for (start, _), (old, _) in zip(stage.grow_at, before.grow_at, strict=True):
        assert start / stage.epochs == pytest.approx(old / before.epochs, abs=0.6 / stage.epochs)
    assert fit_to_data(fitted_once, images, lambda _: None) == fitted_once


def test_epochs_that_were_asked_for_are_kept() -> None:
    said: list[str] = []
    made = recipes.load("few-photos", ["stage.1.epochs=3", "batch_images=16"])
    assert fit_to_data(made, 171, said.append).stages[0].epochs == 3
    assert not said
    more = fit_to_data(recipes.load("few-photos"), 171, said.append)
    assert more.stages[0].epochs == 40
    assert said == [
        "40 epochs instead of 10, so that the network learns in 400 steps "
        "(--set stage.1.epochs=… sets their number)"
    ]
