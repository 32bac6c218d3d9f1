"""The benchmark of few images: every recipe that its table compares can begin."""

from pathlib import Path

import pytest

from benchmarks.small_data.__main__ import options_of
from benchmarks.small_data.tasks import DRAWN, drawn
from training import recipe as recipes
from training.data.dataset import split
from training.fit.train import channel_stats
from training.recipe import AUTO
from training.start.auto import shipped
from training.start.begin import begin


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "data"
    drawn(folder, DRAWN["shapes"], train=8, val=4)
    return folder


@pytest.mark.parametrize("recipe", [AUTO, *recipes.names()])
def test_a_case_begins_with_the_weights_that_its_recipe_needs(recipe: str, few: Path) -> None:
    beginning = begin(few, options_of(recipe, None), lambda _: None)
    images = split(few, beginning.recipe)
    assert channel_stats(beginning.recipe, images, beginning.initial)
    assert (beginning.initial is None) == (beginning.recipe.normalization != "init")


def test_a_case_starts_from_the_weights_that_are_named(tmp_path: Path) -> None:
    named = tmp_path / "mine"
    assert options_of("fine-tune", named).init == named
    assert options_of("fine-tune", None).init == shipped()
    assert options_of("few-photos-scratch", named).init is None
