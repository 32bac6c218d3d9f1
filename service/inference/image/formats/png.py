"""PNG: its pixels, its transparency and its orientation; all other metadata is left out."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import PngImagePlugin

from service.errors import BadImage, UnsupportedImage
from service.inference.image.clock import Kept
from service.inference.image.formats import png_text
from service.inference.image.levels import Grey16, Keyed16
from service.inference.image.limits import Limits, check_size
from service.inference.image.orientation import orientation_of
from service.inference.image.rows import Loaded, Picture

_SIGNATURE_BYTES = 8
_GREY, _RGB, _PALETTE = 0, 2, 3


class Chunk(NamedTuple):
    """One chunk: where it starts and ends, and where its body does."""

    kind: bytes
    start: int
    body: int
    body_end: int
    end: int


class _Plain(NamedTuple):
    """A PNG without metadata."""

    kept: Kept
    bits: int
    colour: int
    key: tuple[int, ...]
    """The transparent grey or colour of a PNG of 16 bits; empty: there is none."""
    orientation: int


def open_picture(data: bytes, limits: Limits) -> tuple[Picture, int]:
    """Decode a PNG, and read how it lies. Of an animation: the default image.

    Only the chunks that make pixels reach the decoder, so a broken one of another kind, or a text
    without end, cannot fail the image. 16 bits are 0 to 65535 whatever sBIT says: by the standard,
    samples that had fewer bits are scaled up.

    Raises:
        BadImage: the file has no chunks.
        TooLarge: over a limit.
        UnsupportedImage: Apple's own form of PNG.
        Exception: Pillow's, for a broken file.
    """
    plain = _plain(data, limits)
    image = PngImagePlugin.PngImageFile(plain.kept.open())
    check_size(image.size, limits)
    picture: Picture
    if plain.bits == 16 and plain.colour == _GREY:
        image.load()
        picture = Grey16(image, plain.key[0] if plain.key else None)
    elif plain.bits == 16 and plain.key:
        lower = PngImagePlugin.PngImageFile(plain.kept.open())
        # Read in the wrong byte order, Pillow keeps the lower byte of each sample.
        lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]
        image.load()
        lower.load()
        picture = Keyed16(image, lower, plain.key)
    else:
        image.load()
        picture = Loaded(image)
    return picture, plain.orientation


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks up to IEND. The last one may be cut short."""
    at = _SIGNATURE_BYTES
    while at + 8 <= len(data):
        body = at + 8
        body_end = body + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : body]
        yield Chunk(kind, at, body, body_end, min(body_end + 4, len(data)))
        if kind == b"IEND":
            return
        at = body_end + 4


def _plain(data: bytes, limits: Limits) -> _Plain:
    kept = Kept(data, limits.clock)
    kept.keep(0, _SIGNATURE_BYTES)
    bits, colour, colours, started = 0, -1, 0, False
    key: tuple[int, ...] = ()
    texts = png_text.Texts()
    for one in limits.clock.watch(chunks(data)):
        body = memoryview(data)[one.body : one.body_end]
        if one.kind == b"CgBI":
            raise UnsupportedImage("the image is a PNG in Apple's own form (CgBI), not a usual one")
        if not started and not one.kind.isalpha():
            raise BadImage("the PNG is broken: a chunk has no name")
        if one.kind == b"IHDR" and colour < 0 and len(body) >= 13:
            bits, colour = body[8], body[9]
            kept.keep(one.start, one.end)
        elif one.kind == b"PLTE" and colour == _PALETTE and not started:
            colours = len(body) // 3
            kept.keep(one.start, one.end)
        elif one.kind == b"tRNS" and not started and _is_whole(data, one):
            if colour == _PALETTE and 0 < len(body) <= colours:
                kept.keep(one.start, one.end)
            elif len(body) == {_GREY: 2, _RGB: 6}.get(colour):
                key = tuple(
                    int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2)
                )
                if bits < 16:
                    kept.put(_transparent(key, bits))
        elif one.kind in (b"IDAT", b"IEND"):
            started = True
            kept.keep(one.start, one.end)
        else:
            texts.see(one.kind, body)
    key = key if bits == 16 else ()
    return _Plain(kept, bits, colour, key, orientation_of(texts.exif(), texts.xmp()))


def _is_whole(data: bytes, chunk: Chunk) -> bool:
    expected = data[chunk.body_end : chunk.end]
    crc = zlib.crc32(memoryview(data)[chunk.start + 4 : chunk.body_end])
    return expected == crc.to_bytes(4, "big")


def _transparent(key: tuple[int, ...], bits: int) -> bytes:
    """A tRNS chunk that names the colour as it is once Pillow has made 8 bits of 2 or 4."""
    scale = 255 // (2**bits - 1) if bits in (2, 4) else 1
    body = b"".join((value * scale & 0xFFFF).to_bytes(2, "big") for value in key)
    chunk = b"tRNS" + body
    return len(body).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
