"""`--recipe auto`: what it chooses, what it says, and that a resumed run keeps it."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.errors import UsageError
from tests.support.dataset import drawn_dataset
from tests.support.kinds import kind_package
from training import recipe as recipes
from training.run import checkpoint
from training.start import auto
from training.start.auto import choose
from training.start.begin import CHOICE, begin
from training.start.options import Options


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("few") / "data", train=5, val=1)


@pytest.mark.parametrize(
    ("images", "gpu", "recipe"),
    [
        (60, False, "few-photos"),
        (1999, True, "few-photos"),
        (2000, False, "small-cpu"),
        (2000, True, "gpu"),
        (10**6, True, "gpu"),
    ],
)
def test_the_recipe_fits_the_images_and_the_device(images: int, gpu: bool, recipe: str) -> None:
    choice = choose(images, None, gpu=gpu)
    assert choice.recipe == recipe
    assert (choice.init == auto.shipped()) == (images < 2000)
    line = choice.line()
    assert line.startswith(f"recipe {recipe}, from ")
    assert f"{images} training images" in line
    assert "To choose another: --recipe NAME" in line
    assert "\n" not in line


def test_without_the_shipped_package_few_images_are_learned_from_scratch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(auto, "MODELS", tmp_path)
    choice = choose(100, None, gpu=False)
    assert (choice.recipe, choice.init) == ("few-photos-scratch", None)
    assert "no package is installed" in choice.line()


def test_few_images_start_from_the_shipped_weights(data: Path) -> None:
    said: list[str] = []
    beginning = begin(data, Options(overrides=["batch_images=5"]), said.append)
    assert beginning.recipe == recipes.load("few-photos", ["batch_images=5"])
    assert beginning.initial is not None
    assert beginning.initial.source["name"].startswith("imagenette-xresnet18@")
    assert said == [auto.choose(15, None, gpu=False).line()]


def test_named_weights_bring_their_architecture(run_folder: Path, data: Path) -> None:
    own = checkpoint.load(run_folder).facts["recipe"]["architecture"]
    beginning = begin(data, Options(init=run_folder), lambda _: None)
    assert beginning.recipe.architecture.name == own["name"]
    assert beginning.recipe.architecture.widen == own["widen"]
    assert beginning.recipe.normalization == "init"


def test_a_package_of_another_network_is_no_start(tmp_path: Path, data: Path) -> None:
    folder = kind_package(tmp_path / "imported")
    with pytest.raises(UsageError, match=r"its network \(.*\) is not an xresnet, so no training"):
        begin(data, Options(init=folder), lambda _: None)


def test_a_named_recipe_is_not_changed(data: Path) -> None:
    said: list[str] = []
    beginning = begin(data, Options(recipe="quick"), said.append)
    assert (beginning.recipe, beginning.initial, said) == (recipes.load("quick"), None, [])


def test_a_resumed_run_keeps_its_choice(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beginning = begin(data, Options(), lambda _: None)
    beginning.write(tmp_path)
    assert (tmp_path / CHOICE).is_file()
    monkeypatch.setattr(auto, "FEW_IMAGES", 1)  # as after many images were added
    assert begin(data, Options(), lambda _: None).recipe.summary != beginning.recipe.summary
    again = begin(data, Options(), lambda _: None, resumed=tmp_path)
    assert again.recipe == beginning.recipe
    assert again.initial is not None


def test_a_run_with_a_named_recipe_goes_on_without_naming_it(run_folder: Path, data: Path) -> None:
    own = recipes.Recipe.from_json(checkpoint.load(run_folder).facts["recipe"])
    assert begin(data, Options(), lambda _: None, resumed=run_folder).recipe == own


@pytest.mark.parametrize("command", ["train", "lr-find", "show-batch"])
def test_a_wrong_recipe_is_refused_before_torch_is_imported(command: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom service import cli\n"
        f"done = CliRunner().invoke(cli.app, {[command, 'DATA', '--recipe', 'smal-cpu', *out]!r})\n"
        "assert done.exit_code == 2, done.output\n"
        "assert \"did you mean 'small-cpu'?\" in done.stderr\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--weights goes with --backbone"):
        Options(weights="none").check()
    with pytest.raises(UsageError, match="two ways to begin"):
        Options(backbone="timm:resnet18", init=tmp_path).check()


def test_help_names_the_default() -> None:
    for command in ("train", "lr-find", "show-batch"):
        shown = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"})
        assert "auto" in shown.output
        assert "--backbone" in shown.output
