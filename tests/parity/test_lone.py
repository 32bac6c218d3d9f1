"""A graph that is open twice, for images that are alone too, gives the same answers."""

from pathlib import Path

import numpy as np
import pytest

from service.inference.image.geometry import Size, five_boxes
from service.inference.runtime.session import Session
from service.package.manifest import InputSize
from tests.support.images import drawn

SIZES = InputSize(crop_px=128, resize_px=160)


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_with_more_threads_the_answers_are_the_same(exported: Path, name: str) -> None:
    usual = Session.open(exported / name, SIZES, provider="cpu", threads=1, lone_threads=3)
    lone = usual.lone
    assert lone is not None
    assert lone.threads == 3
    assert lone.lone is None
    image = drawn(160, 203, seed=5)
    views = np.stack([image[:, :160], image[:, -160:]])
    np.testing.assert_allclose(lone.run(views, "logits"), usual.run(views, "logits"), atol=1e-5)
    got, expected = (s.run(views, "class_map") for s in (lone, usual))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    boxes = five_boxes(Size(160, 203), 128)
    got, expected = (s.crops(image, boxes) for s in (lone, usual))
    assert got is not None
    assert expected is not None
    np.testing.assert_allclose(np.stack(got), np.stack(expected), atol=1e-4)
    got, expected = (s.run(np.stack(expected), "logits_of_features") for s in (lone, usual))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_graph_is_opened_once_unless_asked(exported: Path) -> None:
    assert Session.open(exported / "model.onnx", SIZES, provider="cpu", threads=1).lone is None
