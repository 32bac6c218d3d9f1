"""The options that say what a benchmark runs on."""

import argparse
from pathlib import Path

import pytest

from benchmarks.pictures import RESULTS, add_options, described, pictures, results
from benchmarks.scoring.__main__ import _arguments as scoring
from service.bench.image_size import ImageSize
from service.bench.photos import drawn_folder
from tests.support.images import coloured, encoded


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders a, b and d, and the checkout c."""
    for name in ("a", "b", "d", "c/service"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "c" / "service" / "cli.py").touch()
    monkeypatch.chdir(tmp_path)


def given(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.add_argument("--out", type=Path)
    return parser.parse_args(arguments)


def test_the_size_reaches_the_images_and_the_report() -> None:
    assert "500×375 px" in pictures(given()).description
    assert "64×48 px" in pictures(given("--image-size", "64x48")).description


def test_a_wrong_size_ends_with_the_form_that_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        given("--image-size", "12MP")
    assert ended.value.code == 2
    assert "a size is WIDTHxHEIGHT in pixels" in capsys.readouterr().err


def test_images_of_a_folder_have_their_own_size(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(coloured("red", 30, 40), "JPEG"))
    assert "of 40×30 px" in pictures(given("--images", str(tmp_path))).description
    both = pictures(given("--images", str(tmp_path), "--image-size", "64x48"))
    assert both.description.startswith("1 photos, enlarged to 64×48 px")


def test_another_size_never_overwrites_the_standard_results(tmp_path: Path) -> None:
    assert results(given()) == results(given("--image-size", "500x375")) == RESULTS
    assert results(given("--image-size", "4032x3024")) == RESULTS / "4032x3024"
    assert results(given("--image-size", "4032x3024", "--out", str(tmp_path))) == tmp_path


def test_results_of_enlarged_photos_never_overwrite_those_of_drawn_images(tmp_path: Path) -> None:
    photos = ("--images", str(tmp_path))
    assert results(given(*photos, "--image-size", "4032x3024")) == RESULTS / "4032x3024-photos"
    assert results(given(*photos, "--image-size", "500x375")) == RESULTS / "500x375-photos"
    assert results(given(*photos)) == RESULTS
    wanted = results(given(*photos, "--image-size", "9x9", "--out", str(tmp_path / "o")))
    assert wanted == tmp_path / "o"


def test_a_folder_of_drawn_images_is_there_for_a_while() -> None:
    with drawn_folder(ImageSize(64, 48)) as folder:
        assert described(folder).startswith("64x48; a sample of it: 16 files")
        assert "of 64×48 px" in described(folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["rate", "P"], "rate needs --photos FOLDER... or --image-size"),
        (
            ["memory", "P", "--photos", "a", "--image-size", "9x9"],
            "one folder of photos, but got 2",
        ),
        (["kills", "P", "--image-size", "9x9"], "which are not drawn"),
        (["peers", "P", "--data", "d", "--photos", "a", "b"], "beside --data, but got 2"),
        (["base", "P", "--base", "c"], "base needs --photos FOLDER... or --image-size"),
        (["base", "P", "--image-size", "9x9"], "base needs --base CHECKOUT"),
        (["rate", "P", "--image-size", "12MP"], "a size is WIDTHxHEIGHT"),
    ],
)
def test_scoring_says_what_it_cannot_run_on(
    arguments: list[str], reason: str, folders: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        scoring(arguments)
    assert reason in capsys.readouterr().err


def test_scoring_takes_folders_and_a_size(folders: None) -> None:
    given = scoring(["rate", "P", "--photos", "a", "--image-size", "9x8"])
    assert given.image_size == ImageSize(9, 8)
    assert given.photos == [Path("a")]
