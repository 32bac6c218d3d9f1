"""Small data get small batches, and the user hears of it."""

import pytest
from hypothesis import given
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
