"""A multi-label package over HTTP, on the terminal and in scoring: the same labels everywhere."""

import csv
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from service import cli
from service.api.documentation import schemas
from tests.support.app import in_process
from tests.support.images import coloured, encoded
from tests.support.tiny import tiny_package


@pytest.fixture(scope="module", name="several")
def _several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(
        tmp_path_factory.mktemp("models") / "several", name="several", task="multi_label"
    )


@pytest.fixture(scope="module", name="photos")
def _photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red beside blue, green, and black; and a table that says so."""
    folder = tmp_path_factory.mktemp("photos")
    images = {
        "both.png": np.concatenate([coloured("red", 120, 120), coloured("blue", 120, 120)], axis=1),
        "one.png": coloured("green", 200, 90),
        "none.png": np.zeros((90, 130, 3), np.uint8),
    }
    for name, image in images.items():
        (folder / name).write_bytes(encoded(image))
    (folder / "truth.csv").write_text("path,label\nboth.png,red;blue\none.png,green\nnone.png,\n")
    return folder


TRUTH = {"both.png": {"blue", "red"}, "one.png": {"green"}, "none.png": set[str]()}


async def posted(package: Path, path: str, **request: Any) -> httpx.Response:
    async with in_process(package) as running:
        method = "POST" if request else "GET"
        return await running.client.request(method, path, **request)


@pytest.mark.parametrize("name", TRUTH)
async def test_classify_answers_with_the_labels_above_their_thresholds(
    several: Path, photos: Path, name: str
) -> None:
    files = {"image": (photos / name).read_bytes()}
    query = {"tta": "five_crop", "aggregate": "max", "include": "views,heatmap"}
    response = await posted(several, "/classify", params=query, files=files)
    answer = schemas.ClassifyAnswer.model_validate_json(response.content, strict=True)
    assert answer.labels is not None
    assert {label.label for label in answer.labels} == TRUTH[name]
    assert len(answer.predictions) == 3  # the ranked list is there as well
    assert all(label in answer.predictions for label in answer.labels)
    assert answer.heatmap is not None


async def test_the_single_label_answer_is_as_it_was(package: Path, photos: Path) -> None:
    files = {"image": (photos / "one.png").read_bytes()}
    response = await posted(package, "/classify", files=files)
    assert "labels" not in response.json()


@pytest.mark.parametrize("query", [{"tta": "adaptive"}, {"coverage": "0.9"}])
async def test_what_makes_no_sense_is_a_400(
    several: Path, photos: Path, query: dict[str, str]
) -> None:
    files = {"image": (photos / "one.png").read_bytes()}
    response = await posted(several, "/classify", params=query, files=files)
    assert response.status_code == 400
    assert "multi-label" in response.json()["error"]["message"]


async def test_the_model_says_its_task(several: Path) -> None:
    response = await posted(several, "/models/several")
    detail = schemas.ModelDetail.model_validate_json(response.content, strict=True)
    assert detail.task == "multi_label"


async def test_the_inference_protocol_gives_sigmoids(several: Path, photos: Path) -> None:
    pixels = np.stack([coloured("red", 96, 96), np.zeros((96, 96, 3), np.uint8)])
    request = {
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": list(pixels.shape),
                    "data": pixels.ravel().tolist()}],
        "parameters": {"tta": "dense"},
    }  # fmt: skip
    response = await posted(several, "/v2/models/several/infer", json=request)
    (output,) = response.json()["outputs"]
    red, black = np.reshape(output["data"], output["shape"])
    assert red[0] > 0.9
    assert black.sum() < 0.5  # none of them: nothing makes the row sum to 1


def test_the_command_line_says_the_labels(several: Path, photos: Path) -> None:
    files = [str(photos / name) for name in TRUTH]
    arguments = ["classify", *files, "--model", str(several), "--tta", "dense"]
    rows = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"]).stdout)
    assert [{label["label"] for label in row["labels"]} for row in rows] == list(TRUTH.values())
    table = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200"})
    assert table.exit_code == 0, table.output
    assert "none" in table.stdout


def test_scoring_has_a_column_of_labels_and_counts_them(
    several: Path, photos: Path, tmp_path: Path
) -> None:
    out, report = tmp_path / "scores.csv", tmp_path / "report.md"
    arguments = ["score", str(photos / "truth.csv"), "-o", str(out), "--model", str(several)]
    arguments += ["--tta", "five_crop", "--aggregate", "max", "--label-column", "label"]
    done = CliRunner().invoke(cli.app, [*arguments, "--report", str(report), "--json"])
    assert done.exit_code == 0, done.output
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [set(json.loads(row["labels"])) for row in rows] == list(TRUTH.values())
    assert [row["label"] for row in rows] == ["blue;red", "green", ""]
    found = json.loads(done.stdout)["labels"]
    assert (found["images"], found["exact"], found["micro_f1"]) == (3, 1.0, 1.0)
    assert "all labels right on 100.00%" in report.read_text()
