"""The shapes of answers: strict, described, and all in the OpenAPI document."""

import inspect
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from service.api.documentation import schemas
from service.api.documentation.openapi import openapi
from service.api.documentation.schemas import Shape

SHAPES = [
    kind
    for _, kind in inspect.getmembers(schemas, inspect.isclass)
    if issubclass(kind, Shape) and kind is not Shape
]
PREDICTION = {"label": "a", "name": "A", "index": 0, "probability": 0.5}
VIEW = {**PREDICTION, "box": (0.0, 0.0, 1.0, 1.0), "flip": False}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_no_shape_takes_a_key_that_it_does_not_name(shape: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as caught:
        shape.model_validate({"no_such_key": 1})
    assert "extra_forbidden" in {error["type"] for error in caught.value.errors()}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_shape_is_documented(shape: type[BaseModel]) -> None:
    assert shape.__doc__ != Shape.__doc__
    known: dict[str, Any] = openapi()["components"]["schemas"]
    used = shape.__name__ in known or any(issubclass(other, shape) for other in _named(known))
    assert used, "no operation answers with it"


def _named(known: dict[str, Any]) -> list[type[BaseModel]]:
    return [shape for shape in SHAPES if shape.__name__ in known]


@pytest.mark.parametrize("probability", [0.0, 1.0, 1.0000005])
def test_a_probability_may_be_over_one_by_rounding_only(probability: float) -> None:
    schemas.ClassProbability.model_validate({**PREDICTION, "probability": probability})


@pytest.mark.parametrize("probability", [-1e-9, 1.001, float("nan"), float("inf"), None])
def test_other_numbers_are_no_probability(probability: float | None) -> None:
    with pytest.raises(ValidationError):
        schemas.ClassProbability.model_validate({**PREDICTION, "probability": probability})


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0, 1.0), "whole"])
def test_a_box_has_four_sides(box: object) -> None:
    schemas.ViewResult.model_validate(VIEW)
    with pytest.raises(ValidationError):
        schemas.ViewResult.model_validate({**VIEW, "box": box})


def test_an_error_names_its_side() -> None:
    detail = {"type": "client_error", "code": "bad_image", "message": "m", "request_id": "r"}
    schemas.ErrorAnswer.model_validate({"error": detail})
    with pytest.raises(ValidationError):
        schemas.ErrorAnswer.model_validate({"error": {**detail, "type": "network_error"}})
