"""Freed memory stays in the process: the next image causes no page faults."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from service.inference.image.heap import keep_freed_memory
from tests.support.images import drawn, encoded

ROOT = Path(__file__).parents[2]
FAULTS = """
import pathlib, resource, sys
from service.inference.decode import decode_image
from service.inference.image.geometry import Size
from service.inference.image.views import resize

data = pathlib.Path(sys.argv[1]).read_bytes()

def faults(images):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(images):
        resize(decode_image(data), Size(224, 299))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(20)
print(faults(50) / 50)
"""
"""Faults for each image, in the main thread. glibc keeps more once larger memory was freed, so the
image is drawn elsewhere."""
A_PAGE_BYTES = 4096
A_PICTURE = 500 * 375 * 4 / A_PAGE_BYTES

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    path.write_bytes(encoded(drawn(375, 500), "JPEG"))
    return path


def faults_of_an_image(photo: Path, **variables: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, str(photo)],
        cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


@needs_glibc
def test_the_next_image_finds_the_memory_of_the_last_one(photo: Path) -> None:
    assert faults_of_an_image(photo) < A_PICTURE / 4


@needs_glibc
def test_settings_of_the_user_are_left_alone(photo: Path) -> None:
    assert faults_of_an_image(photo, MALLOC_TRIM_THRESHOLD_="131072") > A_PICTURE / 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_MMAP_THRESHOLD_", "65536"),
        ("GLIBC_TUNABLES", "glibc.rtld.nns=2:glibc.malloc.trim_threshold=131072"),
    ],
)
def test_it_sets_nothing_beside_other_settings(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert not keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
