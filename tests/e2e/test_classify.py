"""`POST /classify`, over real HTTP."""

from pathlib import Path

import httpx
import numpy as np
import pytest

from service.inference.predictor import Predictor
from tests.support.images import coloured, drawn, encoded


def post(client: httpx.Client, data: bytes, **query: str) -> httpx.Response:
    return client.post("/classify", params=query, files={"image": ("photo", data)})


@pytest.mark.parametrize("colour", ["red", "green", "blue"])
@pytest.mark.parametrize("tta", ["none", "five_crop", "ten_crop", "dense", "adaptive"])
def test_every_mode_finds_the_class(client: httpx.Client, colour: str, tta: str) -> None:
    response = post(client, encoded(coloured(colour)), tta=tta)
    body = response.json()
    assert response.status_code == 200, body
    assert body["label"] == colour
    assert body["name"] == colour.title()
    assert body["model"] == "tiny@1"
    assert body["precision"] == "int8"
    assert body["tta"] == body["tta_applied"] == body["tta_requested"] == tta
    assert body["predictions"][0]["label"] == colour
    assert sum(p["probability"] for p in body["predictions"]) == pytest.approx(1)
    assert set(body["timing_ms"]) == {"decode", "queue", "inference", "total"}
    assert response.headers["x-request-id"] == body["request_id"]


def test_the_answer_is_the_library_s(client: httpx.Client, package: Path) -> None:
    data = encoded(drawn(150, 211, seed=3))
    body = post(client, data, tta="five_crop", top_k="3").json()
    predictor = Predictor.from_package(package, precision="int8", provider="cpu")
    (expected,) = predictor.classify([data], "five_crop", top_k=3)
    assert [p["label"] for p in body["predictions"]] == [top.id for top in expected.top]
    for got, top in zip(body["predictions"], expected.top, strict=True):
        assert got["probability"] == pytest.approx(top.probability, abs=1e-6)


@pytest.mark.parametrize("tta", ["none", "five_crop", "ten_crop", "dense", "adaptive"])
def test_views_are_as_sure_as_their_answer(client: httpx.Client, tta: str) -> None:
    same = np.full((100, 130, 3), (100, 104, 112), np.uint8)  # every view sees the same
    body = post(client, encoded(same), tta=tta, include="views").json()
    for view in body["views"]:
        assert view["label"] == body["label"]
        assert view["probability"] == pytest.approx(body["probability"], abs=1e-4)


def test_options_may_be_form_fields(client: httpx.Client, red: Path) -> None:
    form = {"tta": "dense", "top_k": "2"}
    files = {"image": ("red.png", red.read_bytes())}
    body = client.post("/classify", data=form, files=files).json()
    assert body["tta"] == "dense"
    assert len(body["predictions"]) == 2


def test_a_raw_body_is_an_image(client: httpx.Client, red: Path) -> None:
    response = client.post(
        "/classify?tta=none", content=red.read_bytes(), headers={"content-type": "image/png"}
    )
    assert response.json()["label"] == "red"


def test_the_curl_of_the_readme(server: object, client: httpx.Client, red: Path) -> None:
    import subprocess

    url = f"{client.base_url}/classify?tta=five_crop"
    done = subprocess.run(
        ["curl", "-sS", "-F", f"image=@{red}", url], capture_output=True, text=True, check=True
    )
    assert '"label":"red"' in done.stdout


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "bad_image"),
        (b"no image at all", 422, "bad_image"),
        (encoded(coloured("red"))[:200], 422, "bad_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", 415, None),
    ],
    ids=["empty", "text", "cut short", "postscript"],
)
def test_what_is_no_image_is_the_sender_s_fault(
    client: httpx.Client, data: bytes, status: int, code: str | None
) -> None:
    response = post(client, data)
    error = response.json()["error"]
    assert response.status_code == status
    assert error["type"] == "client_error"
    assert code is None or error["code"] == code
    assert error["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("query", "mentions"),
    [
        ({"tta": "five-crop"}, "five_crop"),
        ({"ttta": "five_crop"}, "did you mean 'tta'"),
        ({"top_k": "0"}, "from 1"),
        ({"top_k": "²"}, "whole number"),
        ({"coverage": "0.123"}, "coverage"),
        ({"coverage": "nan"}, "coverage"),
        ({"tta": "custom"}, "boxes"),
        ({"tta": "custom", "boxes": "0,0,2,2"}, "box"),
        ({"boxes": "0,0,1,1"}, "custom"),
        ({"heatmap": "numbers"}, "include=heatmap"),
        ({"tta": "custom", "boxes": "0,0,1,1.0000001"}, "1.0000001"),
        ({"gate_cost": "1"}, "adaptive"),
        ({"include": "everything"}, "heatmap"),
    ],
)
def test_a_senseless_option_is_named(
    client: httpx.Client, red: Path, query: dict[str, str], mentions: str
) -> None:
    response = post(client, red.read_bytes(), **query)
    assert response.status_code == 400
    assert mentions in response.json()["error"]["message"]


def test_a_url_is_never_fetched(client: httpx.Client) -> None:
    response = client.post("/classify", data={"image": "http://127.0.0.1:1/photo.jpg"})
    assert response.status_code == 415  # urlencoded is not an image
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
        b"http://127.0.0.1:1/photo.jpg\r\n--x--\r\n"
    )
    response = client.post(
        "/classify", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert response.status_code == 400
    assert "never fetched" in response.json()["error"]["message"]


def test_unknown_paths_and_methods_answer_in_json(client: httpx.Client) -> None:
    nowhere = client.get("/nowhere").json()["error"]
    assert nowhere["code"] == "not_found"
    assert "GET '/nowhere'" in nowhere["message"]
    wrong = client.get("/classify")
    assert wrong.status_code == 405
    assert wrong.json()["error"]["code"] == "method_not_allowed"
    assert wrong.headers["allow"] == "POST"
    assert "GET '/classify'; allowed: POST" in wrong.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/schema.json", "/docs.json"])
def test_paths_of_machines_answer_other_methods_as_all_paths_do(
    client: httpx.Client, path: str
) -> None:
    for method in ("POST", "DELETE", "PATCH"):
        wrong = client.request(method, path)
        assert wrong.status_code in (404, 405)
        assert wrong.json()["error"]["request_id"] == wrong.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/models/x%0d%0aSet-Cookie:%20a", "/models/%1b%5b31m", "/%00"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_no_path_gets_into_a_header(client: httpx.Client, path: str, slash: str) -> None:
    answer = client.get(path + slash)
    assert answer.status_code in (404, 307)
    assert "set-cookie" not in answer.headers
    assert answer.headers.get("location", "").isprintable()


def test_health(client: httpx.Client) -> None:
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200
