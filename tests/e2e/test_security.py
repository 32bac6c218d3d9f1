"""Keys, limits, headers."""

import http.client
import io
import struct
import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.support.images import coloured, drawn, encoded
from tests.support.server import Server, serving
from tests.support.tiny import tiny_package

PHOTO = encoded(coloured("red"))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("locked")
    keys = folder / "keys"
    keys.write_text("from-the-file\n")
    with serving(
        [tiny_package(folder / "tiny")],
        folder,
        api_keys="first,second",
        api_keys_file=str(keys),
        metrics_need_key="true",
        max_request_bytes="100000",
        max_pixels="40000",
    ) as server:
        yield server


@pytest.mark.parametrize("key", ["first", "second", "from-the-file"])
def test_each_key_opens(locked: Server, key: str) -> None:
    for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
        response = httpx.post(f"{locked.url}/classify", files={"image": PHOTO}, headers=headers)
        assert response.status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "firs"}, {"Authorization": "Basic first"}])
@pytest.mark.parametrize("path", ["/classify", "/classify_batch", "/models", "/metrics"])
def test_without_a_key_everything_but_health_is_closed(
    locked: Server, path: str, headers: dict[str, str]
) -> None:
    method = "POST" if path.startswith("/classify") else "GET"
    response = httpx.request(method, locked.url + path, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "unauthorized"
    assert httpx.get(f"{locked.url}/livez").status_code == 200
    assert httpx.get(f"{locked.url}/readyz").status_code == 200


def test_reload_is_closed_where_no_admin_key_is_set(locked: Server) -> None:
    response = httpx.post(f"{locked.url}/models/reload", headers={"X-API-Key": "first"})
    assert response.status_code == 401
    assert "QUINCUNX_ADMIN_KEYS" in response.json()["error"]["message"]


def test_a_connection_outlives_a_refusal_that_came_before_its_body(locked: Server) -> None:
    connection = http.client.HTTPConnection(locked.url.removeprefix("http://"), timeout=30)
    try:
        for _ in range(2):
            connection.request("POST", "/classify", body=b"x" * 5_000_000)  # no key
            response = connection.getresponse()
            assert response.status == 401
            response.read()
            headers = {"X-API-Key": "first", "Content-Type": "image/png"}
            connection.request("POST", "/classify", body=PHOTO, headers=headers)
            response = connection.getresponse()
            assert response.status == 200
            response.read()
    finally:
        connection.close()


def classify(server: Server, data: bytes) -> httpx.Response:
    headers = {"X-API-Key": "first"}
    return httpx.post(f"{server.url}/classify", files={"image": data}, headers=headers)


def test_too_many_bytes_are_refused_whether_declared_or_not(locked: Server) -> None:
    assert classify(locked, b"x" * 200_000).status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 10_000

    headers = {"X-API-Key": "first", "Content-Type": "image/png"}
    response = httpx.post(f"{locked.url}/classify", content=chunks(), headers=headers)
    assert response.status_code == 413
    assert "QUINCUNX_MAX_REQUEST_BYTES" in response.json()["error"]["message"]


def test_too_many_pixels_are_refused(locked: Server) -> None:
    response = classify(locked, encoded(drawn(210, 200), "JPEG"))
    assert response.status_code == 413
    assert "QUINCUNX_MAX_PIXELS" in response.json()["error"]["message"]


def png_bomb(side_px: int) -> bytes:
    """A PNG of 1 kB that claims side × side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1_000_000, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(client: httpx.Client) -> None:
    response = client.post("/classify", files={"image": png_bomb(60_000)})
    assert response.status_code == 413
    assert "60000×60000 px (3600 MP); the limit is 50 MP" in response.json()["error"]["message"]


def test_a_heat_map_of_a_ribbon_is_refused(client: httpx.Client) -> None:
    ribbon = {"image": encoded(coloured("red", 96, 9000))}
    response = client.post("/classify?include=heatmap&tta=five_crop", files=ribbon)
    assert response.status_code == 400
    assert "the limit is 32" in response.json()["error"]["message"]
    assert client.post("/classify?tta=five_crop", files=ribbon).json()["label"] == "red"


def test_no_pickle_and_no_other_type_is_read(client: httpx.Client) -> None:
    import pickle

    for kind in ("application/vnd.bentoml+pickle", "application/json", "text/plain"):
        response = client.post(
            "/classify", content=pickle.dumps({}), headers={"content-type": kind}
        )
        assert response.status_code == 415


def test_a_request_id_is_kept_when_safe_and_replaced_when_not(client: httpx.Client) -> None:
    kept = client.get("/models", headers={"X-Request-Id": "abc-123"})
    assert kept.headers["x-request-id"] == "abc-123"
    for bad in ("a b", "x" * 65, "<script>"):
        made = client.get("/models", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert made != bad
        assert len(made) == 32


def test_answers_say_that_they_are_what_they_claim(client: httpx.Client) -> None:
    response = client.post("/classify", files={"image": PHOTO})
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"


def test_gif_first_frame_and_exif_orientation(client: httpx.Client) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    red, blue = (Image.fromarray(coloured(c)) for c in ("red", "blue"))
    red.save(buffer, "GIF", save_all=True, append_images=[blue])
    response = client.post("/classify", files={"image": buffer.getvalue()})
    assert response.json()["label"] == "red"
