"""Every command works with its defaults at every precision, and answers every mode."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from service.cli import app
from tests.support.images import COLOURS, coloured, encoded
from tests.support.packages import edit_manifest
from tests.support.server import serving
from tests.support.tiny import MODES, tiny_package

PRECISIONS = ("fp32", "fp16", "int8")
CUSTOM = "0,0,1,1"


@pytest.fixture(scope="module", name="adaptive")
def _adaptive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package without an fp16 file whose default mode is `adaptive`."""
    folder = tiny_package(tmp_path_factory.mktemp("models") / "tiny")
    edit_manifest(folder, lambda content: content.update(default_mode="adaptive"))
    return folder


@pytest.fixture(scope="module", name="images")
def _images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name in COLOURS:
        (folder / "val" / name).mkdir(parents=True)
        for seed in range(8):
            data = encoded(coloured(name, seed=seed))
            (folder / "val" / name / f"{seed}.png").write_bytes(data)
    return folder


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.stdout


@pytest.mark.parametrize("precision", PRECISIONS)
class TestDefaults:
    def test_classify_and_score(
        self, adaptive: Path, images: Path, tmp_path: Path, precision: str
    ) -> None:
        options = ("--model", adaptive, "--precision", precision)
        (answer,) = json.loads(run("classify", images / "val/red/0.png", *options, "--json"))
        assert (answer["predictions"][0]["label"], answer["tta"]) == ("red", "adaptive")
        for mode in (None, *MODES):
            mine = ("--tta", mode) if mode else ()
            mine += ("--box", CUSTOM) if mode == "custom" else ()
            out = tmp_path / f"{mode}.parquet"
            summary = json.loads(run("score", images, "-o", out, *options, *mine, "--json"))
            assert summary["precision"] == precision
            assert (summary["tta"], summary["ok"]) == (mode or "adaptive", 24)

    def test_bench_latency(self, adaptive: Path, precision: str) -> None:
        options = ("--precision", precision, "--seconds", 0.1, "--min-rounds", 20, "--batch", 1)
        report = json.loads(
            run("bench", "latency", adaptive, *options, "--provider", "cpu", "--json")
        )
        cases = {(r["case"]["precision"], r["case"]["mode"]) for r in report["cases"]}
        assert cases == {(precision, m) for m in ("none", "five_crop", "dense", "adaptive")}

    def test_evaluate_and_frontier(self, adaptive: Path, images: Path, precision: str) -> None:
        options = (adaptive, images, "--precision", precision, "--json")
        run("evaluate", *options)
        run("frontier", *options, "--timed-images", 20)

    def test_serve(self, adaptive: Path, tmp_path: Path, precision: str) -> None:
        body = encoded(coloured("red"))
        headers = {"content-type": "image/png"}
        with serving([adaptive], tmp_path, precision=precision) as server:
            for mode in (None, *MODES):
                mine = {"tta": mode} if mode else {}
                mine |= {"boxes": CUSTOM} if mode == "custom" else {}
                answer = httpx.post(
                    f"{server.url}/classify", content=body, params=mine, headers=headers
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["label"] == "red"
