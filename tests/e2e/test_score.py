"""`quincunx score`: sources mixed, every column, streams, reports, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.images import coloured, encoded
from tests.support.scoring import (
    image_folder,
    images_of,
    read_rows,
    run_score,
    write_parquet,
    write_tar,
    write_zip,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=3, side_px=64)


def test_any_mix_of_sources_in_their_order(folder: Path, package: Path, tmp_path: Path) -> None:
    files = images_of(folder)
    data = [path.read_bytes() for path in files]
    tar = write_tar(tmp_path / "s.tar", [("0.png", data[0]), ("0.cls", b"2"), ("1.png", data[8])])
    packed = write_zip(tmp_path / "s.zip", [("red/9.png", data[8])])
    table = write_parquet(tmp_path / "s.parquet", {"bytes": data[:2], "path": ["x", "y"]})
    listed = tmp_path / "list.txt"
    listed.write_text("photos/green/0000.png\n")
    out = tmp_path / "out.parquet"
    ran = run_score(
        table, folder / "red", tar, packed, listed, f"{folder}/b*/0002.png", files[0],
        "-o", out, "--model", package,
    )  # fmt: skip
    assert ran.exit_code == 0, ran.stderr
    rows = read_rows(out)
    assert [row["path"] for row in rows] == [
        "x", "y", *(str(p) for p in files[6:]), f"{tar}/0.png", f"{tar}/1.png",
        f"{packed}/red/9.png", str(files[3]), str(files[2]), str(files[0]),
    ]  # fmt: skip
    assert [row["label"] for row in rows] == [
        None, None, "red", "red", "red", "blue", None, "red", "green", "blue", "blue",
    ]  # fmt: skip
    tops = ["blue", "blue", "red", "red", "red", "blue", "red", "red", "green", "blue", "blue"]
    assert [row["top1_id"] for row in rows] == tops


def test_every_column(folder: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    ran = run_score(
        folder, "-o", out, "--model", package, "--tta", "five_crop", "--single", "--sha256",
        "--probabilities", "--coverage", "0.9", "--top-k", "2",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.stderr
    row = read_rows(out)[0]
    assert list(row) == [
        "path", "sha256", "status", "error", "label", "top1_id", "top1_name",
        "top1_probability", "top2_id", "top2_name", "top2_probability", "probabilities",
        "prediction_set", "single_id", "single_name", "single_probability", "passes", "cost",
        "decode_ms", "infer_ms",
    ]  # fmt: skip
    assert row["status"] == "ok"
    assert sum(row["probabilities"]) == pytest.approx(1)
    assert max(row["probabilities"]) == row["top1_probability"]
    assert "blue" in row["prediction_set"]
    assert row["single_id"] == "blue"
    assert row["single_probability"] != row["top1_probability"]
    assert (row["passes"], row["cost"]) == (5, 5.0)
    made_by = json.loads(pq.read_schema(out).metadata[b"quincunx"])
    assert made_by["package"] == "tiny 1"
    assert made_by["labels"] == ["red", "green", "blue"]


def test_a_stream_of_json_lines_from_a_list_on_standard_input(folder: Path, package: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "service.cli", "score", "-", "-o", "-", "--model", str(package)],
        input="".join(f"{path}\n" for path in images_of(folder)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [row["path"] for row in rows] == [str(path) for path in images_of(folder)]
    assert "9 images" in ran.stderr


def test_labels_give_a_report(folder: Path, package: Path, tmp_path: Path) -> None:
    (folder / "red" / "wrong.png").write_bytes(encoded(coloured("blue", 64, 64)))
    (folder / "red" / "broken.png").write_bytes(b"broken")
    out = tmp_path / "out.parquet"
    for report in (tmp_path / "report.json", tmp_path / "report.md"):
        options = ["--model", package, "--single", "--report", report, "--overwrite"]
        ran = run_score(folder, "-o", out, *options)
        assert ran.exit_code == 0, ran.stderr
    content = json.loads((tmp_path / "report.json").read_text())
    assert (content["images"], content["ok"], content["failed"]) == (11, 10, 1)
    assert content["errors"] == {"BadImage": 1}
    accuracy = content["accuracy"]
    assert accuracy["images"] == 10
    assert accuracy["top1"]["accuracy"] == 0.9
    assert accuracy["single"]["top1"]["accuracy"] == 0.9
    assert accuracy["confusion"]["counts"] == [[3, 0, 1], [0, 3, 0], [0, 0, 3]]
    assert accuracy["classes"][0] == {"id": "red", "images": 4, "recall": 0.75, "precision": 1.0}
    text = (tmp_path / "report.md").read_text()
    assert "| red | 3 | 0 | 1 |" in text
    assert "| top1 | 90.00% |" in text
    assert "90.00%" in ran.stderr
    assert "TTA corrected 0 wrong answers of the single crop and made 0 right ones" in ran.stderr


def test_a_label_column(folder: Path, package: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("path,truth\nphotos/red/0000.png,Red\nphotos/red/0001.png,2\n")
    ran = run_score(
        listed, "-o", tmp_path / "o.csv", "--model", package, "--label-column", "truth", "--json"
    )
    accuracy = json.loads(ran.stdout)["accuracy"]
    assert accuracy["images"] == 2
    assert accuracy["top1"]["accuracy"] == 0.5


def test_exit_codes(folder: Path, package: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out.parquet", ["--model", package]
    bad = folder / "red" / "bad.png"
    bad.write_bytes(b"bad")
    assert run_score(folder, "-o", out, *model).exit_code == 0
    strict = run_score(folder, "-o", out, "--overwrite", "--strict", *model)
    assert strict.exit_code == 1
    assert len(read_rows(out)) == 10
    none_readable = run_score(bad, "-o", tmp_path / "bad.parquet", *model)
    assert none_readable.exit_code == 1
    assert len(read_rows(tmp_path / "bad.parquet")) == 1
    (tmp_path / "empty").mkdir()
    empty = run_score(tmp_path / "empty", "-o", tmp_path / "none.parquet", *model)
    assert empty.exit_code == 1
    assert "there is no image in" in empty.stderr
    assert not list(tmp_path.glob("none*"))
    for wrong in (
        [tmp_path / "nowhere", "-o", out],
        [folder, "-o", tmp_path / "out.xlsx"],
        [folder, "-o", "-", "--json"],
        [folder, "-o", tmp_path / "a.csv", "--report", "r.txt"],
        [folder, "-o", tmp_path / "a.csv", "--gate-cost", "1.2"],
        [folder, "-o", tmp_path / "a.csv", "--tta", "custom"],
        [folder, "-o", tmp_path / "a.csv", "--tta", "custom", "--box", "0,0,1"],
    ):
        refused = run_score(*wrong, *model)
        assert refused.exit_code == 2, wrong
        assert refused.stderr.startswith("quincunx: error: ")
    assert not list(tmp_path.glob("a.csv*"))


def test_custom_boxes(folder: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    boxes = ["--tta", "custom", "--box", "0,0,0.5,0.5", "--box", "0.5,0.5,1,1,flip"]
    assert run_score(folder, "-o", out, "--model", package, *boxes).exit_code == 0
    assert {row["passes"] for row in read_rows(out)} == {2}


def test_an_output_by_url(folder: Path, package: Path, tmp_path: Path) -> None:
    import fsspec

    url = f"memory://{tmp_path.name}/out.csv"
    ran = run_score(folder, "-o", url, "--model", package, "--work", tmp_path / "work")
    assert ran.exit_code == 0, ran.stderr
    assert len(fsspec.filesystem("memory").cat(url).decode().splitlines()) == 10
    assert not list((tmp_path / "work").iterdir())
