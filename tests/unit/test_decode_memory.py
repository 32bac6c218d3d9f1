"""The memory that one decode takes is bounded, and running out of it is no fault of the image."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import JpegImagePlugin

from service.errors import BadImage, OutOfResources
from service.inference.decode import decode
from service.inference.image.limits import BYTES_PER_PIXEL
from tests.support.images import drawn, encoded

ROOT = Path(__file__).parents[2]
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def measured(what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.support.decode_memory", what]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_linux
def test_the_peak_of_every_kind_of_image_is_bounded() -> None:
    peaks = measured("peak")
    assert len(peaks) >= 20
    assert max(peaks.values()) < BYTES_PER_PIXEL, peaks
    # Grey of 16 bits and float took 32 to 36 bytes a pixel, RGBA and palettes 13 to 16.
    assert peaks["PNG 16"] < 8
    assert peaks["TIFF float"] < 12
    assert peaks["PNG palette alpha"] < 8
    assert peaks["PNG RGBA"] < 10


@needs_linux
def test_a_scaled_image_claims_what_it_takes_and_not_much_more() -> None:
    """12 MP as bytes for each pixel that was claimed; 48 MB would be held for all its pixels."""
    peaks = measured("scaled")
    assert set(peaks) == {"JPEG", "JPEG turned", "JPEG progressive", "JPEG CMYK progressive"}
    assert max(max(own.values()) for own in peaks.values()) < BYTES_PER_PIXEL, peaks
    # libjpeg keeps the coefficients of every pixel here, which is nearly all that is claimed.
    assert min(peaks["JPEG progressive"].values()) > BYTES_PER_PIXEL / 2


@needs_linux
def test_without_memory_no_image_is_called_broken() -> None:
    for name, outcomes in measured("limits").items():
        assert set(outcomes) <= {"OutOfResources", "decoded"}, name
        assert outcomes[-1] == "decoded", name


@pytest.mark.parametrize("error", [MemoryError(), OSError("broken data stream")])
def test_running_out_of_memory_is_told_from_a_broken_file(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: object) -> None:
        raise error

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", load)
    data = encoded(drawn(8, 9), "JPEG")
    if isinstance(error, MemoryError):
        with pytest.raises(OutOfResources, match="memory ran out while an image"):
            decode(data)
    else:
        with pytest.raises(BadImage, match="broken data stream"):
            decode(data)
