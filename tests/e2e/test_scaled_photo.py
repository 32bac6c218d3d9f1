"""A photo of a phone and a package with `decode: scaled`: one answer, by every way in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from typer.testing import CliRunner

from service.bench.drawing import draw
from service.bench.image_size import PHONE
from service.cli import app
from service.inference.option_text import boxes_of
from service.inference.predictor import Prediction, Predictor
from service.package.manifest import Mode
from tests.support.files import exif, orientation
from tests.support.scoring import run_score
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

BOXES = "0.2,0.1,0.45,0.3;0.5,0,1,0.5,flip"
MODES: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense", "adaptive", "custom")
EXACT = 1e-6
"""Two answers of the same pixels: batches may differ in the last bit."""


def _package(folder: Path, decode: str) -> Path:
    manifest = tiny_package(folder / decode, int8=False, name=decode) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["input"] |= {"decode": decode, "decode_factor": 2}
    manifest.write_text(json.dumps(content))
    return manifest.parent


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _package(tmp_path_factory.mktemp("packages"), "scaled")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 MP, held upright: the file lies on its side, and EXIF says so."""
    (data,) = draw(PHONE, 5, 1)
    path = tmp_path_factory.mktemp("photos") / "phone.jpg"
    lies = b"Exif\0\0" + exif(orientation(6)).removeprefix(b"Exif\0\0")
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(lies) + 2).to_bytes(2) + lies + data[2:])
    return path


@pytest.fixture(scope="module")
def server(scaled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving([scaled], tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def answers(scaled: Path, photo: Path) -> dict[Mode, Prediction]:
    """What the library answers."""
    predictor = Predictor.from_package(scaled, provider="cpu", threads=1)
    return {mode: _classified(predictor, photo, mode) for mode in MODES}


def _classified(predictor: Predictor, photo: Path, mode: Mode) -> Prediction:
    boxes = boxes_of("boxes", BOXES) if mode == "custom" else ()
    (prediction,) = predictor.classify([photo.read_bytes()], mode, boxes=boxes)
    return prediction


def _same(got: list[dict[str, Any]], prediction: Prediction, key: str = "index") -> None:
    assert [one[key] for one in got] == [getattr(top, key) for top in prediction.top[: len(got)]]
    wanted = [top.probability for top in prediction.top[: len(got)]]
    np.testing.assert_allclose([one["probability"] for one in got], wanted, atol=EXACT)


def _query(mode: Mode) -> dict[str, str]:
    return {"tta": mode, "boxes": BOXES} if mode == "custom" else {"tta": mode}


def test_the_library_scales_and_nearly_agrees_with_exact(
    answers: dict[Mode, Prediction], photo: Path, tmp_path: Path
) -> None:
    exact = Predictor.from_package(_package(tmp_path, "exact"), provider="cpu", threads=1)
    differences: list[float] = []
    for mode in MODES:
        one, other = answers[mode].answer, _classified(exact, photo, mode).answer
        assert [view.box for view in one.views] == [view.box for view in other.views]
        differences.append(float(np.abs(one.probabilities - other.probabilities).max()))
    assert max(differences) < 0.01
    assert max(differences) > 10 * EXACT  # so the other tests tell scaled from exact


@pytest.mark.parametrize("mode", MODES)
def test_over_http(
    server: Server, photo: Path, answers: dict[Mode, Prediction], mode: Mode
) -> None:
    query = _query(mode) | {"include": "views,heatmap"}
    response = httpx.post(
        f"{server.url}/classify", params=query, files={"image": photo.read_bytes()}, timeout=60
    )
    answer = response.json()
    assert response.status_code == 200, answer
    _same(answer["predictions"], answers[mode])
    assert answer["image"] == {"width_px": PHONE.height_px, "height_px": PHONE.width_px}
    for shown, view in zip(answer["views"], answers[mode].answer.views, strict=True):
        box = view.box
        wanted = (box.left, box.top, box.right, box.bottom)
        np.testing.assert_allclose(shown["box"], wanted, atol=EXACT)
    assert answer["timing_ms"]["decode"] > 0


@pytest.mark.parametrize("mode", MODES)
def test_over_the_open_inference_protocol(
    server: Server, photo: Path, answers: dict[Mode, Prediction], mode: Mode
) -> None:
    tensor = triton.InferInput("encoded", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([photo.read_bytes()], np.object_))
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        result = client.infer("scaled", [tensor], parameters=_query(mode))
    got = result.as_numpy("probabilities")
    assert got is not None
    np.testing.assert_allclose(
        np.asarray(got, float), answers[mode].answer.probabilities[None], atol=EXACT
    )


@pytest.mark.parametrize("mode", MODES)
def test_on_the_command_line(
    scaled: Path, photo: Path, answers: dict[Mode, Prediction], mode: Mode
) -> None:
    boxes = [part for box in BOXES.split(";") for part in ("--box", box)]
    arguments = ["--model", str(scaled), "--tta", mode, *(boxes if mode == "custom" else [])]
    result = CliRunner().invoke(app, ["classify", str(photo), *arguments, "--json"])
    assert result.exit_code == 0, result.output
    _same(json.loads(result.stdout)[0]["predictions"], answers[mode])
    result = run_score(photo, "-o", "-", *arguments)
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout.splitlines()[0])
    assert row["top1_id"] == answers[mode].label
    assert row["top1_probability"] == pytest.approx(answers[mode].probability, abs=EXACT)
