"""Memory or files that run out are the machine's fault: never an image's, and worth a new try."""

import os
from pathlib import Path

import pytest
from PIL import PngImagePlugin

from service.errors import OutOfResources
from service.inference.predictor import Predictor
from service.inference.tta.steps import Options
from service.scoring.files import MACHINE_FAULTS
from service.scoring.item import Item, Position
from service.scoring.options import ScoreOptions, Speed
from service.scoring.pipeline import score_items
from service.scoring.resume import trace
from service.scoring.scorer import Scorer
from tests.support.app import in_process
from tests.support.images import coloured, encoded
from training.data.dataset import unreadable
from training.data.item import Item as LabelledFile
from training.evaluation.predictions import decoded

PNG, JPEG = encoded(coloured("red")), encoded(coloured("red"), "JPEG")


@pytest.fixture
def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """PNGs find no memory; other formats do."""

    def load(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)


@pytest.mark.anyio
@pytest.mark.usefixtures("without_memory")
async def test_an_image_that_finds_no_memory_is_answered_with_503(
    package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(package) as running:
        answer = await running.client.post("/classify", files={"image": PNG})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "server_error"
        assert answer.json()["error"]["code"] == "out_of_resources"
        assert "memory ran out" in answer.json()["error"]["message"]
        assert caplog.text.count("request failed") == 1
        files = [("images", PNG), ("images", JPEG)]
        both = (await running.client.post("/classify_batch", files=files)).json()["results"]
        assert both[0]["error"]["code"] == "out_of_resources"
        assert both[1]["label"] == "red"
        assert caplog.text.count("request failed") == 2


@pytest.mark.usefixtures("without_memory")
def test_a_run_of_score_ends_where_memory_does(predictor: Predictor) -> None:
    scorer = Scorer(predictor, ScoreOptions(Options(tta="none"), top_k=1), 8)
    items = [Item("a.jpg", JPEG), Item("b.png", PNG), Item("c.jpg", JPEG)]
    located = ((Position(0, number), item) for number, item in enumerate(items))
    with pytest.raises(OutOfResources, match="memory ran out"):
        list(score_items(located, scorer, Speed(batch_views=8, chunk_images=1, decode_threads=1)))


@pytest.mark.parametrize("number", MACHINE_FAULTS)
def test_a_run_of_score_ends_where_the_machine_cannot_read(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(trace, "read_stamped", read)
    with pytest.raises(OutOfResources, match=rf"a\.jpg cannot be read: {os.strerror(number)}"):
        trace.load(Item("a.jpg"))


def test_a_file_that_cannot_be_read_is_a_row(tmp_path: Path) -> None:
    assert trace.load(Item(str(tmp_path / "none.jpg"))).error is not None


@pytest.fixture
def pictures(tmp_path: Path) -> list[LabelledFile]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(PNG)
    return [LabelledFile(path, "red") for path in paths]


@pytest.mark.usefixtures("without_memory")
def test_training_and_evaluation_leave_out_no_image_for_lack_of_memory(
    pictures: list[LabelledFile], predictor: Predictor
) -> None:
    with pytest.raises(OutOfResources):
        unreadable(pictures)
    with pytest.raises(OutOfResources):
        list(decoded(pictures, predictor.decode, {}))


@pytest.mark.parametrize("number", MACHINE_FAULTS)
def test_training_and_evaluation_leave_out_no_image_for_lack_of_files(
    number: int,
    pictures: list[LabelledFile],
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_bytes(path: str) -> bytes:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr("training.data.pixels.read_bytes", read_bytes)
    with pytest.raises(OutOfResources, match="cannot be read"):
        unreadable(pictures)
    with pytest.raises(OutOfResources, match="cannot be read"):
        list(decoded(pictures, predictor.decode, {}))
