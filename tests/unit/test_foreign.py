"""`evaluate --foreign`: rows by hand, the report, and the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.cli import app
from service.package.manifest import Mode
from service.package.package import ModelPackage
from tests.support.embedded import unknown_package
from tests.support.images import drawn, encoded
from tests.support.scoring import image_folder
from tests.support.tiny import tiny_package
from training.evaluation.foreign.measure import Answers, ForeignEvaluation, compared
from training.evaluation.foreign.report import foreign_table, most_confident, write_foreign_report


def answers(scores: list[float], threshold: float = 1.0) -> Answers:
    found = np.array(scores)
    return Answers(
        index=np.zeros(len(scores), np.int64),
        probability=np.linspace(0.5, 0.9, len(scores)),
        score=found,
        unknown=found > threshold,
        threshold=threshold,
    )


KNOWN: dict[Mode, Answers] = {
    "none": answers([0, 0.5, 1, 3]), "dense": answers([0, 0.5, 0.8, 1.5])
}  # fmt: skip
FOREIGN: dict[Mode, Answers] = {"none": answers([0.9, 2, 0.2]), "dense": answers([2, 3, 0.1])}


def test_rows_by_hand(tmp_path: Path) -> None:
    none, dense = rows = tuple(compared("fp32", ["none", "dense"], KNOWN, FOREIGN))
    assert none.separation is not None
    assert none.separation.auroc == pytest.approx((2 + 3 + 1) / 12)
    assert none.shares() == {"known_share": (3, 4), "false_accepts": (2, 3)}
    assert none.against_single is None
    facts = json.loads(json.dumps(dense.facts()))
    assert facts["false_accepts"]["share"] == pytest.approx(1 / 3, abs=1e-6)
    assert facts["unknown_score"]["auroc"] == pytest.approx((4 + 4 + 1) / 12)
    paired = facts["against_single"]
    assert (paired["caught"], paired["missed"], paired["p_value"]) == (1, 0, 1.0)
    assert paired["unknown_score"]["auroc"] == pytest.approx(0.25)
    assert paired["top_probability"]["auroc"] == 0

    assert most_confident(none) == [2, 0]
    paths = tuple(tmp_path / f"{number}.png" for number in range(3))
    for path in paths:
        path.write_bytes(encoded(drawn(60, 80)))
    measured = ForeignEvaluation(rows, {"fp32": paths}, {})
    assert foreign_table(measured).row_count == 2
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny")).manifest
    report = write_foreign_report(manifest, measured, tmp_path / "report", ["a note"])
    text = report.read_text()
    assert "4 known and 3 foreign images" in text
    assert "33.3 (0.8 to 90.6)" in text
    assert "- a note" in text
    assert (report.parent / "false_accepts.png").stat().st_size > 500


def test_without_a_false_accept_there_is_no_picture(tmp_path: Path) -> None:
    rows = tuple(compared("fp32", ["none"], KNOWN, {"none": answers([2.0, 3.0])}))
    manifest = ModelPackage.load(tiny_package(tmp_path / "tiny")).manifest
    measured = ForeignEvaluation(rows, {"fp32": (tmp_path, tmp_path)}, {})
    report = write_foreign_report(manifest, measured, tmp_path / "report")
    assert "No foreign image was accepted" in report.read_text()
    assert not (tmp_path / "report" / "false_accepts.png").exists()


def evaluated(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data")
    known, foreign = image_folder(folder / "known", each=3), folder / "foreign"
    (foreign / "deeper").mkdir(parents=True)
    (foreign / "deeper" / "a.png").write_bytes(encoded(drawn(90, 120)))
    (foreign / "b.png").write_bytes(encoded(drawn(90, 120, seed=1)))
    (foreign / "broken.png").write_bytes(b"broken")
    (foreign / "notes.txt").write_text("no image")
    return known, foreign


def test_a_package_without_an_unknown_score_is_measured_by_its_top_probability(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    known, foreign = data
    package = tiny_package(tmp_path / "tiny")
    code, out, err = evaluated(
        package, known, "--foreign", foreign, "--tta", "none,dense", "--json"
    )
    assert code == 0, err
    found = json.loads(out)
    assert [(row["precision"], row["mode"]) for row in found["rows"]] == [
        (precision, mode) for precision in ("fp32", "int8") for mode in ("none", "dense")
    ]
    row = found["rows"][0]
    assert (row["known_images"], row["foreign_images"]) == (9, 2)
    assert row["unknown_score"] is None
    assert "known_share" not in row
    assert 0 <= row["top_probability"]["auroc"] <= 1
    assert found["unreadable"] == 1
    assert "broken.png" in err
    assert "notes.txt" in err
    assert "no unknown score" in err
    report = tmp_path / "report"
    code, out, _ = evaluated(package, known, "--foreign", foreign, "--report", report)
    assert code == 0
    assert (report / "foreign.md").exists()
    assert "adaptive" in out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--foreign", "/nowhere"], "not a folder"),
        (["--foreign", "FOREIGN", "--record"], "--record"),
        (["--foreign", "FOREIGN", "--feedback", "x"], "--feedback"),
        (["--feedback", "x"], "not both"),
        (["--foreign", "FOREIGN", "--tta", "full_image"], "--tta"),
        (["--foreign", "FOREIGN", "--known-rate", "2"], "known_rate"),
        (["--known-rate", "0.9"], "--foreign"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: list[str], named: str, data: tuple[Path, Path], tmp_path: Path
) -> None:
    known, foreign = data
    package = tiny_package(tmp_path / "tiny")
    given = [str(foreign) if one == "FOREIGN" else one for one in options]
    code, _, err = evaluated(package, known, *given)
    assert code in (1, 2)
    assert named in err


def test_a_multi_label_package_is_refused(data: tuple[Path, Path], tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "multi", task="multi_label")
    known, foreign = data
    table = tmp_path / "known.csv"
    rows = [f"{path},{path.parent.name}" for path in sorted(known.rglob("*.png"))]
    table.write_text("\n".join(["path,label", *rows]))
    code, _, err = evaluated(package, table, "--foreign", foreign)
    assert code == 2, err
    assert "multi-label" in err


def test_a_package_with_an_unknown_score(data: tuple[Path, Path], tmp_path: Path) -> None:
    package = unknown_package(tmp_path / "knows")
    folder = tmp_path / "white"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(
            encoded(np.full((80 + number, 90, 3), 255, np.uint8))
        )
    options = ("--foreign", folder, "--tta", "none,dense", "--precision", "fp32", "--json")
    code, out, err = evaluated(package, data[0], *options)
    assert code == 0, err
    for row in json.loads(out)["rows"]:
        assert row["unknown_score"]["auroc"] == 1
        assert row["false_accepts"]["images"] == 0
        assert row["known_share"]["images"] == row["known_images"]
        assert row["threshold"] == 0.5
    code, out, err = evaluated(package, data[0], *options, "--known-rate", "0.5")
    assert json.loads(out)["rows"][0]["threshold"] == -1
    code, _, err = evaluated(package, data[0], *options, "--known-rate", "0.999")
    assert code == 2
    assert "known_rate" in err
