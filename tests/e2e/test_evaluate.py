"""calibrate and evaluate on drawn images, through the code that serves."""

import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from service.errors import DataError, UsageError
from service.inference.engine import run_all
from service.inference.image.geometry import FractionBox
from service.inference.predictor import Predictor
from service.inference.tta.steps import Options
from service.package.package import ModelPackage
from service.package.reference import reference_of
from tests.support.images import COLOURS, coloured, encoded
from tests.support.tiny import tiny_package
from training.calibration import calibrate
from training.calibration.calibration_logits import PLAIN_MODES
from training.commands import evaluate as evaluate_command
from training.commands import frontier as frontier_command
from training.data.dataset import Item, scan
from training.evaluation import evaluate
from training.evaluation.methods import BASELINES
from training.evaluation.record import record_metrics
from training.evaluation.report import worst_mistakes, write_report

MODES = ("none", "five_crop", "ten_crop", "dense", "centre_dense", "adaptive")


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled images, one in seven mislabelled so that nothing is perfect."""
    folder = tmp_path_factory.mktemp("data")
    names = list(COLOURS)
    for index in range(63):
        name = names[index % 3]
        shown = names[(index + 1) % 3] if index % 7 == 0 else name
        path = folder / "val" / name / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(coloured(shown, 80 + index, 120, seed=index)))
    return folder


@pytest.fixture(name="fitted")
def _fitted(data: Path, tmp_path: Path) -> Path:
    folder = tiny_package(tmp_path / "tiny")
    calibrate.calibrate(folder, scan(data / "val"), log=lambda _: None)
    return folder


def test_calibration_fits_every_precision_and_mode(fitted: Path) -> None:
    manifest = ModelPackage.load(fitted).manifest
    got = {(entry.precision, entry.mode) for entry in manifest.calibration}
    assert got == {(p, m) for p in ("fp32", "int8") for m in (*PLAIN_MODES, "adaptive")}
    adaptive = manifest.calibration_for("int8", "adaptive")
    assert adaptive.gate is not None
    assert manifest.adaptive is not None
    # One image in seven is mislabelled, so full confidence would be wrong: it must be cooled.
    assert manifest.calibration_for("fp32", "none").temperature > 1.5


def test_references_are_of_the_answers_as_they_are_served(fitted: Path, data: Path) -> None:
    images = [item.path.read_bytes() for item in evaluate.labelled(data)]
    for precision in ("fp32", "int8"):
        predictor = Predictor.from_package(fitted, precision=precision)
        for mode in MODES:
            served = [one.answer.probabilities for one in predictor.classify(images, mode)]
            assert predictor.model.calibration(mode).reference == reference_of(np.stack(served))


def test_prediction_sets_have_their_coverage_at_every_gate(fitted: Path, data: Path) -> None:
    items = evaluate.labelled(data)
    predictor = Predictor.from_package(fitted, precision="int8")
    curve = predictor.model.calibration("adaptive").gate_curve
    assert len({gate.conformal["0.9"] for gate in curve}) > 1
    for gate in curve[::4]:
        options = Options(tta="adaptive", gate_cost=gate.expected_cost, coverage=0.9)
        held = 0
        for item in items:
            image = predictor.decode(item.path.read_bytes())
            (answer,) = run_all([predictor.start(image, options)], predictor.session)
            labels = [predictor.manifest.labels[k].id for k in answer.prediction_set or ()]
            held += item.label in labels
        # Quantiles are kept to eight digits, so the image on the border may be cut off.
        assert held >= 0.9 * len(items) - 1


def test_evaluation_equals_classifying_one_by_one(fitted: Path, data: Path) -> None:
    items = evaluate.labelled(data)
    measured = evaluate.evaluate(fitted, items, MODES, ["int8"])
    predictor = Predictor.from_package(fitted, precision="int8")
    for mode, row in zip(MODES, measured.rows, strict=True):
        right = sum(
            predictor.classify([item.path.read_bytes()], mode)[0].label == item.label
            for item in items
        )
        assert row.scores.top1 == right / len(items)
        assert row.scores.images == 63
        assert row.scores.ece < 0.1  # tempered on these very images


def test_an_unreadable_file_is_named_and_nothing_else_is_lost(fitted: Path, data: Path) -> None:
    broken = data.parent / "broken.png"
    broken.write_bytes(b"no image")
    items = [Item(broken, "red"), *evaluate.labelled(data)]
    measured = evaluate.evaluate(fitted, items, ["none"], ["int8"])
    assert list(measured.unreadable) == [broken]
    assert measured.rows[0].scores.images == 63


def test_a_strange_class_is_refused(fitted: Path, data: Path) -> None:
    items = [Item(next((data / "val" / "red").iterdir()), "purple")]
    with pytest.raises(DataError, match="no class 'purple'"):
        evaluate.evaluate(fitted, items, ["none"])


def test_rows_as_json(fitted: Path, data: Path) -> None:
    measured = evaluate.evaluate(
        fitted, evaluate.labelled(data), ["none", "dense"], ["fp32"], coverage=0.9
    )
    rows = json.loads(json.dumps(evaluate.as_json(measured)))
    assert [row["mode"] for row in rows] == ["none", "dense"]
    assert rows[1]["turned_wrong"] is not None
    assert rows[1]["coverage"] >= 0.9


def test_baselines_are_measured_beside_modes_and_never_recorded(fitted: Path, data: Path) -> None:
    items = evaluate.labelled(data)
    measured = evaluate.evaluate(fitted, items, ["none", *BASELINES], ["int8"])
    again = evaluate.evaluate(fitted, items, ["none", *BASELINES], ["int8"])
    rows = {row.mode: row for row in measured.rows}
    assert 1 < rows["full_image"].cost < 5  # the whole of a wide image, once
    assert rows["fastai_tta"].cost == rows["five_passes"].cost == 5
    assert rows["fastai_tta"].against_single is not None
    assert evaluate.as_json(again) == evaluate.as_json(measured)  # the random views are seeded
    record_metrics(fitted, measured)
    manifest = ModelPackage.load(fitted).manifest
    assert [entry.mode for entry in manifest.metrics] == ["none"]


def test_custom_boxes_are_measured_as_they_are_served(fitted: Path, data: Path) -> None:
    items = evaluate.labelled(data)
    boxes = (FractionBox(0, 0, 1, 1), FractionBox(0.25, 0, 0.75, 1, flip=True))
    measured = evaluate.evaluate(fitted, items, ["none", "custom"], ["int8"], boxes=boxes)
    predictor = Predictor.from_package(fitted, precision="int8")
    image = measured.predictions["int8"].paths[0].read_bytes()
    (served,) = predictor.classify([image], "custom", boxes=boxes)
    got = measured.predictions["int8"].by_name["custom"]
    assert got.cost == 2
    assert np.array_equal(got.probabilities[0], served.answer.probabilities)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tta", "none,custom"], "tta=custom needs boxes (--box on the command line)"),
        (["--tta", "none", "--box", "0,0,1,1"], "--box is for the mode custom"),
        (["--tta", "custom", "--box", "0,0,1"], "--box must be left,top,right,bottom"),
        (["--tta", "custom", "--box", "0,0,2,1"], "a box must have 0 <= left < right <= 1"),
    ],
)
@pytest.mark.parametrize("command", [evaluate_command, frontier_command])
def test_wrong_boxes_are_refused_before_anything_is_measured(
    package: Path, data: Path, command: ModuleType, arguments: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        CliRunner().invoke(
            command.app, [str(package), str(data), *arguments], catch_exceptions=False
        )


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["--record"], "--record cannot store"),
        (["--foreign", "."], "--foreign cannot be used with"),
    ],
)
def test_boxes_go_only_with_what_can_use_them(
    package: Path, data: Path, others: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(
            evaluate_command.app,
            [str(package), str(data), "--tta", "custom", "--box", "0,0,1,1", *others],
            catch_exceptions=False,
        )


def test_a_report_has_its_pictures_and_every_class(
    fitted: Path, data: Path, tmp_path: Path
) -> None:
    measured = evaluate.evaluate(fitted, evaluate.labelled(data), ["none", "dense"], ["int8"])
    report = write_report(fitted, measured, tmp_path / "report")
    text = report.read_text()
    assert text.count("| int8 |") == 2
    for name in COLOURS:
        assert f"| {name.title()} |" in text
    assert "curves.png" not in text  # no run was ever made of this package
    for picture in ("differences.png", "reliability.png", "confusion.png", "mistakes.png"):
        assert (report.parent / picture).stat().st_size > 1000
    got = measured.predictions["int8"]
    worst = worst_mistakes(got.by_name["dense"].probabilities, got.labels)
    assert len(worst) == 9  # every seventh image was mislabelled
