"""`quincunx.Client` and `AsyncClient`: results, errors and arguments."""

import inspect
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import quincunx
from quincunx import errors
from service.api.options import FIELDS, read_options
from service.client.answers import Health
from service.client.arguments import form_fields
from service.client.images import file_bytes
from service.client.requests import feedback_call
from service.inference.decode import decode
from service.inference.image.geometry import FractionBox
from tests.support.app import in_process
from tests.support.images import coloured, drawn, encoded
from tests.support.tiny import tiny_package


def client_of(answer: Callable[[httpx.Request], httpx.Response], **more: Any) -> quincunx.Client:
    return quincunx.Client("http://test", transport=httpx.MockTransport(answer), **more)


def refusing(status: int, code: str, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    detail = {"type": "client_error", "code": code, "message": "said", "request_id": "r1"}
    return lambda _: httpx.Response(status, json={"error": detail}, headers=headers)


async def test_the_asynchronous_client_gets_typed_answers_from_the_real_routes(
    tmp_path: Path,
) -> None:
    red = tmp_path / "red.png"
    red.write_bytes(encoded(coloured("red")))
    images = [red, str(red), red.read_bytes(), coloured("red"), Image.open(red), b"no image"]
    async with in_process(tiny_package(tmp_path / "tiny"), max_images=6) as running:
        transport = httpx.ASGITransport(running.client._transport.app)  # type: ignore
        async with quincunx.AsyncClient("http://test", transport=transport) as client:
            answer = await client.classify(red, tta="five_crop", coverage=0.95, top_k=2)
            assert (answer.name, answer.tta_applied, len(answer.predictions)) == (
                "Red", "five_crop", 2,
            )  # fmt: skip
            assert answer.prediction_set_classes is not None
            assert answer.prediction_set_classes[0].name == "Red"
            results = await client.classify_batch(images, tta="none")
            for one in results[:-1]:
                assert not isinstance(one, errors.QuincunxError)
                assert one.probability == pytest.approx(results[0].probability)  # type: ignore
            assert isinstance(results[-1], errors.BadImage)
            with pytest.raises(errors.TooLarge, match="QUINCUNX_MAX_IMAGES"):
                await client.classify_batch([*images, red])
            (model,) = await client.models()
            assert [label.name for label in (await client.model(model.model)).labels] == [
                "Red", "Green", "Blue",
            ]  # fmt: skip
            with pytest.raises(errors.UnknownModel):
                await client.model("a/b?c")
            assert await client.health() == await client.health()
            assert (await client.health()).ready


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (422, "image_too_small", errors.ImageTooSmall),
        (404, "unknown_model", errors.UnknownModel),
        (504, "deadline_exceeded", errors.DeadlineExceeded),
        (413, "of_a_newer_server", errors.TooLarge),
        (418, "of_a_newer_server", errors.ClientError),
        (500, "internal_error", errors.InferenceFailed),
        (502, "of_a_newer_server", errors.ServerError),
    ],
)
def test_an_error_has_the_class_of_its_code_or_of_its_status(
    status: int, code: str, kind: type[Exception]
) -> None:
    with client_of(refusing(status, code)) as client, pytest.raises(kind, match="said") as got:
        client.models()
    assert type(got.value) is kind
    assert ("r1" in str(got.value)) == (status >= 500)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(404, text="nginx"),
        httpx.Response(302, text=""),
        httpx.Response(200, json={"models": [{}]}),
    ],
)
def test_an_answer_that_is_not_of_quincunx_says_so(response: httpx.Response) -> None:
    client = client_of(lambda _: response)
    with client, pytest.raises(errors.Unreachable, match="not as"):
        client.models()


def test_fields_of_a_newer_server_are_ignored() -> None:
    with client_of(lambda _: httpx.Response(200, json={"models": [], "new": 1})) as client:
        assert client.models() == []


def test_no_server_is_an_error_with_the_address_and_health_says_it() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with client_of(fail) as client:
        with pytest.raises(errors.Unreachable, match=r"http://test.*connection refused"):
            client.models()
        health = client.health()
        assert (health.live, health.ready) == (False, False)
        assert "connection refused" in health.reason


def test_the_key_is_sent() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        return httpx.Response(200, json={"models": []})

    with client_of(answer, key="secret") as client:
        client.models()


def test_wrong_options_are_refused_before_anything_is_sent() -> None:
    with client_of(refusing(500, "never_called")) as client:
        for options, message in (
            ({"ttta": "none"}, "did you mean 'tta'"),
            ({"tta": "five"}, "tta must be one of"),
            ({"top_k": 0}, "top_k must be a whole number"),
            ({"boxes": "0,0,1"}, "boxes must be"),
            ({"include": "view"}, "include takes"),
            ({"include": ["view"]}, "include must be some of views, heatmap.*mean 'views'"),
            ({"include": [1]}, "include must be some of views, heatmap"),
        ):
            with pytest.raises(errors.UsageError, match=message):
                client.classify(b"", **options)
        with pytest.raises(errors.UsageError, match="name must be"):
            client.model("")
        with pytest.raises(errors.UsageError, match="at least one image"):
            client.classify_batch([])


