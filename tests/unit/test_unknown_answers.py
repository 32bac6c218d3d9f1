"""What a package with an unknown score answers: in every mode, at every rate, and in tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from service.commands import classify as classify_command
from service.commands import score as score_command
from service.errors import ModelPackageError, UsageError
from service.inference.image.geometry import FractionBox
from service.inference.options import Options
from service.inference.predictor import Predictor
from service.inference.unknown import threshold_at
from service.package.manifest import Mode
from service.package.package import ModelPackage
from service.scoring import score
from tests.support.embedded import (
    FILE,
    FOREIGN,
    KNOWN,
    RATES,
    embedding_package,
    opened,
    unknown_package,
)
from tests.support.images import encoded
from tests.support.kinds import kind_package


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unknown_package(tmp_path_factory.mktemp("models") / "knows")


@pytest.fixture(scope="module", name="model")
def _model(folder: Path) -> Predictor:
    return opened(folder)


@pytest.fixture(name="images")
def _images(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    (images / "known.png").write_bytes(encoded(KNOWN))
    (images / "white.png").write_bytes(encoded(FOREIGN))
    (images / "broken.png").write_bytes(encoded(KNOWN)[:60])
    return images


@pytest.mark.parametrize("mode", ["none", "five_crop", "ten_crop", "dense", "centre_dense"])
def test_a_foreign_image_is_unknown_and_keeps_its_label(model: Predictor, mode: Mode) -> None:
    known, foreign = model.classify([KNOWN, FOREIGN], mode)
    assert known.unknown is not None
    assert foreign.unknown is not None
    assert not known.unknown.is_unknown
    assert foreign.unknown.is_unknown
    assert known.unknown.known_rate == 0.95
    assert known.label == "red"
    assert foreign.label in ("red", "green", "blue")


@pytest.mark.parametrize("rate", RATES)
def test_a_known_rate_moves_the_threshold_and_not_the_score(model: Predictor, rate: float) -> None:
    (usual,), (moved,) = (model.classify([KNOWN], "none", known_rate=r) for r in (None, rate))
    assert usual.unknown is not None
    assert moved.unknown is not None
    assert moved.unknown.score == usual.unknown.score
    curve = model.model.unknown_curve("none", rate)
    assert curve is not None
    assert moved.unknown.threshold == threshold_at(curve, rate)
    assert moved.unknown.is_unknown == (moved.unknown.score > moved.unknown.threshold)


def test_the_score_can_be_switched_off(model: Predictor) -> None:
    (prediction,) = model.classify([FOREIGN], "none", known_rate="off")
    assert prediction.unknown is None


@pytest.mark.parametrize("rate", [0.1, 0.999])
def test_a_rate_out_of_the_curve_is_refused_before_any_work(model: Predictor, rate: float) -> None:
    with pytest.raises(UsageError, match=r"from 0\.5 to 0\.99"):
        model.start(KNOWN, Options(known_rate=rate))


def test_packages_without_a_score_say_so(tmp_path: Path, model: Predictor) -> None:
    plain = opened(kind_package(tmp_path / "plain"))
    assert plain.classify([KNOWN])[0].unknown is None
    assert plain.classify([KNOWN], known_rate="off")[0].unknown is None
    with pytest.raises(UsageError, match="kind has no unknown score"):
        plain.classify([KNOWN], known_rate=0.9)
    own = Options(tta="custom", boxes=(FractionBox(0, 0, 1, 1),), known_rate=0.9)
    with pytest.raises(UsageError, match="no unknown score was fitted for tta=custom"):
        model.start(KNOWN, own)


def test_a_multi_label_package_says_that_it_has_none(tmp_path: Path) -> None:
    package = opened(embedding_package(tmp_path / "many", task="multi_label"))
    with pytest.raises(UsageError, match="kind is multi-label, and has no unknown score"):
        package.classify([KNOWN], known_rate=0.9)
    assert package.embed([KNOWN]).shape == (1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), "was altered"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "was altered"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_the_file_of_the_score_is_verified(tmp_path: Path, change: Any, message: str) -> None:
    folder = unknown_package(tmp_path / "knows")
    change(folder / FILE)
    with pytest.raises(ModelPackageError, match=message):
        ModelPackage.load(folder)


def test_classify_says_none_of_my_classes(folder: Path, images: Path) -> None:
    files = [str(images / name) for name in ("known.png", "white.png")]
    arguments = [*files, "--model", str(folder), "--tta", "none"]
    table = CliRunner(env={"COLUMNS": "200"}).invoke(classify_command.app, arguments)
    assert table.exit_code == 0, table.output
    (line,) = [line for line in table.output.splitlines() if "white.png" in line]
    assert "none of my 3 classes; closest: " in line
    done = CliRunner().invoke(classify_command.app, [*arguments, "--json", "--known-rate", "0.99"])
    known, foreign = (row["unknown"] for row in json.loads(done.stdout))
    assert (known["is_unknown"], foreign["is_unknown"]) == (False, True)
    assert known["known_rate"] == 0.99
    off = CliRunner().invoke(classify_command.app, [*arguments, "--json", "--known-rate", "off"])
    assert [row["unknown"] for row in json.loads(off.stdout)] == [None, None]


@pytest.mark.parametrize("rate", ["1.5", "x", "-1", ""])
def test_the_command_line_refuses_other_rates(folder: Path, images: Path, rate: str) -> None:
    for command, arguments in (
        (classify_command.app, [str(images / "known.png"), "--model", str(folder)]),
        (score_command.app, [str(images), "-o", str(images / "o.csv"), "--model", str(folder)]),
    ):
        done = CliRunner().invoke(command, [*arguments, "--known-rate", rate])
        assert isinstance(done.exception, UsageError)
        assert "known_rate" in str(done.exception)


def scored(images: Path, folder: Path, out: str, *more: str) -> tuple[Any, dict[str, Any]]:
    path = images.parent / out
    arguments = [str(images), "-o", str(path), "--model", str(folder), "--no-timing", "--json"]
    done = CliRunner().invoke(score_command.app, [*arguments, *more])
    assert done.exit_code == 0, done.output
    return pq.read_table(path), json.loads(done.stdout)


def test_score_has_columns_and_a_count(folder: Path, images: Path) -> None:
    table, summary = scored(images, folder, "a.parquet", "--embedding", "--tta", "none")
    rows = {Path(row["path"]).name: row for row in table.to_pylist()}
    assert summary["unknown"] == 1
    assert rows["known.png"]["is_unknown"] is False
    assert rows["white.png"]["is_unknown"] is True
    assert rows["white.png"]["unknown_score"] > rows["known.png"]["unknown_score"]
    assert rows["broken.png"]["is_unknown"] is None
    assert rows["broken.png"]["embedding"] is None
    np.testing.assert_allclose(rows["white.png"]["embedding"], [1, 1, 1], atol=1e-5)


def test_score_in_processes_writes_the_same(folder: Path, images: Path) -> None:
    options = ("--embedding", "--tta", "five_crop")
    here, _ = scored(images, folder, "a.parquet", *options)
    there, _ = scored(images, folder, "b.parquet", *options, "--decode-processes", "1")
    assert here.equals(there)


def test_score_without_a_score_has_no_columns(folder: Path, images: Path, tmp_path: Path) -> None:
    off, summary = scored(images, folder, "off.parquet", "--known-rate", "off")
    plain, _ = scored(images, kind_package(tmp_path / "plain"), "plain.parquet")
    for table in (off, plain):
        assert not {"unknown_score", "is_unknown", "embedding"} & set(table.column_names)
    assert "unknown" not in summary


def test_score_refuses_embeddings_that_are_not_there(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no embeddings"):
        score(images, kind_package(tmp_path / "plain"), embedding=True)


def test_score_from_python_has_the_same_fields(folder: Path, images: Path) -> None:
    known = next(row for row in score(images, folder, known_rate=0.9, embedding=True) if row.ok)
    assert known.is_unknown is False
    assert known.embedding is not None
    assert len(known.embedding) == 3
