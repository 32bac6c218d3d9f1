"""One model of the options: every way in has its names, bounds and defaults."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from service.api.context import Context
from service.api.documentation.openapi import openapi
from service.api.observability.metrics import Metrics
from service.api.oip.request import OPTIONS
from service.api.options import RequestOptions
from service.api.routes import Api
from service.api.server.models import Models
from service.commands import score as score_command
from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.option_text import bounds_of, box_of, boxes_of, boxes_text
from service.inference.options import Options
from service.inference.predictor import Predictor
from service.inference.tta.planner import Plan, Planner
from service.package.manifest import Mode
from service.scoring import score
from service.settings import Settings
from tests.support.images import coloured, encoded

FILE = encoded(coloured("red", 80, 90))
FIELDS = Options.model_fields


def in_mode(predictor: Predictor, mode: Mode) -> Predictor:
    """The same predictor with another default mode."""
    manifest = predictor.manifest.model_copy(update={"default_mode": mode})
    return replace(predictor, package=replace(predictor.package, manifest=manifest))


@pytest.mark.parametrize("function", [Predictor.classify, score])
def test_python_functions_have_the_options_with_their_defaults(
    function: Callable[..., Any],
) -> None:
    parameters = inspect.signature(function).parameters
    for name, field in FIELDS.items():
        assert parameters[name].default == field.default


def test_the_document_has_every_option_with_its_bounds_and_default() -> None:
    listed = openapi()["paths"]["/classify"]["post"]["parameters"]
    schemas = {one["name"]: one["schema"]["anyOf"][0] for one in listed if one["in"] == "query"}
    assert set(schemas) == set(RequestOptions.model_fields)
    assert schemas["tta"]["enum"] == list(get_args(Mode))
    assert "default" not in schemas["tta"]
    for name, field in RequestOptions.model_fields.items():
        low, high = bounds_of(field)
        assert (schemas[name].get("minimum"), schemas[name].get("maximum")) == (low, high)
        if isinstance(field.default, (str, int)):
            assert schemas[name]["default"] == field.default
    assert schemas["boxes"]["type"] == schemas["include"]["type"] == "string"


def test_the_open_inference_protocol_has_the_options_of_an_image() -> None:
    assert set(FIELDS) == OPTIONS


@pytest.mark.parametrize(
    ("option", "value"),
    [("coverage", "1.5"), ("gate-cost", "-1"), ("tta", "x"), ("aggregate", "x")],
)
def test_the_command_line_has_the_same_bounds(tmp_path: Path, option: str, value: str) -> None:
    out = tmp_path / "out.csv"
    arguments = [str(tmp_path), "-o", str(out), f"--{option}", value]
    done = CliRunner().invoke(score_command.app, arguments)
    assert done.exit_code == 2
    assert f"--{option}" in done.output


@pytest.mark.parametrize("mode", ["none", "dense", "five_crop"])
def test_the_package_names_the_default_mode(
    predictor: Predictor, tmp_path: Path, mode: Mode
) -> None:
    other = in_mode(predictor, mode)
    (prediction,) = other.classify([FILE])
    assert prediction.answer.tta == mode
    assert prediction.answer.passes == (5 if mode == "five_crop" else 1)
    (tmp_path / "red.png").write_bytes(FILE)
    (row,) = score(tmp_path, other)
    assert row.passes == prediction.answer.passes


def test_none_is_an_option_that_was_not_given() -> None:
    assert Options(tta=None, coverage=None, gate_cost=None) == Options()


def test_options_keep_their_numbers_exact() -> None:
    assert Options(coverage=0.9500004).coverage == 0.9500004
    assert Options(gate_cost=np.float64(1.7)).gate_cost == 1.7
    assert Options(gate_cost=2).gate_cost == 2.0


@pytest.mark.parametrize("text", ["0_0,0,1,1", "nan,0,1,1", "0,0,1", "0,0,1,1,Flip", "", "a"])
def test_a_box_is_read_strictly(text: str) -> None:
    with pytest.raises(UsageError, match=r"--box must be left,top,right,bottom\[,flip\]"):
        box_of("--box", text)
    assert box_of("--box", " 0, .5,1,1e0,flip") == FractionBox(0, 0.5, 1, 1, flip=True)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Mode]:
    """The modes of every plan that is made."""
    modes: list[Mode] = []
    plan = Planner.plan

    def counted(self: Planner, mode: Mode, *more: Any) -> Plan:
        modes.append(mode)
        return plan(self, mode, *more)

    monkeypatch.setattr(Planner, "plan", counted)
    return modes


@pytest.mark.parametrize("mode", ["none", "five_crop", "dense", "adaptive"])
def test_the_library_plans_an_image_once(
    predictor: Predictor, planned: list[Mode], mode: Mode
) -> None:
    predictor.classify([FILE, FILE], mode)
    assert planned == [mode, mode]


@pytest.mark.anyio
async def test_the_server_plans_an_image_once(package: Path, planned: list[Mode]) -> None:
    settings = Settings(packages=(package,), threads=1, provider="cpu")
    metrics = Metrics()
    models = Models(settings, metrics.observer)
    api = Api(Context(settings, models, metrics))
    await models.load()
    try:
        await api.classify_bytes(FILE, {"tta": "five_crop"})  # the queue's bounds are known now
        planned.clear()
        answer = await api.classify_bytes(FILE, {"tta": "dense", "coverage": 0.95})
        assert answer["tta"] == "dense"
        assert planned == ["dense"]
    finally:
        await models.drain()


def test_the_text_of_boxes_is_read_as_the_same_boxes() -> None:
    boxes = (FractionBox(0, 0.1, 1 / 3, 1), FractionBox(0.5, 1e-7, 1, 0.9, flip=True))
    assert boxes_of("boxes", boxes_text(boxes)) == boxes
