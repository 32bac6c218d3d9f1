"""`quincunx calibrate`, `evaluate` and `frontier` take packages of every kind of graph."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import cli
from service.package.manifest import Manifest
from service.package.package import ModelPackage
from tests.support.images import COLOURS, coloured, encoded
from tests.support.kinds import KINDS, kind_package
from training.calibration.tolerance import Tolerance

SIZES = [(120, 150), (150, 120), (60, 300)]
PLAIN = {"none", "five_crop", "ten_crop"}
WHOLE = {"dense", "centre_dense"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in five shows another colour, so that there is something to calibrate."""
    folder = tmp_path_factory.mktemp("photos")
    names = list(COLOURS)
    for name in names:
        (folder / name).mkdir()
        for number in range(20):
            shown = names[number % 3] if number % 5 == 0 else name
            data = encoded(coloured(shown, *SIZES[number % 3], seed=number))
            (folder / name / f"{number}.png").write_bytes(data)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_calibrated_and_measured(tmp_path: Path, photos: Path, kind: str) -> None:
    folder = kind_package(tmp_path / "kind", *KINDS[kind])
    for arguments in ([], ["--adaptive-cost", "1.5"]):
        ran = CliRunner().invoke(cli.app, ["calibrate", str(folder), str(photos), *arguments])
        assert ran.exit_code == 0, ran.output
        manifest = ModelPackage.load(folder).manifest
        whole = manifest.graph.takes_whole_images
        fitted = {entry.mode for entry in manifest.calibration}
        assert fitted == PLAIN | {"adaptive"} | (WHOLE if whole else set())
        assert manifest.adaptive is not None
        assert whole or manifest.adaptive.second in ("none", "five_crop")
    ran = CliRunner().invoke(cli.app, ["evaluate", str(folder), str(photos), "--json"])
    assert ran.exit_code == 0, ran.output
    measured = {row["mode"] for row in json.loads(ran.stdout)}
    assert measured == {"none", "five_crop", "adaptive"} | ({"dense"} if whole else set())
    ran = CliRunner().invoke(
        cli.app, ["evaluate", str(folder), str(photos), "--tta", "full_image", "--json"]
    )
    assert ran.exit_code == (0 if whole else 2), ran.output
    verified = CliRunner().invoke(cli.app, ["models", "verify", str(folder)])
    assert verified.exit_code == 0, verified.output


def test_the_cost_of_adaptive_and_the_version_are_options(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate of a random network stays closed, so what `calibrate` is given is looked at."""
    folder = kind_package(tmp_path / "kind", "class_map", 16)
    manifest = ModelPackage.load(folder).manifest
    given: list[float] = []

    def fit(*_: object, tolerance: Tolerance, **__: object) -> Manifest:
        given.append(tolerance.cost)
        return manifest

    monkeypatch.setattr("training.calibration.calibrate.calibrate", fit)

    def calibrated(*options: str) -> int:
        return (
            CliRunner().invoke(cli.app, ["calibrate", str(folder), str(photos), *options]).exit_code
        )

    assert calibrated() == calibrated("--max-adaptive-cost", "1.3", "--version", "7.1") == 0
    assert given == [Tolerance().cost, 1.3]
    assert ModelPackage.load(folder).manifest.version == "7.1"
    assert calibrated("--version", "new") == calibrated("--max-adaptive-cost", "0.9") == 2
    assert calibrated("--only-unknown", "--max-adaptive-cost", "1.3") == 2
    assert len(given) == 2


def test_the_frontier_of_crops_has_no_pass_over_whole_images(tmp_path: Path, photos: Path) -> None:
    folder = kind_package(tmp_path / "kind", "any_crops", 16)
    arguments = ["--timed-images", "20", "--threads", "1", "--json"]
    ran = CliRunner().invoke(cli.app, ["frontier", str(folder), str(photos), *arguments])
    assert ran.exit_code == 0, ran.output
    names = {point["name"] for point in json.loads(ran.stdout)["points"]}
    assert names >= {"single crop", "five_crop", "ten_crop", "five_passes"}
    assert not names & {"dense", "centre_dense", "full_image"}
