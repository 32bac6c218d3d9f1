"""`quincunx train --set fit=squash` on photos that are not square: from recipe to answers."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from service import cli
from service.errors import UsageError
from service.inference.predictor import Predictor
from service.inference.tta.task import softmax
from tests.support.images import COLOURS, coloured, encoded
from training import recipe as recipes
from training.data.item import Item
from training.evaluation.methods import method_named
from training.evaluation.predictions import predict
from training.fit.train import train
from training.recipe import Recipe
from training.run import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "architecture.widen=0.25", "batch_images=8", "stage.1.epochs=1", "stage.1.size_px=32",
    "crop_px=32", "resize_px=64", "calibration_share=0.2", "calibration_folds=0", "fit=squash",
]  # fmt: skip
SET = [part for value in TINY for part in ("--set", value)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide images whose colour is at the sides, and grey in the middle: a centre cut loses it."""
    folder = tmp_path_factory.mktemp("data")
    for part, count in (("train", 12), ("val", 3)):
        for offset, name in enumerate(COLOURS):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                image = coloured(name, 60, 150, 100 * offset + number)
                image[:, 40:110] = 128
                (folder / part / name / f"{number}.png").write_bytes(encoded(image))
    return folder


@pytest.mark.parametrize("cache", ["off", "memory"])
def test_a_run_that_squashes_is_evaluated_and_served_alike(
    data: Path, tmp_path: Path, cache: str
) -> None:
    run, package = tmp_path / "run", tmp_path / "made"
    given = ["train", str(data), "--recipe", "small-cpu", "--run", str(run), "--out", str(package)]
    given += ["--cache", cache, "--cache-folder", str(tmp_path / "cache"), *SET]
    done = CliRunner().invoke(cli.app, given)
    assert done.exit_code == 0, done.output
    assert json.loads((package / "manifest.json").read_text())["input"]["fit"] == "squash"

    files = sorted((data / "val").glob("*/*.png"))
    predictor = Predictor.from_package(package, precision="fp32")
    squashed = np.stack(
        [
            np.asarray(Image.open(file).resize((64, 64), Image.Resampling.BILINEAR))[16:48, 16:48]
            for file in files
        ]
    )
    expected = softmax(predictor.session.run(np.ascontiguousarray(squashed), "logits"))
    answers = predictor.classify([file.read_bytes() for file in files], "none")
    served = np.stack([one.answer.probabilities for one in answers])
    items = [Item(file, file.parent.name) for file in files]
    evaluated = predict(predictor, items, [method_named("none")])
    np.testing.assert_allclose(served, expected, atol=1e-5)
    np.testing.assert_array_equal(evaluated.by_name["none"].probabilities, served)


def test_a_run_goes_on_with_its_own_fit_but_exports_with_another(
    data: Path, tmp_path: Path
) -> None:
    recipe = recipes.load("small-cpu", TINY)
    run = train(data, recipe, tmp_path / "run", log=lambda _: None)
    kept = Recipe.from_json(checkpoint.load(run).facts["recipe"] | {"fit": "shorter_side"})
    with pytest.raises(UsageError, match=r"differs in fit .*--set fit=squash"):
        train(data, kept, run, resume=True, log=lambda _: None)
    other = tmp_path / "other"
    export = ["export", str(run), "--out", str(other), "--data", str(data), "--no-int8"]
    done = CliRunner().invoke(cli.app, [*export, "--fit", "shorter_side"])
    assert done.exit_code == 0, done.output
    assert json.loads((other / "manifest.json").read_text())["input"]["fit"] == "shorter_side"
