"""Any class name survives the written reports and their pictures."""

import html.parser
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.console.text import shown, storable
from service.package.manifest import Label
from service.package.package import ModelPackage
from service.scoring.summary.label_tally import LabelTally
from service.scoring.summary.report import as_json, as_markdown
from service.scoring.summary.tally import Tally
from service.scoring.summary.truth import Truth
from tests.support.markdown import rows_of
from tests.support.names import NASTY, any_names

SUMMARY = {
    "package": "p 1", "tta": "none", "precision": "fp32", "provider": "cpu", "images": 2,
    "failed": 1, "errors": {"a|b": 1}, "accuracy": None, "skipped_by_reason": {},
    "label_column": None, "calibrated": True,
    "true_labels": Truth(known=1, unknown=2, labels=Counter(NASTY)).summary(),
}  # fmt: skip
of_a_manifest = any_names.map(storable).filter(str.strip)
classes = st.lists(of_a_manifest, min_size=2, max_size=4, unique=True)


def labelled(names: list[str]) -> dict[str, object]:
    labels = tuple(Label(index=i, id=name, name=name) for i, name in enumerate(names))
    return {"labels": labels, "calibration": ()}


def seen(*cells: object) -> list[str]:
    return [shown(cell).strip() for cell in cells]


@given(names=classes)
def test_the_model_card(package: Path, names: list[str]) -> None:
    from service.package.card.document import render

    card = render(ModelPackage.load(package).manifest.model_copy(update=labelled(names)))
    rows = rows_of(card[: card.index("## Files")])
    assert rows == [["index", "id", "name"], *(seen(i, n, n) for i, n in enumerate(names))]


@given(names=classes)
def test_the_report_of_scoring(names: list[str]) -> None:
    tally = Tally(tuple(names), ok=1)
    tally.confusion[names[0], names[1]] = 3
    accuracy = tally.accuracy()
    _, _, *rows = rows_of(as_markdown({**SUMMARY, "accuracy": accuracy}))
    assert rows[0] == ["class", "images", "recall", "precision"]
    assert [row[0] for row in rows[1 : len(names) + 1]] == seen(*names)
    head, *matrix = rows[len(names) + 1 :]
    assert head[1:] == seen(*names)
    assert [row[0] for row in matrix] == seen(*names)
    assert matrix[0][2] == "3"
    assert json.loads(as_json({**SUMMARY, "accuracy": accuracy}))["accuracy"]["images"] == 3


@given(names=classes)
def test_the_report_of_scoring_with_several_labels(names: list[str]) -> None:
    agreement = LabelTally(tuple(names), known=1).agreement()
    rows = rows_of(as_markdown({**SUMMARY, "labels": agreement}))
    assert [row[0] for row in rows[1:]] == seen(*names)


@given(any_names)
def test_the_report_of_a_benchmark(name: str) -> None:
    from service.bench.report.report import _table
    from service.bench.report.tables import ReportTable

    table = ReportTable("title", ("case", "ms"), ((name, "7"),))
    assert rows_of(table.markdown()) == [["case", "ms"], seen(name, 7)]
    found: list[str] = []
    parser = html.parser.HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(_table(table))
    parser.close()
    assert "".join(found) == f"casems{shown(name)}7"


def test_the_report_of_an_evaluation(package: Path, drawn_data: Path, tmp_path: Path) -> None:
    from training.evaluation.evaluate import evaluate, labelled
    from training.evaluation.report import write_report

    folder = shutil.copytree(package, tmp_path / "package")
    names = ["a|b `c` <img src=x> $x", "\x1b[2J\n\x00", "[/b] 猫 " + "long " * 50]
    manifest = ModelPackage.load(folder).manifest
    labels = tuple(
        label.model_copy(update={"name": name})
        for label, name in zip(manifest.labels, names, strict=True)
    )
    changed = manifest.model_copy(update={"labels": labels})
    (folder / "manifest.json").write_text(changed.model_dump_json(), encoding="utf-8")
    measured = evaluate(folder, labelled(drawn_data), ["none"], ["fp32"])
    with pytest.warns(UserWarning, match="missing from font"):
        report = write_report(folder, measured, tmp_path / "report")
    rows = rows_of(report.read_text(encoding="utf-8"))
    assert [row[0] for row in rows[-3:]] == seen(*names)


def test_a_grid_of_samples_with_any_label(tmp_path: Path) -> None:
    from training.commands.show_batch import _draw
    from training.previews.sample_batch import Sample

    pixels = np.zeros((8, 8, 3), np.uint8)
    _draw([Sample(pixels, storable(name)) for name in NASTY], tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        picture.load()
