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
        ("ema.decay=0.999", lambda r: r.ema.decay == 0.999 and r.ema.warm_up == 10),
        ("stage.1.grow_at_share=[[0.5, 192]]", lambda r: r.stages[0].size_at(2) == 192),
        ('mixes=[{"mixer": "mixup", "share": 0.5}]', lambda r: r.mixes[0].alpha == 0.4),
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
        ("stage.1.epochs=two", "must be a whole number, but got 'two'"),
        ("stage.1.epochs=true", "must be a whole number, but got True"),
        ("stage.1.epochs=0", "at least one epoch"),
        ("stage.1.size_px=100", "multiples of the network's stride, 32 px, but got 100"),
        ("stage.1.grow_at=[[2]]", "must be a list of 2 items"),
        ("stage.1.grow_at=7", "must be a list of items"),
        ("mixer=blend", "must be one of none, mixup, cutmix, resizemix, but got 'blend'"),
        ("crop_px=288", "resize_px (256) must be at least crop_px (288)"),
        ("calibration_share=1.5", "must lie in 0..1, but got 1.5"),
        ("label_smoothing=1", "must lie in 0..1, but got 1.0"),
        ("batch_images=1", "at least 2, but got 1"),
        ("stage.1.grow_at=[[2, 100]]", "32 px, but got 100"),
        ("stage.1.grow_at_share=[[1.5, 192]]", "stage.1.grow_at_share must lie in 0..1"),
        ("stage.1.warm_up=1", "below 1, but got 1"),
        ("mix.1.share=0.5", "the recipe has no mixes"),
        ('mixes=[{"mixer": "mixup"}]', "recipe.mix.1.share"),
        ('mixes=[{"mixer": "none", "share": 1}]', "recipe.mix.1.mixer must be one of mixup"),
        ('mixes=[{"mixer": "cutmix", "share": -0.5}]', "mix.1.share must lie in 0..1"),
        ('mixes=[{"mixer": "cutmix", "share": 1, "alpha": 0}]', "mix.1.alpha must be above 0"),
        ("ema.decay=1", "ema.decay must lie in 0..1 and below 1, but got 1"),
        ("ema=0.9", "is a group of values"),
        ("distillation.temperature=0", "distillation.temperature above 0"),
        ("statistics_images=-1", "statistics_images must be at least 0"),
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
    for arguments in (["--json"], ["list", "--json"], ["--json", "list"]):
        listed = CliRunner().invoke(cli.app, ["recipes", *arguments])
        assert set(json.loads(listed.stdout)) == set(recipe.names())
    assert "small-cpu  " in CliRunner().invoke(cli.app, ["recipes", "list"]).stdout
    arguments = ["recipes", "show", "quick", "--set", "stage.1.epochs=3"]
    shown = json.loads(CliRunner().invoke(cli.app, arguments).stdout)
    assert shown["stages"][0]["epochs"] == 3
    refused = CliRunner().invoke(cli.app, ["recipes", "show", "nope"])
    assert refused.exit_code == 2


def test_sizes_that_grow_by_share_fit_any_number_of_epochs() -> None:
    for epochs in (4, 20, 300):
        made = recipe.load("gpu", [f"stage.1.epochs={epochs}"])
        sizes = [made.stages[0].size_at(epoch) for epoch in range(epochs)]
        assert sizes == sorted(sizes)
        shares = [sizes.count(px) / epochs for px in (128, 160, 192)]
        assert shares == pytest.approx([0.3, 0.45, 0.25], abs=1 / epochs)


def test_values_of_mixes_can_be_changed_one_by_one() -> None:
    made = recipe.load("gpu", ["mix.2.alpha=0.7", "mix.1.share=0.25"])
    assert [(m.mixer, m.share, m.alpha) for m in made.mixes] == [
        ("mixup", 0.25, 0.2), ("cutmix", 0.3, 0.7),
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"add up to at most 1, but got 1\.3"):
        recipe.load("gpu", ["mix.1.share=1"])
    with pytest.raises(UsageError, match="give one of them"):
        recipe.load("gpu", ["mixer=mixup"])
    with pytest.raises(UsageError, match="mixes are counted from 1 to 2, but got '3'"):
        recipe.load("gpu", ["mix.3.share=1"])


def test_a_recipe_of_an_earlier_version_loads() -> None:
    new = {"ema", "mixes", "distillation", "statistics_images", "decay_vectors"}
    old = {k: v for k, v in recipe.load("mixup").to_json().items() if k not in new}
    assert Recipe.from_json(old) == recipe.load("mixup")
