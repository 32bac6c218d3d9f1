"""All bodies together have a bound, as they were sent and as they unpack."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.http.compression import STEP_BYTES, inflate
from service.api.http.inflight import Held, Inflight
from service.errors import Overloaded, TooLarge, UsageError
from service.settings import Settings
from tests.support.app import Running, in_process
from tests.support.images import coloured, encoded

PNG = {"content-type": "image/png"}
PHOTO = encoded(coloured("red"))


def test_what_is_held_is_counted_and_bounded() -> None:
    seen: list[int] = []
    inflight = Inflight(100, seen.append)
    first, second = Held(inflight), Held(inflight)
    first.grow(60)
    with pytest.raises(Overloaded, match=r"60 bytes.*41 more.*100 \(QUINCUNX_MAX_INFLIGHT_BYTES\)"):
        second.grow(41)
    second.grow(40)
    first.release()
    first.release()
    assert inflight.held_bytes == 40
    assert seen == [60, 40, -60]


@given(st.binary(max_size=2000), st.integers(0, 5), st.sampled_from([gzip.compress, zlib.compress]))
def test_unpacking_counts_every_byte(data: bytes, times: int, pack: object) -> None:
    plain = data * (1 + times * 200)
    grown: list[int] = []
    packed = pack(plain)  # type: ignore[operator]
    assert inflate(packed, "gzip", len(plain), grown.append) == plain
    assert sum(grown) == len(plain)
    assert max(grown, default=0) <= STEP_BYTES
    with pytest.raises(UsageError, match="goes on after its end"):
        inflate(packed + b"x", "gzip", len(plain))
    with pytest.raises(UsageError):
        inflate(packed[:-1], "gzip", len(plain))
    if plain:
        with pytest.raises(TooLarge):
            inflate(packed, "gzip", len(plain) - 1)


def test_what_goes_on_after_its_end_by_more_than_a_step_is_refused() -> None:
    with pytest.raises(UsageError, match="goes on after its end"):
        inflate(gzip.compress(b"x") + bytes(2 * STEP_BYTES), "gzip", 10)


def test_a_bound_below_one_request_is_no_setting() -> None:
    with pytest.raises(
        UsageError, match=r"QUINCUNX_MAX_INFLIGHT_BYTES='5': .*at least QUINCUNX_MAX"
    ):
        Settings.from_environment({"QUINCUNX_MAX_INFLIGHT_BYTES": "5"})
    assert Settings(max_request_bytes=10**9).most_inflight_bytes == 4 * 10**9


class Slow:
    """Uploads that came so far and are not done."""

    def __init__(self, running: Running, count: int, size: int) -> None:
        self._go = asyncio.Event()
        self._tasks = [
            asyncio.create_task(
                running.client.post("/classify", content=self._chunks(size), headers=PNG)
            )
            for _ in range(count)
        ]

    async def _chunks(self, size: int) -> AsyncIterator[bytes]:
        yield bytes(size)
        await self._go.wait()
        yield b""

    async def finish(self) -> list[int]:
        self._go.set()
        return [response.status_code for response in await asyncio.gather(*self._tasks)]


async def until_held(running: Running, size: int) -> None:
    async with asyncio.timeout(60):
        while running.held_bytes() != size:
            await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/classify", "/classify_batch", "/v2/models/tiny/infer"])
@pytest.mark.parametrize("packed", [False, True])
async def test_over_the_bound_a_body_is_a_429_and_room_comes_back(
    package: Path, path: str, packed: bool
) -> None:
    assert len(PHOTO) < 60_000
    async with in_process(package, max_request_bytes=60_000, max_inflight_bytes=100_000) as running:
        slow = Slow(running, 2, 40_000)
        await until_held(running, 80_000)
        body = gzip.compress(bytes(50_000)) if packed else bytes(50_000)
        headers = {"content-encoding": "gzip"} if packed else {}
        refused = await running.client.post(path, content=body, headers=headers)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "QUINCUNX_MAX_INFLIGHT_BYTES" in refused.text
        small = await running.client.post("/classify", content=PHOTO[:20_000], headers=PNG)
        assert small.status_code == 422
        assert await slow.finish() == [422, 422]
        assert running.held_bytes() == 0
        answer = await running.client.post("/classify", content=PHOTO, headers=PNG)
        assert answer.json()["label"] == "red"
        assert "quincunx_held_bytes 0.0" in running.metrics.expose().decode()
