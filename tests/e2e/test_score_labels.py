"""`quincunx score` where true labels are unknown, ambiguous, missing or spelled otherwise."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import coloured, encoded
from tests.support.scoring import image_folder, images_of, read_rows, run_score, write_parquet
from tests.support.tiny import tiny_package

ROOT = str(Path(__file__).parents[2])
NFC, NFD = "Zürich", unicodedata.normalize("NFD", "Zürich")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=2, side_px=64)


def renamed(folder: Path, names: dict[int, tuple[str, str]], **options: Any) -> Path:
    """A tiny package whose class of each index has another id and name."""
    package = tiny_package(folder, int8=False, **options)
    manifest = json.loads((package / "manifest.json").read_text())
    for at, (label_id, name) in names.items():
        manifest["labels"][at].update(id=label_id, name=name)
    (package / "manifest.json").write_text(json.dumps(manifest))
    return package


def listed(folder: Path, labels: list[str], header: str = "path,label") -> Path:
    """A CSV of the images in `folder` with these labels."""
    rows = [f"{path},{label}" for path, label in zip(images_of(folder), labels, strict=True)]
    path = folder.parent / "list.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return path


def scored(source: Path, package: Path, *options: object) -> tuple[dict[str, Any], str]:
    ran = run_score(
        source, "-o", source.parent / "out.parquet", "--model", package, "--top-k", "2", "--json",
        "--overwrite", *options,
    )  # fmt: skip
    assert ran.exit_code == 0, ran.stderr
    return json.loads(ran.stdout), ran.stderr


def test_labels_that_the_model_lacks_count_as_wrong_and_are_named(
    folder: Path, package: Path, tmp_path: Path
) -> None:
    # In the order of names: blue, blue, green, green, red, red.
    source = listed(folder, ["blue", "navy", "Green", "", "red", "navy"])
    report = tmp_path / "report.md"
    summary, _ = scored(source, package, "--label-column", "label", "--report", report)
    assert summary["true_labels"] == {
        "known": 3, "unknown": 2, "none": 1, "distinct_unknown_labels": 1,
        "unknown_labels": {"navy": 2}, "folders_without_label": {"green": 1},
    }  # fmt: skip
    accuracy = summary["accuracy"]
    assert accuracy["images"] == 5
    assert accuracy["top1"]["accuracy"] == pytest.approx(3 / 5)
    assert [entry["images"] for entry in accuracy["classes"]] == [1, 1, 1]
    assert [entry["precision"] for entry in accuracy["classes"]] == [0.5, 1.0, 0.5]
    assert accuracy["confused"] == []
    labels = ["blue", "navy", "green", None, "red", "navy"]
    assert [row["label"] for row in read_rows(tmp_path / "out.parquet")] == labels
    assert "2 of 5 labelled images have a true label that is not a class of the model" in (
        report.read_text()
    )
    told = run_score(
        source, "-o", tmp_path / "o.csv", "--model", package, "--label-column", "label"
    )
    assert "count as answered wrong: 'navy' (2)" in told.stderr
    assert "1 answered images have no true label" in told.stderr
    strict = run_score(
        source, "-o", tmp_path / "s.csv", "--model", package, "--label-column", "label", "--strict"
    )
    assert strict.exit_code == 1


def test_where_no_label_is_known_to_the_model_the_accuracy_is_0(
    folder: Path, package: Path
) -> None:
    source = listed(folder, ["x", "y", "x", "y", "x", "x"])
    summary, _ = scored(source, package, "--label-column", "label")
    assert summary["accuracy"]["top1"]["accuracy"] == 0
    assert summary["accuracy"]["images"] == 6
    assert summary["true_labels"]["unknown_labels"] == {"x": 4, "y": 2}


def test_a_label_column_without_labels_is_said(folder: Path, package: Path) -> None:
    source = listed(folder, [""] * 6)
    out = folder.parent / "o.csv"
    ran = run_score(source, "-o", out, "--model", package, "--label-column", "label")
    assert ran.exit_code == 0
    assert "no answered image has a label in the column 'label'" in ran.stderr


@pytest.mark.parametrize("engine", ["file", "stream"])
def test_a_name_of_two_classes_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, engine: str
) -> None:
    package = renamed(tmp_path / "m", {0: ("n1", "crane"), 2: ("n3", "crane")})
    source = listed(folder, ["n1", "n1", "crane", "n3", "n3", "n3"])
    out = "-" if engine == "stream" else tmp_path / "out.csv"
    ran = run_score(source, "-o", out, "--model", package, "--label-column", "label")
    assert ran.exit_code == 2
    assert "list.csv: 2 classes are called 'crane': n1, n3; label" in ran.stderr
    assert not list(tmp_path.glob("out.csv*"))
    summary, _ = scored(
        listed(folder, ["n1", "n1", "n3", "n3", "n3", "n3"]), package, "--label-column", "label"
    )
    assert summary["accuracy"]["images"] == 6
    # A folder of that name is not a label: it is counted, and no class gets its images.
    (folder / "red").rename(folder / "crane")
    (folder / "blue").rename(folder / "n3")
    summary, _ = scored(folder, package)
    assert summary["true_labels"]["folders_without_label"] == {"crane": 2}
    assert summary["accuracy"]["images"] == 4


@pytest.mark.parametrize(("own", "given"), [(NFC, NFD), (NFD, NFC), (NFC, NFC)])
def test_composed_and_decomposed_names_agree_in_folders_and_columns(
    tmp_path: Path, own: str, given: str
) -> None:
    package = renamed(tmp_path / "m", {0: (own, own)})
    red = encoded(coloured("red", 64, 64))
    (tmp_path / "v" / given).mkdir(parents=True)
    (tmp_path / "v" / given / "1.png").write_bytes(red)
    summary, _ = scored(tmp_path / "v", package)
    assert (summary["true_labels"]["known"], summary["accuracy"]["top1"]["accuracy"]) == (1, 1.0)
    table = write_parquet(tmp_path / "t.parquet", {"path": [f"v/{given}/1.png"], "y": [given]})
    summary, _ = scored(table, package, "--label-column", "y")
    assert (summary["true_labels"]["known"], summary["accuracy"]["top1"]["accuracy"]) == (1, 1.0)


def test_whole_numbers_with_gaps(folder: Path, package: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in images_of(folder)]
    labels = [2.0, 2.0, None, 1.0, 0.0, 7.0]
    table = write_parquet(tmp_path / "t.parquet", {"path": paths, "label": labels})
    summary, _ = scored(table, package, "--label-column", "label")
    assert summary["accuracy"]["images"] == 5
    assert summary["accuracy"]["top1"]["accuracy"] == pytest.approx(4 / 5)
    assert summary["true_labels"]["unknown_labels"] == {"7": 1}
    csv = listed(folder, ["2.0", "2.0", "", "1.0", "0.0", "7.0"])
    again, _ = scored(csv, package, "--label-column", "label")
    assert again["accuracy"] == summary["accuracy"]


def test_several_labels_unknown_ones_are_missed(folder: Path, tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "m", int8=False, task="multi_label")
    rows = ["blue", "blue;navy", "green", "", "red", "navy; mint"]
    summary, _ = scored(
        listed(folder, [f'"{row}"' for row in rows]), package, "--label-column", "label"
    )
    assert summary["true_labels"]["unknown_labels"] == {"navy": 2, "mint": 1}
    assert summary["true_labels"]["unknown"] == 2
    agreement = summary["labels"]
    assert agreement["images"] == 6
    assert agreement["exact"] == pytest.approx(3 / 6)
    shown = [row["label"] for row in read_rows(tmp_path / "out.parquet")]
    assert shown == ["blue", "blue;navy", "green", "", "red", "mint;navy"]


def test_a_stray_quote_is_an_error_with_its_line_and_nothing_is_scored(
    folder: Path, package: Path, tmp_path: Path
) -> None:
    labels = ["blue", '"blue', "green", "green", "red", "red"]
    ran = run_score(listed(folder, labels), "-o", tmp_path / "o.csv", "--model", package)
    assert ran.exit_code == 2
    assert "list.csv, line 3: the quote that opens cell 2 is never closed" in ran.stderr
    assert not list(tmp_path.glob("o.csv*"))


@pytest.mark.parametrize("form", ["lines", "print0", "utf-16"])
def test_standard_input_in_any_form(folder: Path, package: Path, form: str) -> None:
    odd = folder / "red" / b"caf\xe9.png".decode("utf-8", "surrogateescape")
    odd.write_bytes(encoded(coloured("red", 64, 64)))
    files = [str(path) for path in images_of(folder)]
    if form == "utf-16":
        files.remove(str(odd))
        data = "\r\n".join(files).encode("utf-16")
    else:
        end = "\0" if form == "print0" else "\n"
        data = "".join(path + end for path in files).encode("utf-8", "surrogateescape")
    ran = subprocess.run(
        [sys.executable, "-m", "service.cli", "score", "-", "-o", "-", "--model", str(package)],
        input=data, capture_output=True, timeout=120, check=False,
        env={"LC_ALL": "en_US.UTF-8", "PATH": "/usr/bin:/bin", "PYTHONPATH": ROOT},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(rows) == len(files)
    assert {row["status"] for row in rows} == {"ok"}
