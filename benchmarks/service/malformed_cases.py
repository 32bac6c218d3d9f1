"""Malformed requests, drawn by hypothesis.

bytes         anything under any content type
image         a real file of every format that is decoded, mutated and cut
dimensions    a real header that claims up to 2³¹ pixels a side
multipart     parts, boundaries and headers that do not fit together
options       query options that nobody knows
json          inference requests that are no JSON, or not the protocol
tensor        tensors of a wrong shape, size, type or name
packed        compressed bodies that are none, or are far larger than they seem
reload        bodies and keys for the reload
"""

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from service.inference.decode import FORMATS

ADMIN_KEY = "malformed-admin"
OPTIONS = (
    *("tta", "top_k", "coverage", "boxes", "include", "gate_cost", "model", "heatmap"),
    "unknown",
)
KINDS = (
    *("multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary="),
    *("multipart/mixed; boundary=x", "image/png", "image/jpeg", "application/octet-stream"),
    *("application/json", "application/x-www-form-urlencoded", "text/plain", "", "é", "image/"),
)


class Case(NamedTuple):
    """One request."""

    kind: str
    path: str
    headers: dict[str, str]
    body: bytes


def _picture() -> Image.Image:
    y, x = np.mgrid[0:70, 0:90]
    return Image.fromarray(np.stack([x * 2, y * 3, x + y], -1).astype(np.uint8))


def _encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    _picture().save(buffer, kind)
    return buffer.getvalue()


REAL = {kind: _encoded(kind) for kind in FORMATS}
SIDES = {"PNG": (16, ">I"), "GIF": (6, "<H"), "BMP": (18, "<i"), "TIFF": (18, "<I")}
"""Where width and height stand in our files; JPEG's are found by their marker."""


def form(data: bytes, field: str = "image") -> tuple[bytes, dict[str, str]]:
    """A well-formed upload of `data`."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a"\r\n\r\n'
    return head.encode() + data + b"\r\n--x--\r\n", {"Content-Type": KINDS[0]}


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real image with a few overwritten parts, and perhaps cut short."""
    data = bytearray(REAL[draw(st.sampled_from(FORMATS))])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        junk = draw(st.binary(min_size=1, max_size=16))
        data[at : at + len(junk)] = junk
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


@st.composite
def claiming(draw: st.DrawFn) -> bytes:
    """A real image whose header claims other dimensions."""
    kind = draw(st.sampled_from([*SIDES, "JPEG"]))
    data = bytearray(REAL[kind])
    at, form = SIDES.get(kind, (data.find(b"\xff\xc0") + 5, ">H"))
    most = 2 ** (8 * struct.calcsize(form)) // (2 if form.islower() and form[1] == "i" else 1) - 1
    size = struct.calcsize(form)
    for offset in (at, at + (12 if kind == "TIFF" else size)):
        side = draw(st.sampled_from([0, 1, 65_535, most]) | st.integers(0, most))
        data[offset : offset + size] = struct.pack(form, min(side, most))
    if kind == "PNG":
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@st.composite
def multipart(draw: st.DrawFn) -> bytes:
    """Parts whose names, headers and boundaries are drawn independently."""
    parts: list[bytes] = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(["image", "images", "tta", "top_k", "", "boxes", "x" * 200]))
        file = draw(st.sampled_from(["", '; filename="a.png"', "; filename=", '; filename="']))
        head = f'Content-Disposition: form-data; name="{name}"{file}\r\n'.encode()
        head = draw(st.sampled_from([head, b"", b"Content-Disposition: x\r\n", b"a" * 300]))
        body = draw(mutated() | st.binary(max_size=60) | st.just(b"http://169.254.169.254/"))
        line = draw(st.sampled_from([b"--x", b"--x", b"--x", b"-x", b"--y", b"\r\n--x"]))
        parts.append(line + b"\r\n" + head + b"\r\n" + body + b"\r\n")
    whole = b"".join(parts) + draw(st.sampled_from([b"--x--\r\n", b"--x--", b"", b"--x\r\n"]))
    return whole[: draw(st.just(len(whole)) | st.integers(0, len(whole)))]


JSON_VALUES: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
BROKEN_JSON = [b"[" * 50_000, b'{"inputs":' * 5000, b"\xff\xfe", b"NaN"]
SHAPES = [[1, 64, 64, 3], [1], [2, 32, 32, 3]]
SHAPE_SIDES = st.sampled_from([0, 1, 2, 3, 64, -1, 2**31 - 1, 2**31, 2**63, 1e3, "1", None, True])


