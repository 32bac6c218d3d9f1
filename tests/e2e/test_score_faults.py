"""What is broken costs its own row and nothing else; what cannot work is refused in plain words."""

from pathlib import Path

import pytest

from tests.support.scoring import image_folder, images_of, read_rows, run_score, write_tar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "photos", each=2, side_px=64)


def test_unreadable_files_are_rows(folder: Path, package: Path, tmp_path: Path) -> None:
    whole = (folder / "red" / "0000.png").read_bytes()
    (folder / "red" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "red" / "empty.png").touch()
    (folder / "red" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "red" / "text.png").write_text("hello")
    (folder / "red" / "pipe").mkdir()
    listed = tmp_path / "list.txt"
    listed.write_text("photos/red\nphotos/red/0001.png\nphotos/\x01no.png\n")
    out = tmp_path / "out.parquet"
    ran = run_score(folder, listed, "-o", out, "--model", package)
    assert ran.exit_code == 0, ran.stderr
    errors = {Path(r["path"]).name: r["error"].split(":")[0] for r in read_rows(out) if r["error"]}
    assert errors == {
        "cut.png": "BadImage",
        "empty.png": "BadImage",
        "gone.png": "FileNotFoundError",
        "text.png": "BadImage",
        "red": "IsADirectoryError",
        "\x01no.png": "FileNotFoundError",
    }
    assert len(read_rows(out)) == 6 + 4 + 3


def test_names_that_are_no_unicode(folder: Path, package: Path, tmp_path: Path) -> None:
    odd = str(folder / "red").encode() + b"/caf\xe9.png"
    with open(odd, "wb") as file:
        file.write((folder / "red" / "0000.png").read_bytes())
    (tmp_path / "list.txt").write_bytes(odd + b"\n")
    for source in (folder, tmp_path / "list.txt"):
        out = tmp_path / f"{source.name}.parquet"
        assert run_score(source, "-o", out, "--model", package).exit_code == 0
        (row,) = (row for row in read_rows(out) if "caf" in row["path"])
        assert row["status"] == "ok"
        assert row["path"].endswith("caf\\xe9.png")


def test_a_truncated_shard_among_others(folder: Path, package: Path, tmp_path: Path) -> None:
    members = [(f"{n}.png", path.read_bytes()) for n, path in enumerate(images_of(folder))]
    for number in range(3):
        write_tar(tmp_path / f"{number}.tar", members)
    whole = (tmp_path / "1.tar").read_bytes()
    (tmp_path / "1.tar").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out.parquet"
    ran = run_score(f"{tmp_path}/*.tar", "-o", out, "--model", package)
    assert ran.exit_code == 0, ran.stderr
    rows = read_rows(out)
    (broken,) = (row for row in rows if row["error"])
    assert broken["path"] == f"{tmp_path}/1.tar"
    assert "the archive breaks off after" in broken["error"]
    assert sum(row["path"].startswith(f"{tmp_path}/2.tar/") for row in rows) == 6


@pytest.mark.parametrize("where", ["/proc", "/sys", "under a file"])
def test_an_output_that_cannot_be_written(
    folder: Path, package: Path, tmp_path: Path, where: str
) -> None:
    """Where even root may not write; said before any image is scored."""
    out = Path(where) / "out.parquet"
    if where == "under a file":
        (tmp_path / "file").touch()
        out = tmp_path / "file" / "out.parquet"
    refused = run_score(folder, "-o", out, "--model", package)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"quincunx: error: {out}.partial cannot be written: ")
    assert "Traceback" not in refused.stderr


def test_an_altered_package_is_refused(folder: Path, tmp_path: Path) -> None:
    from tests.support.tiny import tiny_package

    model = tiny_package(tmp_path / "model")
    with (model / "model.onnx").open("ab") as file:
        file.write(b"more")
    refused = run_score(folder, "-o", tmp_path / "out.csv", "--model", model)
    assert refused.exit_code == 1
    assert "was altered" in refused.stderr
    assert not list(tmp_path.glob("out*"))
