"""Single-label and multi-label answers, from logits on."""

from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from service.errors import UsageError
from service.inference.predictor import Predictor
from service.inference.tta.aggregate import aggregate, temper
from service.inference.tta.task import MULTI_LABEL, SINGLE_LABEL, logit, sigmoid, split_labels
from service.package.manifest import Aggregation, Manifest, Mode
from service.package.package import ModelPackage
from tests.support.images import coloured
from tests.support.shipped import SHIPPED
from tests.support.tiny import tiny_package

VIEWS = np.random.default_rng(0).normal(0, 3, (7, 5, 4))  # (N, V, K)
MODES: tuple[Mode, ...] = ("none", "five_crop", "ten_crop", "dense")


@pytest.fixture(scope="module", name="several")
def _several(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tiny_package(tmp_path_factory.mktemp("models") / "several", task="multi_label")
    return Predictor.from_package(folder, precision="fp32", provider="cpu", threads=1)


def test_sigmoid_and_logit_are_exact_and_do_not_overflow() -> None:
    np.testing.assert_allclose(sigmoid(np.array([-800.0, 0.0, 800.0])), [0, 0.5, 1])
    values = np.linspace(-20, 20, 41)
    np.testing.assert_allclose(logit(sigmoid(values)), values, rtol=1e-3)


@pytest.mark.parametrize("how", [h for h in get_args(Aggregation) if h != "weighted"])
def test_each_class_of_a_multi_label_answer_is_on_its_own(how: Aggregation) -> None:
    together = aggregate(VIEWS, how, task=MULTI_LABEL)
    alone = [aggregate(VIEWS[..., k : k + 1], how, task=MULTI_LABEL)[..., 0] for k in range(4)]
    np.testing.assert_allclose(together, np.stack(alone, axis=-1))
    assert together.min() >= 0
    assert together.max() <= 1


def test_max_is_the_surest_view_and_is_not_normalized() -> None:
    got = aggregate(VIEWS, "max", task=MULTI_LABEL)
    np.testing.assert_allclose(got, sigmoid(VIEWS.max(axis=1)))
    assert (got.sum(axis=-1) > 1).any()
    np.testing.assert_allclose(aggregate(VIEWS, "max").sum(axis=-1), 1)


def test_the_geometric_mean_of_yes_against_no_is_the_mean_of_logits() -> None:
    np.testing.assert_allclose(
        aggregate(VIEWS, "gmean", task=MULTI_LABEL), sigmoid(VIEWS.mean(axis=1)), atol=1e-9
    )


def test_weights_mix_sigmoids() -> None:
    weights = (0.1, 0.1, 0.1, 0.1, 0.6)
    got = aggregate(VIEWS, "weighted", weights, MULTI_LABEL)
    np.testing.assert_allclose(got, np.einsum("nvk,v->nk", sigmoid(VIEWS), weights))


def test_a_temperature_divides_the_logit() -> None:
    probabilities = sigmoid(VIEWS[:, 0])
    np.testing.assert_allclose(
        temper(probabilities, 2.0, MULTI_LABEL), sigmoid(VIEWS[:, 0] / 2), atol=1e-9
    )


def test_labels_are_those_at_or_above_their_thresholds() -> None:
    probabilities = np.array([0.2, 0.7, 0.5, 0.9])
    assert MULTI_LABEL.present(probabilities, None) == (3, 1, 2)
    assert MULTI_LABEL.present(probabilities, (0.1, 0.8, 0.6, 0.9)) == (3, 0)
    assert MULTI_LABEL.present(probabilities, (1.0, 1.0, 1.0, 1.0)) == ()
    assert SINGLE_LABEL.present(probabilities, None) is None


def test_labels_are_written_with_semicolons() -> None:
    assert split_labels("cat; dog;;") == ("cat", "dog")
    assert split_labels(" ") == ()


@pytest.mark.parametrize("tta", MODES)
def test_both_colours_of_a_photo_are_found(several: Predictor, tta: Mode) -> None:
    photo = np.concatenate([coloured("red", 120, 120), coloured("blue", 120, 120, 1)], axis=1)
    plain = coloured("green", 120, 200)
    both, one = several.classify([photo, plain], tta, aggregate="max")
    assert both.labels is not None
    assert one.labels is not None
    assert {label.id for label in both.labels} == {"red", "blue"}
    assert [label.id for label in one.labels] == ["green"]
    assert both.answer.probabilities.sum() > 1
    assert [top.id for top in both.top[:2]] == [label.id for label in both.labels]


def test_a_photo_of_none_of_them_has_no_label(several: Predictor) -> None:
    black = np.zeros((100, 100, 3), np.uint8)
    (prediction,) = several.classify([black], "dense")
    assert prediction.labels == ()
    assert prediction.label in {"red", "green", "blue"}  # the likeliest is said all the same


def test_a_single_label_answer_has_no_labels(predictor: Predictor) -> None:
    (prediction,) = predictor.classify([coloured("red")])
    assert prediction.labels is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tta": "adaptive"}, "several classes may be true, or none; use dense"),
        ({"coverage": 0.9}, "it answers with the labels above their thresholds"),
    ],
)
def test_what_needs_one_true_class_is_refused_and_says_why(
    several: Predictor, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        several.classify([coloured("red")], **options)  # type: ignore[arg-type]


def test_the_shipped_package_is_single_label() -> None:
    assert ModelPackage.load(SHIPPED).manifest.task == "single_label"


def test_thresholds_are_one_for_each_class(several: Predictor) -> None:
    content = several.manifest.model_dump()
    content["calibration"][0]["thresholds"] = {"mean": (0.5, 0.5)}
    with pytest.raises(ValidationError, match="a threshold for each of 3 classes"):
        Manifest.model_validate(content)
