"""`benchmarks.scoring base`: what it computes from the processes of two checkouts."""

from pathlib import Path

import pytest

from benchmarks.scoring import base
from benchmarks.scoring.base import HERE, SHORT, Cost
from service.bench.image_size import ImageSize
from service.bench.photos import drawn_folder

START_S = 2.0


def test_images_count_without_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The other checkout takes three times as long for an image, and twice the memory."""
    seen: list[tuple[Path, Path, int]] = []

    def run(tree: Path, package: Path, listed: Path, *_: object) -> Cost:
        count = len(listed.read_text().splitlines())
        seen.append((tree, package, count))
        image_s, peak = (0.1, 500) if tree == HERE else (0.3, 1000)
        return Cost(START_S + count * image_s, START_S + count * image_s / 2, peak)

    monkeypatch.setattr(base, "score", run)
    with drawn_folder(ImageSize(32, 32)) as folder:
        row = base.compare(Path("models/p"), tmp_path, folder, "none", SHORT + 10, rounds=3)
    assert len(seen) == 3 * 4
    assert {(tree, package) for tree, package, _ in seen} == {
        (HERE, Path("models/p").resolve()), (tmp_path, tmp_path / "models/p"),
    }  # fmt: skip
    assert row["ms"]["wall"] == pytest.approx([300, 100])
    assert row["ms"]["processor"] == pytest.approx([150, 50])
    assert row["times_faster"]["wall"]["value"] == pytest.approx(3)
    assert row["memory"]["value"] == pytest.approx(0.5)
    assert row["peak_bytes"] == [1000, 500]
    (line,) = base.markdown([row])[2:]
    assert "| 300 | 100 | 3.00 [3.00, 3.00] | 150 | 50 |" in line
    assert line.endswith("| 0.50 [0.50, 0.50] |")
