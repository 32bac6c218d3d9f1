"""A pass that several modes share runs once, and every mode still gets its own logits."""

from pathlib import Path

import numpy as np

from service.inference.decode import decode
from service.inference.engine import run_all
from service.inference.image.views import size_of
from service.inference.predictor import Predictor
from service.inference.tta.passes import read_passes
from service.inference.tta.planner import Planner
from service.package.manifest import Adaptive
from tests.support.dataset import drawn_dataset
from tests.support.tiny import tiny_package
from training.calibration.calibration_logits import PLAIN_MODES, collect_logits
from training.calibration.configurations import first_passes, pairs
from training.data.dataset import scan


def test_every_mode_gets_the_logits_of_its_own_passes(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny")
    items = scan(drawn_dataset(tmp_path / "data", train=1, val=2) / "val")
    predictor = Predictor.from_package(folder, precision="fp32")
    firsts = first_passes(predictor.manifest, cheaper=True)
    logits = collect_logits(folder, "fp32", items, firsts)
    assert len(logits.labels) == 2 * len(items)

    def alone(image: np.ndarray, planner: Planner, mode: str) -> np.ndarray:
        plan = planner.plan(mode, size_of(image))  # type: ignore[arg-type]
        return run_all([read_passes(image, plan.first)], predictor.session)[0].logits

    for number, item in enumerate(items):
        image = decode(item.path.read_bytes())
        for row, shown in ((number, image), (number + len(items), image[:, ::-1].copy())):
            for mode in PLAIN_MODES:
                expected = alone(shown, Planner(predictor.manifest.input), mode)
                np.testing.assert_allclose(logits.views[mode][row], expected, atol=1e-4)
            for config in pairs(firsts, predictor.manifest.input, PLAIN_MODES, cheaper=True):
                planner = Planner(predictor.manifest.input, config)
                got = logits.first_pass(config).logits[row]
                expected = alone(shown, planner, "adaptive")[0]
                np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_second_pass_costs_what_the_first_left_to_run(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny", crop_px=64, resize_px=96)
    items = scan(drawn_dataset(tmp_path / "data", train=1, val=1) / "val")
    served = Adaptive(first_px=96, first_crop_px=64)
    small = Adaptive(first_px=64)
    logits = collect_logits(folder, "fp32", items, [served, small])
    assert logits.first_pass(served).rest == {"none": 0, "dense": 2.25, "five_crop": 4}
    assert logits.first_pass(small).rest == {"none": 1, "dense": 2.25, "five_crop": 5}


def test_prediction_sets_are_fitted_on_the_images_alone(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny")
    items = scan(drawn_dataset(tmp_path / "data", train=1, val=4) / "val")
    logits = collect_logits(folder, "fp32", items, [])
    sure = np.full((2 * len(items), 3), 0.1)
    sure[np.arange(len(sure)), logits.labels] = 0.8
    unsure = sure.copy()
    unsure[len(items) :] = 1 / 3  # the mirror images
    assert logits.quantiles(unsure) == logits.quantiles(sure)
