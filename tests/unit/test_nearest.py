"""Every choice has a hint: commands, options, HTTP, settings, recipes, data and files."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.api.options import read_options
from service.api.server.model_set import ModelSet
from service.bench import options as bench
from service.console.nearest import did_you_mean, with_hint, with_path_hint
from service.errors import DataError, QuincunxError, UsageError
from service.inference.options import Options
from service.package.labels import class_ids
from service.package.package import ModelPackage
from service.scoring.result.sinks import sink_for
from service.scoring.sources import expand
from service.settings import Settings
from tests.support.tiny import tiny_package
from training import recipe
from training.data.dataset import scan
from training.imports.given import Given, one_of
from training.imports.sources import open_source
from training.network import architecture
from training.surgery.wanted import Channels

run = CliRunner().invoke


def test_the_beginning_of_one_name_is_enough() -> None:
    assert did_you_mean("imagenet", ["imagenette-xresnet18", "mine"]) == (
        "did you mean 'imagenette-xresnet18'?"
    )
    assert did_you_mean("imagenet", ["imagenette-xresnet18", "imagenette-xresnet34"]) == ""
    assert did_you_mean("im", ["imagenette-xresnet18"]) == ""
    assert with_hint("no", "x", ["zebra"]) == "no"


@pytest.mark.parametrize(
    ("read", "got", "meant"),
    [
        (bench.arrivals, "poison", "poisson"),
        (bench.scenarios, "Ofline", "Offline"),
        (bench.mix, "none=0.5,five_crp=0.5", "five_crop"),
        (lambda text: bench.modes(text, Path(), ()), "five-crop", "five_crop"),
        (lambda text: bench.precisions(text, Path(), "cpu"), "int_8", "int8"),
        (lambda text: recipe.load("small-cpu", [text]), "label_smooting=0", "label_smoothing"),
        (lambda text: recipe.load("small-cpu", [text]), "stag.1.epochs=3", "stage"),
        (lambda text: recipe.load("small-cpu", [text]), "stage.1.epoch=3", "epochs"),
        (lambda text: recipe.load("small-cpu", [text]), "mixer=mixpu", "mixup"),
        (lambda text: recipe.load("small-cpu", [text]), "optimizer=adan", "adam"),
        (
            lambda text: architecture.build(recipe.Architecture(name=text), 3),
            "xresnet81",
            "xresnet18",
        ),
        (lambda text: one_of(text, Channels, "--channels"), "RBG", "RGB"),
        (lambda text: Given(normalization=text).statistics(), "imagnet", "imagenet"),
        (lambda text: open_source(text, Given()), "tim:resnet18", "timm"),
        (lambda text: Options(tta=text), "fivecrop", "five_crop"),
        (lambda text: Options(aggregate=text), "gmaen", "gmean"),
        (lambda text: read_options([(text, "1")], {}), "coverag", "coverage"),
        (
            lambda text: Settings.from_environment({"QUINCUNX_PRECISION": text}),
            "int9",
            "int8",
        ),
        (
            lambda text: Settings.from_environment({text: "int8"}),
            "QUINCUNX_PRECISON",
            "QUINCUNX_PRECISION",
        ),
        (sink_for, "out.parqet", ".parquet"),
        (lambda text: scan(Path(text) / "train"), "imagenete", "imagenette"),
    ],
)
def test_a_near_miss_of_any_choice_names_what_was_meant(read, got: str, meant: str) -> None:
    with pytest.raises(QuincunxError) as refused:
        read(got)
    assert f"did you mean {meant}?" in str(refused.value).replace("'", "")


def test_a_class_of_the_data_that_the_model_lacks(tmp_path: Path) -> None:
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny", int8=False)).manifest
    with pytest.raises(DataError, match=r"no class 'grene'.*did you mean 'green'\?"):
        class_ids(["red", "grene"], manifest)


def test_a_model_that_is_not_served() -> None:
    with pytest.raises(QuincunxError, match=r"no model 'x'; served: "):
        ModelSet(()).get("x")


def test_files_and_folders_that_are_missing(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.touch()
    (tmp_path / "val" / "red").mkdir(parents=True)
    with pytest.raises(UsageError, match=rf"no file .*did you mean '{photo}'\?"):
        expand([str(tmp_path / "phto.jpg")])
    with pytest.raises(DataError, match=rf"did you mean '{tmp_path / 'val'}'\?"):
        scan(tmp_path / "vall")
    done = run(cli.app, ["classify", str(tmp_path / "phto.jpg")])
    assert done.exit_code == 1
    assert f"No such file or directory; did you mean '{photo}'?" in done.stderr
    assert with_path_hint("no", tmp_path / "gone" / "x") == "no"


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path, name: str) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    package = str(tiny_package(tmp_path / "tiny", int8=False))
    for command in (
        ["classify", str(pipe), "--model", package],
        ["evaluate", package, str(pipe)],
        ["bench", "compare", str(pipe), str(pipe)],
    ):
        done = run(cli.app, command)
        assert done.exit_code != 0
        assert "a pipe, socket or device" in done.stderr, command
