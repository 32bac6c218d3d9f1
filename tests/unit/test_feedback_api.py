"""`POST /feedback`, in this process."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.documentation.schemas import FeedbackAnswer
from service.errors import UsageError
from service.feedback.reading import read_feedback
from service.settings import Settings
from tests.support.app import in_process
from tests.support.embedded import FOREIGN, KNOWN, unknown_package
from tests.support.images import coloured, encoded
from tests.support.tiny import tiny_package

RED = encoded(coloured("red"))


@pytest.fixture(scope="module", name="package")
def _package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(tmp_path_factory.mktemp("tiny") / "tiny")


async def classified(client: httpx.AsyncClient, query: str = "") -> dict[str, Any]:
    got = await client.post(f"/classify{query}", files={"image": RED})
    return got.raise_for_status().json()


async def sent(client: httpx.AsyncClient, **body: object) -> httpx.Response:
    return await client.post("/feedback", json=body)


async def test_off_by_default_and_the_answer_names_the_setting(package: Path) -> None:
    async with in_process(package) as running:
        got = await sent(running.client, request_id="x")
    assert got.status_code == 404
    assert got.json()["error"]["code"] == "feedback_off"
    assert "QUINCUNX_FEEDBACK_FOLDER" in got.json()["error"]["message"]


def test_an_empty_setting_is_off() -> None:
    assert Settings.from_environment({"QUINCUNX_FEEDBACK_FOLDER": ""}).feedback_folder is None


async def test_every_kind_of_feedback_is_stored_with_its_answer(
    package: Path, tmp_path: Path
) -> None:
    async with in_process(package, feedback_folder=tmp_path) as running:
        client = running.client
        answer = await classified(client, "?tta=dense")
        outcomes = []
        for said in (
            {"label": "red"}, {"label": "Red"}, {"index": 1}, {}, {"foreign": True, "note": "cat"},
        ):  # fmt: skip
            got = await sent(client, request_id=answer["request_id"], **said)
            shown = FeedbackAnswer.model_validate_json(got.raise_for_status().content)
            outcomes.append((shown.outcome, shown.label, shown.predicted, shown.source))
        metrics = (await client.get("/metrics")).text
    red = ("right", "red", "red", "server")
    assert outcomes == [
        red, red, ("wrong", "green", "red", "server"), ("wrong", None, "red", "server"),
        ("wrong", None, "red", "server"),
    ]  # fmt: skip
    assert 'quincunx_feedback_total{outcome="right"} 2.0' in metrics
    assert 'quincunx_feedback_total{outcome="wrong"} 3.0' in metrics
    (row,) = read_feedback(tmp_path)
    assert (row.foreign, row.note) == (True, "cat")
    assert row.answer is not None
    assert (row.answer.model, row.answer.tta, row.answer.precision) == ("tiny@1", "dense", "int8")
    assert row.answer.probability == pytest.approx(answer["probability"])
    assert row.answer.answered_s is not None


async def test_images_of_a_batch_and_of_the_protocol_are_told_apart(
    package: Path, tmp_path: Path
) -> None:
    blue = encoded(coloured("blue"))
    async with in_process(package, feedback_folder=tmp_path) as running:
        client = running.client
        files = [("images", RED), ("images", b"no image"), ("images", blue)]
        batch = (await client.post("/classify_batch", files=files)).json()
        predicted = [
            (await sent(client, request_id=batch["request_id"], image=at)).json()["predicted"]
            for at in range(3)
        ]
        pixels = coloured("blue")
        tensor = {
            "name": "images", "datatype": "UINT8", "shape": [1, *pixels.shape],
            "data": pixels.ravel().tolist(),
        }  # fmt: skip
        got = await client.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
        oip = await sent(client, request_id=got.raise_for_status().headers["x-request-id"])
    assert predicted == ["red", None, "blue"]
    assert oip.json()["predicted"] == "blue"


async def test_an_answer_that_is_not_remembered_may_be_sent_along(
    package: Path, tmp_path: Path
) -> None:
    async with in_process(package, feedback_folder=tmp_path, feedback_answers=1) as running:
        client = running.client
        first, _ = await classified(client), await classified(client)
        alone = await sent(client, request_id=first["request_id"], label="anything")
        both = await sent(client, request_id=first["request_id"], label="Red", answer=first)
        index = await sent(client, request_id=first["request_id"], index=0)
        other = {**first, "model": "gone@7"}
        gone = await sent(client, request_id="gone", label="anything", answer=other)
        same = await sent(client, request_id="gone", label="red", answer=other)
    assert (alone.json()["outcome"], alone.json()["source"]) == ("unknown", None)
    assert (both.json()["outcome"], both.json()["source"]) == ("right", "client")
    assert index.status_code == 400
    # "anything" may be the name of class "red" in that model.
    assert (gone.json()["outcome"], gone.json()["model"]) == ("unknown", "gone@7")
    assert same.json()["outcome"] == "right"


async def test_what_the_server_remembers_counts_more_than_what_is_sent(
    package: Path, tmp_path: Path
) -> None:
    async with in_process(package, feedback_folder=tmp_path) as running:
        answer = await classified(running.client)
        forged = {**answer, "label": "blue"}
        got = await sent(
            running.client, request_id=answer["request_id"], label="blue", answer=forged
        )
    assert (got.json()["predicted"], got.json()["outcome"]) == ("red", "wrong")


async def test_several_labels_of_a_multi_label_model(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "multi", task="multi_label")
    async with in_process(package, feedback_folder=tmp_path / "log") as running:
        answer = await classified(running.client)
        present = [one["label"] for one in answer["labels"]]
        got = await sent(
            running.client, request_id=answer["request_id"], label=" ; ".join(present[::-1])
        )
        sent_along = {**answer, "request_id": "other"}
        along = await sent(running.client, request_id="other", label="red", answer=sent_along)
        more = await sent(running.client, request_id=answer["request_id"], label="red;blue;green")
        nothing = {**answer, "request_id": "none", "labels": []}
        outcomes = [
            (await sent(running.client, request_id="none", foreign=True, answer=one)).json()
            for one in (nothing, {**answer, "labels": ["red"]})
        ]
    assert got.json()["outcome"] == "right", got.json()
    assert along.json()["predicted"] == ";".join(sorted(present))
    assert more.json()["label"] == "blue;green;red"
    assert [one["outcome"] for one in outcomes] == ["right", "wrong"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "JSON"),
        (b"[]", "object"),
        (b'{"label": "red"}', "request_id"),
        (b'{"request_id": "a b"}', "request_id"),
        (b'{"request_id": "a", "lable": "red"}', "lable"),
        (b'{"request_id": "a", "label": 3}', "label"),
        (b'{"request_id": "a", "label": ""}', "label"),
        (b'{"request_id": "a", "label": "red", "foreign": true}', "label and foreign"),
        (b'{"request_id": "a", "label": "red", "index": 0}', "label and index"),
        (b'{"request_id": "a", "index": -1}', "index"),
        (b'{"request_id": "a", "note": "' + b"x" * 501 + b'"}', "note"),
        (b'{"request_id": "a", "note": "\xff"}', "body"),
        (b'{"request_id": "a", "image": 99999999999}', "image"),
        (b'{"request_id": "a", "answer": {"label": "red"}}', "answer.model"),
        (b'{"request_id": "a", "answer": {"model": "tiny", "label": "red"}}', "answer.model"),
        (b'{"request_id": "a", "answer": {"model": "tiny@1", "label": "Red"}}', "'Red' is not"),
        (
            b'{"request_id": "a", "answer": {"model": "tiny@1", "label": "red", "unknown":'
            b'{"score": NaN, "is_unknown": true, "known_rate": 0.9}}}',
            "answer.unknown.score",
        ),
        (b'{"request_id": "known", "label": "purple"}', "foreign: true"),
        (b'{"request_id": "known", "index": 3}', "below 3"),
    ],
)
async def test_a_wrong_body_is_refused_and_named(
    body: bytes, named: str, package: Path, tmp_path: Path
) -> None:
    async with in_process(package, feedback_folder=tmp_path) as running:
        await running.client.post(
            "/classify", files={"image": RED}, headers={"X-Request-Id": "known"}
        )
        got = await running.client.post("/feedback", content=body)
    assert got.status_code == 400
    assert named in got.json()["error"]["message"]
    assert list(tmp_path.iterdir()) == []


async def test_bodies_are_bounded_and_keys_are_asked_for(package: Path, tmp_path: Path) -> None:
    body = b'{"request_id": "a", "note": "' + b"x" * 70_000 + b'"}'
    async with in_process(package, feedback_folder=tmp_path, api_keys=("secret",)) as running:
        client = running.client
        assert (await client.post("/feedback", content=b"{}")).status_code == 401
        got = await client.post("/feedback", content=body, headers={"X-API-Key": "secret"})
        assert got.status_code == 413
        foreign = {"X-API-Key": "secret", "Origin": "https://elsewhere.example"}
        assert (await client.post("/feedback", content=b"{}", headers=foreign)).status_code == 403


async def test_a_full_log_is_an_error_of_its_own(package: Path, tmp_path: Path) -> None:
    async with in_process(package, feedback_folder=tmp_path, feedback_max_bytes=1) as running:
        got = await sent(running.client, request_id="a")
    assert got.status_code == 507
    assert got.json()["error"]["code"] == "feedback_not_stored"
    assert "QUINCUNX_FEEDBACK_MAX_BYTES" in got.json()["error"]["message"]


async def test_a_folder_that_cannot_be_written_stops_the_start(
    package: Path, tmp_path: Path
) -> None:
    taken = tmp_path / "file"
    taken.write_bytes(b"")
    with pytest.raises(UsageError, match="QUINCUNX_FEEDBACK_FOLDER"):
        async with in_process(package, feedback_folder=taken / "log"):
            pass


async def test_the_unknown_score_is_stored_and_decides_about_foreign_images(tmp_path: Path) -> None:
    package = unknown_package(tmp_path / "knows")
    async with in_process(package, feedback_folder=tmp_path / "log") as running:
        client = running.client
        for image, outcome in ((encoded(FOREIGN), "right"), (encoded(KNOWN), "wrong")):
            got = await client.post("/classify?tta=none", files={"image": image})
            stored = await sent(client, request_id=got.json()["request_id"], foreign=True)
            assert stored.json()["outcome"] == outcome
            along = await sent(client, request_id=outcome, foreign=True, answer=got.json())
            assert (along.json()["source"], along.json()["outcome"]) == ("client", outcome)
        metrics = (await client.get("/metrics")).text
    for row in read_feedback(tmp_path / "log")[:2]:
        assert row.answer is not None
        assert (row.answer.is_unknown, row.answer.known_rate) == (True, 0.95)
        assert row.answer.unknown_score is not None
    assert 'quincunx_unknown_total{model="' in metrics
    assert 'quincunx_unknown_score_bucket{le="+Inf"' in metrics


async def test_the_list_of_models_says_whether_feedback_is_taken(
    package: Path, tmp_path: Path
) -> None:
    for folder in (None, tmp_path / "log"):
        async with in_process(package, feedback_folder=folder) as running:
            listed = (await running.client.get("/models")).json()
            assert listed["feedback"] is (folder is not None)
