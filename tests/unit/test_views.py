"""What a view may cost."""

import numpy as np
import pytest

from service.errors import ImageTooSmall
from service.inference.image.geometry import Size
from service.inference.image.views import resize
from service.inference.predictor import Predictor
from tests.support.images import drawn


def test_a_thread_of_an_image_is_not_enlarged_into_a_giant(predictor: Predictor) -> None:
    thread = np.zeros((30_000, 1, 3), np.uint8)
    with pytest.raises(ImageTooSmall, match=r"1×30000 px: made 96×2880000 px .* limit is 10 MP"):
        predictor.classify([thread], "five_crop")
    assert predictor.classify([thread[:1000]], "five_crop")[0].answer.passes == 5


def test_a_large_image_may_be_made_smaller_to_any_size() -> None:
    wide = np.zeros((2, 6_000_000, 3), np.uint8)
    assert resize(wide, Size(1, 6_000_000)).shape == (1, 6_000_000, 3)
    picture = drawn(20, 30)
    assert resize(picture, Size(20, 30)) is picture
