"""An answer does not depend on the images that share its batches, nor on the way in.

200 mates of other sizes and classes surround a few copies of one image: over HTTP, over the Open
Inference Protocol, in scoring and from Python.
"""

import asyncio
import random
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.inference.image.geometry import FractionBox
from service.inference.predictor import Predictor
from service.package.manifest import Mode
from service.scoring import score
from tests.support.app import Running, in_process
from tests.support.images import drawn, encoded

COPIES = 8
MATES = 200
SUBJECT = encoded(drawn(130, 170, seed=7))
BOXES = (FractionBox(0, 0, 0.5, 0.75), FractionBox(0.25, 0.1, 1, 1, flip=True))
BOXES_TEXT = "0,0,0.5,0.75;0.25,0.1,1,1,flip"
# Sums of floats are rounded otherwise in batches of another size.
ROUNDING = 1e-6

Crowd = dict[str, bytes]
Answers = dict[str, NDArray[np.floating[Any]]]


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    """Names to files: the copies of the subject among the mates, shuffled."""
    pick = random.Random(0)
    files = {
        f"mate-{i}": encoded(drawn(pick.randrange(70, 200), pick.randrange(70, 260), seed=100 + i))
        for i in range(MATES)
    }
    files |= {f"subject-{i}": SUBJECT for i in range(COPIES)}
    names = list(files)
    pick.shuffle(names)
    return {name: files[name] for name in names}


@pytest.fixture(scope="module")
def folder(crowd: Crowd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("crowd")
    for name, data in crowd.items():
        (made / f"{name}.png").write_bytes(data)
    return made


@pytest.mark.parametrize("tta", get_args(Mode))
async def test_mates_and_ways_in_change_no_answer(
    package: Path, predictor: Predictor, crowd: Crowd, folder: Path, tta: Mode
) -> None:
    boxes = BOXES if tta == "custom" else ()
    alone = predictor.classify([SUBJECT], tta, boxes=boxes)[0].answer.probabilities

    together = predictor.classify(list(crowd.values()), tta, boxes=boxes)
    python = {name: item.answer.probabilities for name, item in zip(crowd, together, strict=True)}
    scored: Answers = {}
    for row in score(folder, predictor, tta=tta, boxes=boxes, all_probabilities=True):
        assert row.probabilities is not None, row.error
        scored[Path(row.path).stem] = np.array(row.probabilities)
    http, protocol = await served(package, crowd, tta)

    for name in crowd:
        for answers in (scored, http, protocol):
            np.testing.assert_allclose(answers[name], python[name], rtol=0, atol=ROUNDING)
        if name.startswith("subject"):
            np.testing.assert_allclose(python[name], alone, rtol=0, atol=ROUNDING)


async def served(package: Path, crowd: Crowd, tta: Mode) -> tuple[Answers, Answers]:
    """Everybody at once over both protocols."""
    settings = {"precision": "fp32", "max_queue_views": 100_000, "request_timeout_ms": 3_600_000}
    async with in_process(package, **settings) as running:
        asks = [ask(running, data, tta) for ask in (over_http, over_oip) for data in crowd.values()]
        answers = await asyncio.gather(*asks)
    return dict(zip(crowd, answers, strict=False)), dict(
        zip(crowd, answers[len(crowd) :], strict=True)
    )


async def over_http(running: Running, data: bytes, tta: Mode) -> NDArray[np.float64]:
    query = {"tta": tta, "top_k": "100"} | ({"boxes": BOXES_TEXT} if tta == "custom" else {})
    response = await running.client.post("/classify", params=query, files={"image": data})
    predictions = _checked(response)["predictions"]
    return np.array([p["probability"] for p in sorted(predictions, key=lambda p: p["index"])])


async def over_oip(running: Running, data: bytes, tta: Mode) -> NDArray[np.float64]:
    options = {"tta": tta} | ({"boxes": BOXES_TEXT} if tta == "custom" else {})
    size = {"binary_data_size": len(data) + 4}
    entry = {"name": "encoded", "datatype": "BYTES", "shape": [1], "parameters": size}
    request = httpx.Request("POST", "http://x", json={"inputs": [entry], "parameters": options})
    length = {"Inference-Header-Content-Length": str(len(request.content))}
    body = request.content + len(data).to_bytes(4, "little") + data
    response = await running.client.post("/v2/models/tiny/infer", content=body, headers=length)
    return np.array(_checked(response)["outputs"][0]["data"])


def _checked(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()
