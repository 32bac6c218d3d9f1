"""Answers have the shapes that are documented, and BentoML's own client works."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.api.documentation import schemas
from service.api.documentation.openapi import openapi
from service.api.options import FIELDS
from tests.support.images import coloured, drawn, encoded

PHOTO = encoded(drawn(140, 190, seed=1))


@pytest.mark.parametrize("tta", ["none", "five_crop", "dense", "adaptive", "custom"])
def test_the_fullest_answer_has_the_documented_shape(client: httpx.Client, tta: str) -> None:
    query = {"tta": tta, "include": "views,heatmap,timing", "coverage": "0.95"}
    if tta == "custom":
        query["boxes"] = "0,0,0.5,0.5;0.25,0.25,1,1,flip"
    response = client.post("/classify", params=query, files={"image": PHOTO})
    answer = schemas.ClassifyAnswer.model_validate_json(response.content, strict=True)
    assert answer.image == schemas.ImageSize(width_px=190, height_px=140)
    assert answer.views is not None
    assert len(answer.views) == {"five_crop": 5, "dense": 5, "custom": 2}.get(
        tta, len(answer.views)
    )
    for view in answer.views:
        left, top, right, bottom = view.box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
    classes = answer.prediction_set_classes
    assert classes is not None
    assert [one.label for one in classes] == answer.prediction_set
    assert classes[0] == answer.predictions[0]
    assert answer.heatmap is not None
    assert answer.heatmap.png_base64 is not None
    assert answer.timing_ms.batch_views


def test_the_heat_map_as_a_picture_and_as_numbers(client: httpx.Client) -> None:
    import base64
    import io

    import numpy as np
    from PIL import Image

    half = np.concatenate([coloured("red", 96, 96), coloured("blue", 96, 192)], axis=1)
    query = {"tta": "five_crop", "include": "heatmap"}
    files = {"image": encoded(half)}
    heatmap = client.post("/classify", params=query, files=files).json()["heatmap"]
    with Image.open(io.BytesIO(base64.b64decode(heatmap["png_base64"]))) as overlay:
        assert overlay.mode == "RGBA"
        assert overlay.width == 3 * overlay.height
    query["heatmap"] = "numbers"
    values = client.post("/classify", params=query, files=files).json()["heatmap"]["values"]
    columns = np.array(values).mean(0)
    assert columns[0] < 0.1  # the red third is not where the blue was seen
    assert columns[-1] > 0.9


def test_every_error_has_the_documented_shape(client: httpx.Client) -> None:
    for response in (
        client.post("/classify"),
        client.post("/classify", files={"image": b"?"}),
        client.post("/classify?tta=x", files={"image": PHOTO}),
        client.post("/models/reload"),
        client.get("/models/none"),
        client.get("/none"),
        client.put("/classify"),
    ):
        schemas.ErrorAnswer.model_validate_json(response.content, strict=True)
        assert 400 <= response.status_code < 500


def test_lists_and_batches_have_the_documented_shape(client: httpx.Client) -> None:
    schemas.ModelList.model_validate_json(client.get("/models").content, strict=True)
    schemas.ModelDetail.model_validate_json(client.get("/models/tiny").content, strict=True)
    files = [("images", ("a", PHOTO)), ("images", ("b", b"?"))]
    response = client.post("/classify_batch", files=files)
    schemas.BatchAnswer.model_validate_json(response.content, strict=True)


def test_the_document_names_every_route_and_option(client: httpx.Client) -> None:
    served = client.get("/docs.json").json()
    assert served["openapi"].startswith("3.1")
    assert set(served["paths"]) == set(openapi()["paths"])
    query = served["paths"]["/classify"]["post"]["parameters"]
    assert {one["name"] for one in query if one["in"] == "query"} == set(FIELDS)
    text = str(served)
    for reference in re.findall(r"#/components/schemas/(\w+)", text):
        assert reference in served["components"]["schemas"]


def test_the_client_of_bentoml_works(client: httpx.Client, red: Path) -> None:
    # In a process of its own: importing bentoml warns, and warnings are errors here.
    script = f"""
import bentoml
from pathlib import Path
with bentoml.SyncHTTPClient({str(client.base_url)!r}) as client:
    one = client.classify(image=Path({str(red)!r}), tta="dense", top_k=2)
    assert one["label"] == "red" and one["tta"] == "dense" and len(one["predictions"]) == 2, one
    plain = client.classify(image=Path({str(red)!r}))
    assert plain["label"] == "red", plain
    many = client.classify_batch(images=[Path({str(red)!r})] * 3, include="views")
    assert [r["label"] for r in many["results"]] == ["red"] * 3, many
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.endswith("fine\n"), done.stderr


def test_bentoml_s_clients_are_told_of_every_option(client: httpx.Client) -> None:
    routes = {r["name"]: r["input"] for r in client.get("/schema.json").json()["routes"]}
    for name, images in (("classify", "image"), ("classify_batch", "images")):
        assert set(routes[name]["properties"]) == {images, *FIELDS}
        assert routes[name]["required"] == [images]
