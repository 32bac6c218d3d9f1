"""Compressed bodies: they come back whole, and never take more than the limit."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.http.compression import STEP_BYTES, Coding, choose, deflate, inflate
from service.errors import TooLarge, UsageError

CODINGS = st.sampled_from(["gzip", "deflate"])
LIMIT_BYTES = 10_000


@given(st.binary(max_size=2000), CODINGS, st.integers(1, 3 * STEP_BYTES // 2000))
def test_what_is_packed_comes_back(data: bytes, coding: Coding, times: int) -> None:
    plain = data * times
    assert inflate(deflate(plain, coding), coding, max_bytes=len(plain)) == plain


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip "])
def test_names_of_gzip(encoding: str) -> None:
    assert inflate(gzip.compress(b"body"), encoding, LIMIT_BYTES) == b"body"


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_a_plain_body_stays_as_it_is(encoding: str) -> None:
    assert inflate(b"body", encoding, max_bytes=1) == b"body"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_other_codings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(UsageError, match=f"gzip or deflate, but got '{encoding}'"):
        inflate(b"body", encoding, LIMIT_BYTES)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_refused_before_it_is_held(coding: Coding) -> None:
    grown: list[int] = []
    with pytest.raises(TooLarge, match=r"more than 10000 bytes \(QUINCUNX_MAX_REQUEST_BYTES\)"):
        inflate(deflate(bytes(50_000_000), coding), coding, LIMIT_BYTES, grown.append)
    assert sum(grown) <= LIMIT_BYTES + STEP_BYTES


def test_every_byte_is_counted_and_the_count_may_refuse() -> None:
    plain, grown = bytes(3 * STEP_BYTES + 5), list[int]()
    inflate(gzip.compress(plain), "gzip", len(plain), grown.append)
    assert sum(grown) == len(plain)
    assert max(grown) <= STEP_BYTES

    def full(_: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        inflate(gzip.compress(plain), "gzip", len(plain), full)


@given(st.binary(min_size=1, max_size=300), CODINGS, st.data())
def test_a_body_that_is_cut_is_an_error(plain: bytes, coding: Coding, data: st.DataObject) -> None:
    packed = deflate(plain, coding)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    with pytest.raises(UsageError, match=f"the {coding} body is cut short"):
        inflate(cut, coding, LIMIT_BYTES)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [3, 2 * STEP_BYTES])
def test_bytes_after_the_end_are_an_error(coding: Coding, size: int) -> None:
    """So is a second gzip member: two bodies in one."""
    with pytest.raises(UsageError, match="goes on after its end"):
        inflate(deflate(b"body", coding) + bytes(size), coding, LIMIT_BYTES)
    with pytest.raises(UsageError, match="goes on after its end"):
        inflate(deflate(b"body", coding) * 2, coding, LIMIT_BYTES)


@given(st.binary(max_size=200), CODINGS)
def test_arbitrary_bytes_unpack_or_are_an_error(body: bytes, coding: Coding) -> None:
    try:
        inflate(body, coding, LIMIT_BYTES)
    except (UsageError, TooLarge):
        return
    zlib.decompress(body, 32 + zlib.MAX_WBITS)  # the standard library agrees that it is sound


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("br;q=1.0, GZIP;q=0.8", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0.000", None),
        ("br, zstd", None),
        ("identity", None),
        ("", None),
    ],
)
def test_the_coding_that_a_client_asks_for(accept: str, coding: Coding | None) -> None:
    assert choose(accept) == coding
