"""Recipes: every one that ships, overrides, and what is refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.errors import UsageError
from training import recipe
from training.recipe import Recipe, Stage


def test_the_chapters_recipes_ship() -> None:
    assert set(recipe.names()) >= {
        "baseline", "normalized", "progressive", "mixup", "label-smoothing", "long", "quick",
        "fine-tune", "small-cpu",
    }  # fmt: skip


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_survives_json_and_names_its_purpose(name: str) -> None:
    made = recipe.load(name)
    assert Recipe.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert made.summary
    module = Path(recipe.__file__).parent / "recipes" / f"{name.replace('-', '_')}.py"
    assert module.read_text().startswith('"""')


def test_each_recipe_of_the_chapter_changes_what_it_is_named_for() -> None:
    def changed(name: str, base: str) -> set[str]:
        one, other = recipe.load(name).to_json(), recipe.load(base).to_json()
        return {key for key in one if one[key] != other[key]} - {"summary"}

    assert changed("normalized", "baseline") == {"normalization"}
    assert changed("progressive", "normalized") == {"stages"}
    assert changed("mixup", "normalized") == {"mixer"}
    assert changed("label-smoothing", "normalized") == {"label_smoothing"}


@pytest.mark.parametrize(
    ("override", "got"),
    [
        ("stage.1.epochs=8", lambda r: r.stages[0].epochs == 8),
        ("stages.2.lr=1", lambda r: r.stages[1].lr == 1.0 and isinstance(r.stages[1].lr, float)),
        ("stage.2.grow_at=[[2, 256]]", lambda r: r.stages[1].grow_at == ((2, 256),)),
        ("label_smoothing=0", lambda r: r.label_smoothing == 0.0),
        ("architecture.name=xresnet34", lambda r: r.architecture.name == "xresnet34"),
        ("architecture.self_attention=true", lambda r: r.architecture.self_attention is True),
        ("mixer=resizemix", lambda r: r.mixer == "resizemix"),
    ],
)
def test_override(override: str, got: object) -> None:
    assert callable(got)
    assert got(recipe.load("progressive", [override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "KEY=VALUE"),
        ("nonsense=1", "no key 'nonsense'"),
        ("stage.1.nonsense=1", "no key 'nonsense'"),
        ("stage.3.epochs=1", "from 1 to 2, but got '3'"),
        ("stage.0.epochs=1", "from 1 to 2, but got '0'"),
        ("stage.1=5", "names a whole stage"),
        ("architecture=xresnet18", "is a group of values"),
        ("stage.1.epochs=two", "must be int, but got 'two'"),
        ("stage.1.epochs=true", "must be int, but got True"),
        ("stage.1.epochs=0", "at least one epoch"),
        ("stage.1.size_px=100", "multiples of the network's stride, 32 px, but got 100"),
        ("stage.1.grow_at=[[2]]", "must be a list of 2 items"),
        ("stage.1.grow_at=7", "must be a list of items"),
        ("mixer=blend", "must be one of none, mixup, cutmix, resizemix, but got 'blend'"),
        ("crop_px=288", "resize_px (256) must be at least crop_px (288)"),
        ("calibration_share=1.5", "must lie in 0..1, but got 1.5"),
        ("label_smoothing=1", "must lie in 0..1, but got 1.0"),
        ("batch_images=1", "at least 2, but got 1"),
    ],
)
def test_a_wrong_override_is_a_usage_error_that_says_why(override: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe.load("progressive", [override])
    assert message in str(caught.value)


def test_an_unknown_recipe_names_the_known() -> None:
    with pytest.raises(UsageError, match="no recipe 'nope'; there are: baseline, "):
        recipe.load("nope")


def test_the_size_grows_at_its_epochs() -> None:
    stage = Stage(epochs=5, size_px=64, grow_at=((2, 96), (4, 128)))
    assert [stage.size_at(epoch) for epoch in range(5)] == [64, 64, 96, 96, 128]


def test_the_command_lists_and_shows() -> None:
    listed = CliRunner().invoke(cli.app, ["recipes", "--json"])
    assert set(json.loads(listed.stdout)) == set(recipe.names())
    arguments = ["recipes", "show", "quick", "--set", "stage.1.epochs=3"]
    shown = json.loads(CliRunner().invoke(cli.app, arguments).stdout)
    assert shown["stages"][0]["epochs"] == 3
    refused = CliRunner().invoke(cli.app, ["recipes", "show", "nope"])
    assert refused.exit_code == 2