@st.composite
def tensor(draw: st.DrawFn) -> tuple[bytes, dict[str, str]]:
    """An inference request whose shape, type, sizes and data are drawn independently."""
    entry: dict[str, Any] = {
        "name": draw(st.sampled_from(["images", "encoded", "x", 1, None])),
        "datatype": draw(st.sampled_from(["UINT8", "BYTES", "FP32", "", None, 3])),
        "shape": draw(st.sampled_from(SHAPES) | st.lists(SHAPE_SIDES, max_size=5)),
    }
    raw = draw(st.binary(max_size=80) | st.just(bytes(64 * 64 * 3)) | mutated().map(_prefixed))
    if draw(st.booleans()):
        size = draw(st.just(len(raw)) | st.sampled_from([0, -1, 2**63, "7", None, 1.5]))
        entry["parameters"] = draw(st.just({"binary_data_size": size}) | JSON_VALUES)
    else:
        entry["data"] = draw(st.lists(st.integers(-3, 300), max_size=20) | JSON_VALUES)
    if draw(st.booleans()):  # the rest of the request follows the protocol
        entry |= draw(
            st.sampled_from(
                [{"name": "images", "datatype": "UINT8"}, {"name": "encoded", "datatype": "BYTES"}]
            )
        )
    request: dict[str, Any] = {"inputs": [entry] * draw(st.sampled_from([1, 1, 1, 0, 2]))}
    for name in ("outputs", "parameters", "id"):
        if draw(st.integers(0, 3)) == 0:
            request[name] = draw(JSON_VALUES)
    head = json.dumps(request).encode()
    length = draw(
        st.just(str(len(head)))
        | st.sampled_from(["", "-1", "0", "x", "9" * 30, str(len(head) - 1)])
    )
    headers = {"Inference-Header-Content-Length": length} if length else {}
    return head + raw, headers


def _prefixed(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _infer(model: str) -> str:
    return f"/v2/models/{model}/infer"


@st.composite
def _bytes(draw: st.DrawFn, model: str) -> Case:
    kind = draw(st.sampled_from(KINDS))
    return Case("bytes", draw(_paths(model)), {"Content-Type": kind}, draw(st.binary(max_size=400)))


@st.composite
def _image(draw: st.DrawFn, model: str) -> Case:
    return draw(_upload("image", draw(mutated()), model))


@st.composite
def _dimensions(draw: st.DrawFn, model: str) -> Case:
    return draw(_upload("dimensions", draw(claiming()), model))


@st.composite
def _upload(draw: st.DrawFn, kind: str, data: bytes, model: str) -> Case:
    """`data` sent as each endpoint wants it."""
    path = draw(_paths(model))
    if path == _infer(model):
        size = {"binary_data_size": len(data) + 4}
        head = {"name": "encoded", "datatype": "BYTES", "shape": [1], "parameters": size}
        text = json.dumps({"inputs": [head]}).encode()
        length = {"Inference-Header-Content-Length": str(len(text))}
        return Case(kind, path, length, text + _prefixed(data))
    if path == "/classify" and draw(st.booleans()):
        return Case(kind, path, {"Content-Type": "image/png"}, data)
    body, headers = form(data, "image" if path == "/classify" else "images")
    return Case(kind, path, headers, body)


@st.composite
def _multipart(draw: st.DrawFn, model: str) -> Case:
    kind = draw(st.sampled_from(KINDS[:4]))
    return Case("multipart", draw(_paths(model)), {"Content-Type": kind}, draw(multipart()))


@st.composite
def _options(draw: st.DrawFn, _: str) -> Case:
    value = draw(st.text(max_size=20) | st.floats().map(str) | st.integers().map(str))
    query = {"tta": "custom", "boxes": "0,0,1,1", draw(st.sampled_from(OPTIONS)): value}
    body, headers = form(REAL["PNG"])
    return Case("options", f"/classify?{urlencode(query, errors='replace')}", headers, body)


@st.composite
def _json(draw: st.DrawFn, model: str) -> Case:
    valid = JSON_VALUES.map(lambda value: json.dumps(value).encode())
    body = draw(valid | st.binary(max_size=80) | st.sampled_from(BROKEN_JSON))
    return Case("json", _infer(model), {"Content-Type": "application/json"}, body)


@st.composite
def _tensor(draw: st.DrawFn, model: str) -> Case:
    body, headers = draw(tensor())
    return Case("tensor", _infer(model), headers, body)


@st.composite
def _packed(draw: st.DrawFn, model: str) -> Case:
    plain = draw(st.binary(max_size=200) | st.just(b""))
    bomb = draw(st.sampled_from([False, False, False, True]))
    pack = draw(st.sampled_from([gzip.compress, zlib.compress]))
    body = pack(bytes(30_000_000) if bomb else plain) if draw(st.booleans()) else plain
    body = body[: draw(st.just(len(body)) | st.integers(0, len(body)))]
    coding = draw(st.sampled_from(["gzip", "deflate", "br", "gzip, gzip", "é", "identity"]))
    headers = {"Content-Encoding": coding, "Content-Type": draw(st.sampled_from(KINDS))}
    return Case("packed", draw(_paths(model)), headers, body)


@st.composite
def _reload(draw: st.DrawFn, _: str) -> Case:
    key = draw(st.sampled_from(["", "wrong", "é", "x" * 5000, ADMIN_KEY]))
    return Case("reload", "/models/reload", {"X-API-Key": key}, draw(st.binary(max_size=100)))


DRAW: dict[str, Callable[[str], SearchStrategy[Case]]] = {
    "bytes": _bytes,
    "image": _image,
    "dimensions": _dimensions,
    "multipart": _multipart,
    "options": _options,
    "json": _json,
    "tensor": _tensor,
    "packed": _packed,
    "reload": _reload,
}


def cases(model: str) -> SearchStrategy[Case]:
    """One request of any kind, for a server of `model` with the admin key `ADMIN_KEY`."""
    return st.one_of([draw(model) for draw in DRAW.values()])


def _paths(model: str) -> SearchStrategy[str]:
    return st.sampled_from(["/classify", "/classify_batch", _infer(model)])
