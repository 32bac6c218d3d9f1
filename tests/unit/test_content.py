"""Images are known by their content, from a small sketch."""

from pathlib import Path

import pytest

from training.data.content import sketch as sketching
from training.data.content.digest import content_digest
from training.data.content.sketch import Sketch, trained_on


def files(folder: Path, numbers: range) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number}").write_bytes(f"photo {number}".encode())
    return [folder / f"{number}" for number in numbers]


def test_a_digest_is_of_the_content_not_of_the_name(tmp_path: Path) -> None:
    first, second = files(tmp_path / "a", range(2))
    assert content_digest(first) == content_digest(files(tmp_path / "b", range(1))[0])
    assert content_digest(first) != content_digest(second)
    assert isinstance(content_digest(tmp_path / "missing"), int)


def test_a_small_set_is_known_exactly_and_survives_json(tmp_path: Path) -> None:
    sketch = Sketch.of(files(tmp_path / "a", range(40)))
    again = Sketch.of_provenance({"dataset": {"content": sketch.to_json()}})
    assert again is not None
    known, sampled = again.known(files(tmp_path / "b", range(30, 60)))
    assert ([path.name for path in known], sampled) == ([str(i) for i in range(30, 40)], 30)
    said = trained_on(
        {"dataset": {"content": sketch.to_json()}}, files(tmp_path / "b", range(39, 41))
    )
    assert said.startswith("1 of the 2 images")


def test_of_a_large_set_the_share_is_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sketching, "MOST", 100)
    sketch = Sketch.of(files(tmp_path / "a", range(1000)))
    assert len(sketch.digests) == 100
    known, sampled = sketch.known(files(tmp_path / "b", range(500, 1500)))
    assert len(known) / sampled == pytest.approx(0.5, abs=0.15)
    assert sketch.known(files(tmp_path / "c", range(2000, 2500)))[0] == []


@pytest.mark.parametrize("provenance", [{}, {"dataset": None}, {"dataset": {"content": {}}}])
def test_a_package_without_a_sketch_says_nothing(provenance: dict, tmp_path: Path) -> None:
    assert Sketch.of_provenance(provenance) is None
    assert trained_on(provenance, files(tmp_path / "a", range(3))) == ""
