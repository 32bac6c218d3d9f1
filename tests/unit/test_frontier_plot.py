"""The frontier's plot: where points crowd, every name can still be read."""

from itertools import combinations
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.transforms import Bbox

from training.frontier.plot import box_of, name_points, nearest

mpl.use("Agg")

CROWD = {
    (0.37, 90.95): "single crop",
    (0.39, 91.05): "adaptive, 1.1 crops",
    (0.40, 90.95): "adaptive, 1 crops",
    (0.46, 91.30): "adaptive",
    (0.46, 90.75): "full_image",
    (0.49, 91.00): "dense",
    (4.50, 91.65): "fastai_tta",
}


@pytest.fixture
def axes() -> Any:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5.5), dpi=120)
    axes.plot(*zip(*CROWD, strict=True), "o", label="int8")
    axes.set_xscale("log")
    axes.legend(loc="lower right")
    yield axes
    plt.close(figure)


def test_no_name_covers_a_marker_or_a_bar(axes: Any) -> None:
    bars = {(x, y): (y - 0.1, y + 0.3) for x, y in CROWD}
    for (x, _), (low, high) in bars.items():
        axes.plot([x, x], [low, high])
    name_points(axes, CROWD, bars)
    renderer = axes.figure.canvas.get_renderer()
    for text in axes.texts:
        name = box_of(text, renderer)
        for place, ends in bars.items():
            (x, low), (_, high) = axes.transData.transform([(place[0], end) for end in ends])
            assert not name.overlaps(Bbox.from_extents(x - 0.5, low, x + 0.5, high)), text
            assert not name.overlaps(_at(axes, place)), text


def test_no_name_covers_another_or_leaves_the_plot(axes: Any) -> None:
    name_points(axes, CROWD)
    renderer = axes.figure.canvas.get_renderer()
    boxes = {text.get_text(): box_of(text, renderer) for text in axes.texts}
    assert set(boxes) == set(CROWD.values())
    for (one, box), (other, its) in combinations(boxes.items(), 2):
        assert not box.overlaps(its), (one, other)
    markers = {place: _at(axes, place) for place in CROWD}
    for text in axes.texts:
        if text.arrow_patch is None:
            assert CROWD[nearest(boxes[text.get_text()], markers)] == text.get_text()
    inside = axes.get_window_extent(renderer)
    for name, box in boxes.items():
        assert inside.x0 <= box.x0, name
        assert box.x1 <= inside.x1, name


def _at(axes: Any, place: tuple[float, float]) -> Bbox:
    x, y = axes.transData.transform(place)
    return Bbox.from_extents(x, y, x, y)
