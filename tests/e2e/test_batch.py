"""`POST /classify_batch`: one result or error each, in order."""

import httpx
import pytest

from tests.support.images import coloured, encoded


def test_results_are_in_order_and_a_bad_image_fails_alone(client: httpx.Client) -> None:
    colours = ["red", "blue", "green", "red"]
    files = [("images", (c, encoded(coloured(c, seed=i)))) for i, c in enumerate(colours)]
    files.insert(2, ("images", ("broken", b"GIF89a nothing")))
    response = client.post("/classify_batch", params={"tta": "dense"}, files=files)
    body = response.json()
    assert response.status_code == 200
    assert body["model"] == "tiny@1"
    assert [r.get("label") for r in body["results"]] == ["red", "blue", None, "green", "red"]
    error = body["results"][2]["error"]
    assert error["code"] == "bad_image"
    assert error["request_id"] == body["request_id"]


def test_each_result_equals_the_answer_alone(client: httpx.Client) -> None:
    images = [encoded(coloured("green", 100 + 7 * i, 140, seed=i)) for i in range(6)]
    files = [("images", (str(i), data)) for i, data in enumerate(images)]
    results = client.post("/classify_batch?tta=five_crop", files=files).json()["results"]
    for data, result in zip(images, results, strict=True):
        alone = client.post("/classify?tta=five_crop", files={"image": data}).json()
        assert result["probability"] == pytest.approx(alone["probability"], abs=1e-6)


def test_too_many_images_are_refused(client: httpx.Client) -> None:
    files = [("images", (str(i), b"x")) for i in range(65)]
    response = client.post("/classify_batch", files=files)
    assert response.status_code == 413
    assert "QUINCUNX_MAX_IMAGES" in response.json()["error"]["message"]


def test_no_image_and_the_wrong_field_are_errors(client: httpx.Client) -> None:
    data = encoded(coloured("red"))
    wrong = client.post("/classify_batch", files={"image": data})
    assert wrong.status_code == 400
    assert "'images'" in wrong.json()["error"]["message"]
    two = client.post("/classify", files=[("image", ("a", data)), ("image", ("b", data))])
    assert two.status_code == 400
    assert "got 2" in two.json()["error"]["message"]