@pytest.mark.parametrize(
    "one",
    [
        "photo.jpg",
        Path("photo.jpg"),
        b"",
        Image.new("RGB", (64, 64)),
        coloured("red"),
        coloured("red")[..., 0],
        None,
        3,
    ],
)
def test_one_image_is_no_batch(one: Any) -> None:
    """The rows of an image of 64 pixels would be 64 images."""
    client = client_of(refusing(500, "never_called"))
    with client, pytest.raises(errors.UsageError, match="use classify"):
        client.classify_batch(one)


async def test_a_closed_client_says_so() -> None:
    client = client_of(refusing(500, "never_called"))
    client.close()
    with pytest.raises(errors.UsageError, match="closed"):
        client.models()
    assert client.health() == Health(live=False, ready=False, reason="this client is closed")
    other = quincunx.AsyncClient("http://test")
    await other.close()
    with pytest.raises(errors.UsageError, match="closed"):
        await other.models()


def test_messages_do_not_show_a_password() -> None:
    text = httpx.Response(200, text="hello")
    with (
        quincunx.Client(
            "http://me:secret@test/x", transport=httpx.MockTransport(lambda _: text)
        ) as client,
        pytest.raises(errors.Unreachable, match="http://test/x/models") as caught,
    ):
        client.models()
    assert "secret" not in str(caught.value)
    with pytest.raises(errors.Unreachable, match=r"http://127\.0\.0\.1:1:") as caught:
        quincunx.Client("http://me:secret@127.0.0.1:1").models()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "localhost:3000"},
        {"url": "ftp://a"},
        {"timeout_s": 0},
        {"url": ""},
        {"url": "http://a/?x=1"},
        {"url": "http://a#b"},
        {"url": None},
        {"url": b"http://a"},
    ],
)
def test_wrong_settings_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(errors.UsageError, match=next(iter(arguments))):
        quincunx.Client(**arguments)


def test_numbers_of_numpy_are_numbers() -> None:
    assert form_fields({"top_k": np.int64(2), "coverage": np.float64(0.95)}) == {
        "top_k": "2", "coverage": "0.95",
    }  # fmt: skip
    call = feedback_call("id", None, np.uint8(3), np.bool_(False), None, np.int32(1))  # type: ignore
    assert call.json == {"index": 3, "image": 1, "foreign": False, "request_id": "id"}
    with pytest.raises(errors.UsageError, match="feedback cannot hold a PosixPath"):
        feedback_call("id", Path("red"), None, False, None, 0)  # type: ignore


def test_the_signature_shows_every_option_of_the_server() -> None:
    for kind in (quincunx.Client, quincunx.AsyncClient):
        for method in (kind.classify, kind.classify_batch):
            assert set(FIELDS) <= set(inspect.signature(method).parameters)


def test_options_arrive_as_they_were_given() -> None:
    options: dict[str, Any] = {
        "tta": "custom",
        "aggregate": "max",
        "coverage": 0.95,
        "gate_cost": None,
        "known_rate": 0.9,
        "boxes": (FractionBox(0, 0.1, 1 / 3, 1), FractionBox(1e-7, 0, 1, 1, flip=True)),
        "top_k": 3,
        "include": ["views", "timing"],
        "heatmap": "numbers",
        "model": "other@2",
    }
    assert set(options) == set(FIELDS)
    got = read_options([], form_fields(options))
    assert got == type(got)(**{**options, "gate_cost": None})
    text = form_fields({"boxes": "0,0,1,1,flip", "include": "views, timing"})
    assert text == {"boxes": "0.0,0.0,1.0,1.0,flip", "include": "timing,views"}


def test_pixels_are_sent_without_loss() -> None:
    pixels = drawn(40, 50)
    for image in (pixels, Image.fromarray(pixels)):
        assert (decode(file_bytes(image)) == pixels).all()
    grey = pixels[..., 0]
    assert (decode(file_bytes(grey)) == grey[..., None]).all()


def test_a_picture_is_turned_as_its_file_would_be() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(drawn(40, 50), "PNG", exif=exif)
    with Image.open(io.BytesIO(file)) as image:
        assert (decode(file_bytes(image)) == decode(file)).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        Image.new("CMYK", (4, 4)),
        7,
    ],
)
def test_other_images_are_refused(image: object) -> None:
    with pytest.raises(errors.UsageError, match=r"but got|cannot be sent"):
        file_bytes(image)


def test_feedback_about_an_answer_without_the_id_of_its_request_says_what_to_send() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing is sent")

    with client_of(answer) as client, pytest.raises(errors.UsageError, match="request_id and im"):
        client.feedback({"request_id": "a"}, label="red")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["http://xn--a.com", f"http://{'a' * 64}.example", "http://a..b", "http://a\0b"]
)
def test_a_name_that_cannot_be_looked_up_is_refused(url: str) -> None:
    with pytest.raises(errors.UsageError, match="url must be like"):
        quincunx.Client(url)


@pytest.mark.parametrize("key", ["two\nlines", "a b", "\u043a\u043b\u044e\u0447"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(errors.UsageError, match="key: a key") as got:
        quincunx.Client(key=key)
    assert key not in str(got.value)
