"""Image files that no usual program writes: PNG chunk by chunk, TIFF tag by tag, BMP."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
SHORT, LONG, FLOAT, DOUBLE, ASCII = 3, 4, 11, 12, 2
Order = Literal["<", ">"]
Tags = Mapping[int, tuple[int, bytes | Sequence[float]]]
"""Tag to the type of its values and the values."""

Entry = tuple[int, int, int, bytes]
"""Tag, type, count and the four bytes of the value."""

_CODES = {SHORT: "H", LONG: "I", 6: "b", 8: "h", 9: "i", FLOAT: "f", DOUBLE: "d", 16: "Q", 17: "q"}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    rows: NDArray[np.generic], colour: int, *, bits: int | None = None, before: bytes = b""
) -> bytes:
    """A PNG of rows of samples ([H, bytes or samples]), with chunks `before` its pixels.

    16-bit samples are stored as such; others are bytes, packed already.
    """
    wide = rows.dtype.itemsize == 2
    bits = bits or (16 if wide else 8)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    width = rows.shape[1] * (8 // bits if bits < 8 else 1) // channels
    stored = rows.astype(">u2" if wide else np.uint8)
    data = b"".join(b"\0" + row.tobytes() for row in stored)
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(data))
    return PNG_START + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND", b"")


def with_chunks(data: bytes, chunks: bytes) -> bytes:
    """A PNG with more chunks after its header."""
    return data[:33] + chunks + data[33:]


def with_segments(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG with more segments at its start: marker and body of each."""
    new = b"".join(
        b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body for kind, body in segments
    )
    return data[:2] + new + data[2:]


def exif(
    *entries: tuple[int, int, int, bytes], order: str = "<", count: int | None = None
) -> bytes:
    """An EXIF block of entries that may be anything."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    number = len(entries) if count is None else count
    return head + struct.pack(order + "IH", 8, number) + body + bytes(4)


def orientation(value: int, order: str = "<") -> Entry:
    """The entry that EXIF has for an orientation."""
    return 0x0112, SHORT, 1, struct.pack(order + "HH", value, 0)


def tiff(
    values: NDArray[Any],
    photometric: int | None = 1,
    *,
    order: Order = "<",
    planar: bool = False,
    tile_px: int = 0,
    strip_rows: int = 0,
    deflate: bool = False,
    extra: Sequence[int] = (),
    tags: Tags | None = None,
    bits: int = 0,
) -> bytes:
    """A TIFF of [H, W] or [H, W, samples] of any numpy type.

    With `bits`, `values` are rows of bytes that are packed already; `tags` say how wide they are.
    """
    cube = values[..., None] if values.ndim == 2 else values
    height, width, samples = cube.shape
    kind = {"u": 1, "i": 2, "f": 3}[cube.dtype.kind]
    planes = np.moveaxis(cube, 2, 0)[..., None] if planar else cube[None]
    parts = [
        part
        for plane in planes.astype(cube.dtype.newbyteorder(order))
        for part in _parts(plane, tile_px, strip_rows or height)
    ]
    packed = [zlib.compress(part) if deflate else part for part in parts]
    sizes = [len(part) for part in packed]
    rows, offsets, counts = (323, 324, 325) if tile_px else (278, 273, 279)
    shape = {rows: [tile_px or strip_rows or height], offsets: sizes, counts: sizes}
    if tile_px:
        shape[322] = [tile_px]
    all_tags: dict[int, tuple[int, bytes | Sequence[float]]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [bits or cube.dtype.itemsize * 8] * samples),
        259: (SHORT, [8 if deflate else 1]),
        **({262: (SHORT, [photometric])} if photometric is not None else {}),
        277: (SHORT, [samples]),
        284: (SHORT, [2 if planar else 1]),
        **({338: (SHORT, list(extra))} if extra else {}),
        **({339: (SHORT, [kind] * samples)} if kind != 1 else {}),
        **{tag: (LONG, values) for tag, values in shape.items()},
        **(tags or {}),
    }
    start = len(_directory(all_tags, order))
    all_tags[offsets] = LONG, (start + np.cumsum([0, *sizes])[:-1]).tolist()
    return _directory(all_tags, order) + b"".join(packed)


def _parts(plane: NDArray[Any], tile_px: int, strip_rows: int) -> list[bytes]:
    height, width, _ = plane.shape
    if not tile_px:
        return [plane[top : top + strip_rows].tobytes() for top in range(0, height, strip_rows)]
    full = np.pad(plane, ((0, -height % tile_px), (0, -width % tile_px), (0, 0)))
    return [
        full[top : top + tile_px, left : left + tile_px].tobytes()
        for top in range(0, height, tile_px)
        for left in range(0, width, tile_px)
    ]


def _directory(tags: Tags, order: str) -> bytes:
    """The header of a TIFF, and its tags."""
    values_at = 8 + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, (kind, content) in sorted(tags.items()):
        count = len(content)
        code = f"{order}{count}{_CODES.get(kind, 's')}"
        body = content if isinstance(content, bytes) else struct.pack(code, *content)
        entries += struct.pack(order + "HHI", tag, kind, count)
        if len(body) <= 4:
            entries += body.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", values_at + len(values))
            values += body
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + entries + bytes(4) + values


def bmp(
    stored: bytes,
    size: tuple[int, int],
    bits: int,
    *,
    header_bytes: int = 40,
    compression: int = 0,
    masks: Sequence[int] = (),
    palette: bytes = b"",
    colours: int = 0,
    pixels_at: int | None = None,
) -> bytes:
    """A BMP of rows as they are stored. Masks follow a header that has no room for them."""
    width, height = size
    if header_bytes == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack(
            "<IiiHHIIiiII",
            *(header_bytes, width, height, 1, bits, compression),
            *(len(stored), 2835, 2835, colours, 0),
        )
    inside = b"".join(struct.pack("<I", mask) for mask in masks)
    fits = header_bytes >= 52
    head = (head + inside if fits else head)[:header_bytes].ljust(header_bytes, b"\0")
    body = head + (b"" if fits else inside) + palette
    at = 14 + len(body) if pixels_at is None else pixels_at
    return b"BM" + struct.pack("<IHHI", 14 + len(body) + len(stored), 0, 0, at) + body + stored
