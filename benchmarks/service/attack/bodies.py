"""Bodies that are small to send and expensive to parse."""

import gzip
import io
from functools import cache
from typing import NamedTuple

from PIL import Image

from benchmarks.service.attack.target import Target, json_of

MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
PACKED = {"Content-Encoding": "gzip"}
FULL_BYTES = 19_000_000
"""Of an unpacked body: within the limit, so that it is read."""


class Bomb(NamedTuple):
    """One request."""

    name: str
    path: str
    headers: dict[str, str]
    body: bytes


@cache
def bombs(target: Target) -> list[Bomb]:
    """Every kind of body that once blocked a server, and similar ones. This takes seconds."""
    return [*_json(target), *_forms(target), *_images(target)]


def _json(target: Target) -> list[Bomb]:
    def tensor(shape: list[int], data: bytes) -> bytes:
        entry = json_of({"name": "images", "datatype": "UINT8", "shape": shape})[:-1]
        return b'{"inputs":[' + entry + b',"data":' + data + b"}]}"

    pixels = FULL_BYTES // 6
    image = {"name": "images", "datatype": "UINT8", "shape": [64, 1, 1, 3], "data": [1] * 192}
    outputs = {"inputs": [image], "outputs": [{"name": "probabilities"}] * 40_000}
    plain = {
        "numbers": tensor([1, 1, pixels, 3], b"[" + b"1," * (3 * pixels - 1) + b"1]"),
        "floats": tensor([1, 1, pixels // 2, 3], b"[" + b"1.0," * (pixels * 3 // 2 - 1) + b"1.0]"),
        "long floats": tensor([1, 1, pixels // 2, 3], b"[" + b"0e100," * pixels + b"1]"),
        "brackets": tensor([1, 1, 1, 3], b"[" * FULL_BYTES),
        "empty lists": tensor([1, 1, 1, 3], b"[" + b"[]," * (FULL_BYTES // 3) + b"[]]"),
        "strings": b'{"inputs":[' + b'"",' * (FULL_BYTES // 3),
        "nested objects": b'{"a":' * (FULL_BYTES // 5),
        "keys": b"{" + b'"a":1,' * (FULL_BYTES // 6) + b'"a":1}',
        "spaces": b'{"inputs":' + b" " * FULL_BYTES,
        "outputs": json_of(outputs),
        "surrogates": b'{"id":"' + b"\\ud800" * 1000 + b'"}',
    }
    return [
        Bomb(f"json: {name}", target.infer, PACKED, gzip.compress(body, 6))
        for name, body in plain.items()
    ]


def _forms(target: Target) -> list[Bomb]:
    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    file = b'; filename="x"'
    photo = part % (b"image", file, target.photo)
    custom = part % (b"tta", b"", b"custom")
    size = FULL_BYTES - len(target.photo)
    near = part[:-2] % (b"image", file, b"\r\n--b-X" * (size // 7))
    plain = {
        "spaces after a boundary": photo + b"--b" + b" " * size,
        "boundaries, not quite": near,
        "boxes": photo + custom + part % (b"boxes", b"", b"0,0,1,1;" * (size // 8)) + b"--b--\r\n",
        "parts": (part % (b"x", b"", b"")) * (size // 60) + b"--b--\r\n",
        "headers of a part": photo + b"--b\r\n" + b"A: b\r\n" * (size // 6),
    }
    return [
        Bomb(f"form: {name}", "/classify", MULTIPART | PACKED, gzip.compress(body, 6))
        for name, body in plain.items()
    ]


def _images(target: Target) -> list[Bomb]:
    def png(mode: str, width: int, height: int) -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, (width, height)).save(buffer, "PNG", compress_level=9)
        return buffer.getvalue()

    kind = {"Content-Type": "image/png"}
    grey, deep = png("L", 7000, 7000), png("I;16", 7000, 7000)
    one = b'--b\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n%s\r\n'
    many = one % grey * 16 + b"--b--\r\n"
    return [
        Bomb("image: 49 MP", "/classify", kind, grey),
        Bomb("image: 49 MP of 16 bits", "/classify", kind, deep),
        Bomb("image: beyond the limit", "/classify", kind, png("1", 30_000, 30_000)),
        Bomb("images: 16 of 49 MP", "/classify_batch", MULTIPART, many),
    ]
