"""Packages of every kind of graph, served and scored in every mode that they can answer."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from tritonclient import http as triton
from typer.testing import CliRunner

from service import cli
from service.inference.predictor import Predictor
from service.package.manifest import Mode
from tests.support.images import COLOURS, coloured, encoded
from tests.support.kinds import KINDS, kind_package
from tests.support.server import Server, serving

MODES: tuple[Mode, ...] = get_args(Mode)
BOX = "0.1,0.1,0.9,0.9"
NAMES = {kind: f"kind-{number}" for number, kind in enumerate(KINDS)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("kinds")
    return {
        kind: kind_package(root / NAMES[kind], *given, name=NAMES[kind], interpolation="bicubic")
        for kind, given in KINDS.items()
    }


@pytest.fixture(scope="module")
def served(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving([*folders.values()], tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def client(served: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in COLOURS:
        (folder / name).mkdir()
        for number, size in enumerate([(120, 150), (150, 120), (60, 300)]):
            data = encoded(coloured(name, *size, seed=number))
            (folder / name / f"{number}.png").write_bytes(data)
    return folder


def answered(folder: Path) -> tuple[Mode, ...]:
    return Predictor.from_package(folder, provider="cpu", threads=1).model.modes


def options(mode: Mode) -> dict[str, str]:
    return {"tta": mode} | ({"boxes": BOX} if mode == "custom" else {})


@pytest.mark.parametrize("kind", KINDS)
def test_http_answers_every_mode_or_names_those_that_it_can(
    client: httpx.Client, folders: dict[str, Path], kind: str
) -> None:
    can = answered(folders[kind])
    listed = {row["name"]: row for row in client.get("/models").json()["models"]}[NAMES[kind]]
    assert listed["modes"] == list(can)
    assert listed["calibrated"] is False
    assert listed["heatmap"] is ("dense" in can)
    photo = encoded(coloured("blue", 120, 180))
    for mode in MODES:
        query = {"model": NAMES[kind], **options(mode)}
        response = client.post("/classify", params=query, files={"image": photo})
        body = response.json()
        if mode in can:
            assert response.status_code == 200, body
            assert body["label"] == "blue"
            assert body["tta_applied"] == mode
            assert body["calibrated"] is False
        else:
            assert response.status_code == 400
            message = body["error"]["message"]
            if mode == "adaptive":
                assert "has no gate for adaptive" in message
            else:
                assert f"cannot answer tta={mode}" in message
                assert f"it can answer: {', '.join(can)}" in message
    batch = client.post(
        "/classify_batch",
        params={"model": NAMES[kind], "tta": "five_crop"},
        files=[("images", encoded(coloured(name))) for name in COLOURS],
    ).json()
    assert [row["label"] for row in batch["results"]] == list(COLOURS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_heat_map_is_drawn_where_the_graph_sees_whole_images(
    client: httpx.Client, folders: dict[str, Path], kind: str
) -> None:
    query = {"model": NAMES[kind], "tta": "none", "include": "heatmap", "heatmap": "numbers"}
    response = client.post(
        "/classify", params=query, files={"image": encoded(coloured("green", 120, 180))}
    )
    if "dense" not in answered(folders[kind]):
        assert response.status_code == 400
        assert "has no heat map" in response.json()["error"]["message"]
        return
    stride_px = KINDS[kind][1]
    values = response.json()["heatmap"]["values"]
    planner = Predictor.from_package(folders[kind], provider="cpu", threads=1).model.planner
    from service.inference.image.geometry import Size

    size = planner.whole_image(Size(120, 180)).size
    assert len(values) == size.height // stride_px
    assert len(values[0]) == size.width // stride_px
    assert all(0 <= value <= 1 for row in values for value in row)


@pytest.mark.parametrize("kind", KINDS)
def test_the_inference_protocol_answers_every_mode(
    client: httpx.Client, served: Server, folders: dict[str, Path], kind: str
) -> None:
    can = answered(folders[kind])
    meta = client.get(f"/v2/models/{NAMES[kind]}").json()
    assert meta["parameters"]["modes"] == ",".join(can)
    assert meta["parameters"]["calibrated"] is False
    infer = triton.InferenceServerClient(served.url.removeprefix("http://"))
    image = coloured("red", 96, 150)[None]
    tensor = triton.InferInput("images", list(image.shape), "UINT8").set_data_from_numpy(image)
    for mode in MODES:
        if mode in can:
            result = infer.infer(NAMES[kind], [tensor], parameters=options(mode))
            probabilities: Any = result.as_numpy("probabilities")
            assert probabilities.shape == (1, 3)
            assert probabilities[0].argmax() == list(COLOURS).index("red")
            assert result.get_response()["parameters"]["calibrated"] is False
        else:
            with pytest.raises(Exception, match=r"cannot answer|no gate"):
                infer.infer(NAMES[kind], [tensor], parameters=options(mode))
    infer.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_and_scoring_answer_every_mode(
    folders: dict[str, Path], photos: Path, tmp_path: Path, kind: str
) -> None:
    folder = folders[kind]
    can = answered(folder)
    photo = str(photos / "red" / "0.png")
    for mode in MODES:
        boxes = ["--box", BOX] if mode == "custom" else []
        arguments = ["--model", str(folder), "--tta", mode, *boxes]
        ran = CliRunner().invoke(cli.app, ["classify", photo, *arguments, "--json"])
        out = tmp_path / f"{mode}.csv"
        scored = CliRunner().invoke(cli.app, ["score", str(photos), "-o", str(out), *arguments])
        if mode not in can:
            for result in (ran, scored):
                assert result.exit_code == 2
                assert "cannot answer" in result.output or "no gate" in result.output
            continue
        (row,) = json.loads(ran.stdout)
        assert row["predictions"][0]["label"] == "red"
        assert row["calibrated"] is False
        assert scored.exit_code == 0, scored.output
        assert "was not calibrated" in scored.output
        rows = list(csv.DictReader(io.StringIO(out.read_text())))
        assert len(rows) == 9
        assert all(row["label"] == Path(row["path"]).parent.name for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_say_what_a_package_can_answer(folders: dict[str, Path], kind: str) -> None:
    folder = folders[kind]
    can = answered(folder)
    assert CliRunner().invoke(cli.app, ["models", "verify", str(folder)]).exit_code == 0
    shown = " ".join(CliRunner().invoke(cli.app, ["models", "show", str(folder)]).output.split())
    for mode in can:
        assert mode in shown
    assert "not calibrated" in shown
    assert ("48×48 px" in shown) == (kind == "crops of one size")
    listing = CliRunner().invoke(cli.app, ["models", "list", str(folder.parent), "--json"])
    rows = {row["name"]: row for row in json.loads(listing.stdout)}
    assert rows[NAMES[kind]]["modes"] == list(can)
