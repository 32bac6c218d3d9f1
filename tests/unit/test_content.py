"""Images are known by their content, from a small sketch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.package.package import ModelPackage
from training.data.content import sketch as sketching
from training.data.content.digest import READ_BYTES, content_digest, rough_digest
from training.data.content.sketch import ROUGH, Sketch, trained_on
from training.data.dataset import validation
from training.data.flat_folder import read_flat_folder
from training.recipe import Recipe, Stage

RECIPE = Recipe(summary="x", stages=(Stage(epochs=1, size_px=64),))


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


def like_at_the_start(folder: Path, suffix: str, count: int, **options: Any) -> list[Path]:
    """Pictures of one size. Each ten of them differ in their last row only."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}{suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        picture = Image.new("RGB", (200, 200), (255, 255, number // 10))
        # BMP files begin with the lowest row.
        picture.putpixel((0, 0 if suffix == ".bmp" else 199), (number, 0, 0))
        picture.save(path, **options)
    assert paths[0].stat().st_size > READ_BYTES
    return paths


@pytest.mark.parametrize(
    ("suffix", "options"), [(".bmp", {}), (".tif", {}), (".png", {"compress_level": 0})]
)
def test_raw_pixels_are_read_to_the_end(
    tmp_path: Path, suffix: str, options: dict[str, Any]
) -> None:
    paths = like_at_the_start(tmp_path, suffix, 6, **options)
    assert len({rough_digest(path) for path in paths}) == 1
    assert len({content_digest(path) for path in paths}) == 6
    sketch = Sketch.of(paths[:3])
    assert sketch.images == 3
    assert sketch.known(paths) == (paths[:3], 6)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_of_compressed_pixels_the_start_is_enough(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 64, (800, 800, 3), np.uint8)
    path = tmp_path / f"noise{suffix}"
    Image.fromarray(noise).save(path)
    before = content_digest(path)
    assert path.stat().st_size > READ_BYTES + 20
    with path.open("r+b") as file:
        file.seek(READ_BYTES)
        file.write(b"something else")
    assert content_digest(path) == before == rough_digest(path)


def test_a_package_of_an_earlier_version_keeps_its_digests(tmp_path: Path, package: Path) -> None:
    for name in ("cat", "dog"):
        like_at_the_start(tmp_path / name, ".bmp", 40)
    train, reported = read_flat_folder(tmp_path, 0.2, 42, digest=rough_digest)
    stored = Sketch.of([item.path for item in train], ROUGH).to_json()
    del stored["version"]  # as it was written
    old = {"dataset": {"content": stored, "flat": True}, "recipe": RECIPE.to_json()}
    assert trained_on(old, [train.items[0].path]).startswith("1 of the 1 images")
    manifest = ModelPackage.load(package).manifest.model_copy(update={"provenance": old})
    assert reported
    assert validation(tmp_path, manifest).items == reported.items
    assert len(reported) % 10 == 0, "pictures with equal beginnings went together"
    assert validation(tmp_path, manifest).items != read_flat_folder(tmp_path, 0.2, 42)[1].items


def test_a_sketch_of_an_unknown_version_says_nothing(tmp_path: Path) -> None:
    stored = Sketch.of(files(tmp_path, range(3))).to_json() | {"version": 99}
    assert Sketch.of_provenance({"dataset": {"content": stored}}) is None
