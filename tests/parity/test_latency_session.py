"""The session of single-request mode gives the same answers as the usual one."""

from pathlib import Path

import numpy as np
import pytest

from service.inference.image.geometry import Size, five_boxes
from service.inference.predictor import Predictor
from service.inference.runtime.session import open_sessions
from service.package.manifest import InputSize
from tests.support.images import drawn

SIZES = InputSize(crop_px=128, resize_px=160)


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_with_more_threads_the_answers_are_the_same(exported: Path, name: str) -> None:
    usual, fast = open_sessions(exported / name, SIZES, (1, 3), provider="cpu")
    assert (usual.threads, fast.threads) == (1, 3)
    image = drawn(160, 203, seed=5)
    views = np.stack([image[:, :160], image[:, -160:]])
    np.testing.assert_allclose(fast.run(views, "logits"), usual.run(views, "logits"), atol=1e-5)
    got, expected = (s.run(views, "class_map") for s in (fast, usual))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    boxes = five_boxes(Size(160, 203), 128)
    got, expected = (s.crops(image, boxes) for s in (fast, usual))
    assert got is not None
    assert expected is not None
    np.testing.assert_allclose(np.stack(got), np.stack(expected), atol=1e-4)
    got, expected = (s.run(np.stack(expected), "logits_of_features") for s in (fast, usual))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_predictor_opens_its_graph_once_unless_asked(package: Path) -> None:
    usual = Predictor.from_package(package, provider="cpu", threads=1)
    assert usual.latency_session is None
    both = Predictor.from_package(package, provider="cpu", threads=1, latency_threads=3)
    assert both.latency_session is not None
    assert (both.session.threads, both.latency_session.threads) == (1, 3)
