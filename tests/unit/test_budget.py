"""Images are decoded side by side as far as memory has room for their pixels."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import TooLarge
from service.inference import decode
from service.inference.image import budget
from service.inference.image.budget import PixelBudget, usual_pixels
from service.inference.image.geometry import LeastSize, Size
from service.inference.image.limits import BYTES_PER_PIXEL
from service.inference.runtime.memory import usable_bytes
from tests.support.images import drawn, encoded


def until(state: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not state():
        assert time.monotonic() < end_s
        time.sleep(0.002)


class Decoding(threading.Thread):
    """A thread that claims pixels, and holds them until it is told to end."""

    def __init__(self, pixels: PixelBudget, count: int) -> None:
        super().__init__(daemon=True)
        self.began, self.may_end = threading.Event(), threading.Event()
        self._pixels, self._count = pixels, count
        self.start()

    def run(self) -> None:
        with self._pixels.turn():
            self._pixels.claim(self._count)
            self.began.set()
            self.may_end.wait()

    def end(self) -> None:
        self.may_end.set()
        self.join()


def waiting(pixels: PixelBudget) -> int:
    return len(pixels._waiting)  # pyright: ignore[reportPrivateUsage]


def test_images_share_the_room_in_their_order() -> None:
    pixels = PixelBudget(100)
    first, second = Decoding(pixels, 60), Decoding(pixels, 40)
    first.began.wait()
    second.began.wait()
    large = Decoding(pixels, 500)
    until(lambda: waiting(pixels) == 1)
    small = Decoding(pixels, 1)
    until(lambda: waiting(pixels) == 2)
    first.end()
    assert not large.began.is_set()
    second.end()
    large.began.wait()  # larger than all the room: alone
    assert not small.began.is_set()
    large.end()
    small.began.wait()
    small.end()


def test_an_error_gives_the_room_back() -> None:
    pixels = PixelBudget(10)

    def fail() -> None:
        with pixels.turn():
            pixels.claim(10)
            raise TooLarge

    with pytest.raises(TooLarge):
        fail()
    other = Decoding(pixels, 10)
    other.began.wait()
    other.end()


def test_a_thread_never_waits_for_itself() -> None:
    pixels = PixelBudget(10)
    with pixels.turn():
        pixels.claim(10)
        with pixels.turn():
            pixels.claim(10)
        pixels.claim(10)


def test_a_claim_instead_of_another_waits_for_room_anew() -> None:
    pixels = PixelBudget(100)
    other = Decoding(pixels, 60)
    other.began.wait()
    done = threading.Event()

    def enlarge() -> None:
        with pixels.turn():
            pixels.claim(10)
            pixels.claim(50, instead_of=10)
            done.set()

    thread = threading.Thread(target=enlarge, daemon=True)
    thread.start()
    until(lambda: waiting(pixels) == 1)
    assert not done.is_set()
    other.end()
    thread.join(30)
    assert done.is_set()
    last = Decoding(pixels, 100)  # all the room is back
    last.began.wait()
    last.end()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_a_scaled_image_claims_the_pixels_that_it_keeps(
    progressive: bool, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[tuple[int, int]] = []
    monkeypatch.setattr(budget.DECODING, "claim", lambda *given: claimed.append(given))
    data = encoded(drawn(301, 405), "JPEG", progressive=progressive)
    least: LeastSize = lambda size: Size(size.height // 4, size.width // 4)  # noqa: E731
    coefficients = -(-2 * 3 * 301 * 405 // BYTES_PER_PIXEL) if progressive else 0
    scaled = 76 * 102 + coefficients
    if not cut:
        assert decode.decode_image(data, least_size=least).image.size == (102, 76)
        assert claimed == [(scaled, 0)]
    elif not progressive:  # without its end marker: decoded once more, in full
        assert decode.decode_image(data[:-2], least_size=least).scale == 1
        assert claimed == [(scaled, 0), (301 * 405, scaled)]
    claimed.clear()
    decode.decode_image(data)
    assert claimed == [(301 * 405, 0)]


def test_decoding_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget.DECODING, "limit_pixels", 1000)
    data = encoded(drawn(30, 40))
    got: list[tuple[int, ...]] = []
    with budget.DECODING.turn():
        budget.DECODING.claim(900)
        threads = [
            threading.Thread(target=lambda: got.append(decode.decode(data).shape)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        until(lambda: waiting(budget.DECODING) == 3)
        assert not got
    for thread in threads:
        thread.join()
    assert got == [(30, 40, 3)] * 3


def test_the_room_depends_on_the_memory(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{2 * 1024**3}\n")
    assert usable_bytes((limit, tmp_path / "none")) == 2 * 1024**3
    limit.write_text("max\n")
    assert usable_bytes((limit,)) == usable_bytes(()) > 2**20
    assert usual_pixels() > 1_000_000
