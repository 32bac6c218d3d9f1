"""A network without an answer for an image: an error of this image, and never NaN in an answer."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from service.api.heatmap import heatmap_json
from service.cli import app
from service.errors import NotFinite
from service.inference.predictor import Predictor
from service.inference.tta.task import SINGLE_LABEL
from service.package.manifest import Mode
from service.scoring import score
from service.scoring.options import Speed
from tests.support.app import in_process
from tests.support.images import coloured, encoded
from tests.support.not_finite import ONE_COLOUR, standardizing_package

MODES: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense", "centre_dense", "adaptive")
GOOD = coloured("blue", 100, 120, seed=1)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standardizing_package(tmp_path_factory.mktemp("standardizing"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, image in (("a", GOOD), ("b", ONE_COLOUR), ("c", GOOD)):
        (folder / f"{name}.png").write_bytes(encoded(image))
    return folder


@pytest.mark.parametrize("tta", MODES)
def test_the_python_api_raises(package: Path, tta: Mode) -> None:
    predictor = Predictor.from_package(package)
    predictor.warm_up(2)  # with a picture of one colour
    assert predictor.classify([GOOD], tta)[0].name == "Blue"
    with pytest.raises(NotFinite, match="logits for this image"):
        predictor.classify([GOOD, ONE_COLOUR], tta)


@pytest.mark.parametrize("processes", [0, 1])
def test_scoring_gives_the_image_a_row_with_the_error(
    package: Path, photos: Path, processes: int
) -> None:
    speed = Speed(decode_processes=processes)
    first, bad, last = score(photos, package, tta="adaptive", single=True, speed=speed)
    assert bad.error is not None
    assert bad.error.startswith("NotFinite: the network's logits")
    assert not bad.top
    assert first.top[0].name == last.top[0].name == "Blue"


def test_a_run_of_score_counts_it_as_failed(package: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = ["score", str(photos), "--model", str(package), "-o", str(out), "--strict"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "1 failed" in result.stderr
    assert "NaN" not in out.read_text().replace("(NaN", "")


async def test_over_http_it_is_a_server_error_of_this_image_alone(package: Path) -> None:
    async with in_process(package) as running:
        bad, good = encoded(ONE_COLOUR), encoded(GOOD)
        response = await running.client.post("/classify", files={"image": bad})
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "not_finite"
        files = [("images", good), ("images", bad), ("images", good)]
        response = await running.client.post("/classify_batch", files=files)
        results: list[Any] = response.json()["results"]
        assert [one.get("name") for one in results] == ["Blue", None, "Blue"]
        assert results[1]["error"]["code"] == "not_finite"


def test_a_heat_map_of_it_is_an_error() -> None:
    class_map = np.zeros((3, 2, 2), np.float32)
    assert heatmap_json(class_map, 0, "numbers", SINGLE_LABEL)["peak"] == round(1 / 3, 5)
    class_map[1, 0, 1] = math.nan
    with pytest.raises(NotFinite, match="heat map"):
        heatmap_json(class_map, 0, "numbers", SINGLE_LABEL)


def test_the_command_line_names_the_file_and_answers_the_others(
    package: Path, photos: Path
) -> None:
    files = [str(photos / f"{name}.png") for name in "abc"]
    result = CliRunner().invoke(app, ["classify", *files, "--model", str(package), "--json"])
    assert result.exit_code == 1
    assert f"{files[1]}: the network's logits" in result.stderr
    rows = json.loads(result.stdout)
    assert ["error" in row for row in rows] == [False, True, False]


def test_evaluation_names_the_file(package: Path, photos: Path) -> None:
    (photos / "blue").mkdir()
    for name in "abc":
        (photos / f"{name}.png").rename(photos / "blue" / f"{name}.png")
    result = CliRunner().invoke(app, ["evaluate", str(package), str(photos)])
    assert result.exit_code == 1
    assert f"{photos / 'blue' / 'b.png'}: the network's logits" in result.stderr
