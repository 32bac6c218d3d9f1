"""`benchmarks.service versions`: its ratios and verdicts, and the floor of decoding."""

import math
import sys

import pytest

from benchmarks.service.__main__ import _arguments
from benchmarks.service.floor import Decoding
from benchmarks.service.versions import Case, Sample, Samples, ratio, verdicts
from service.bench.image_size import ImageSize
from service.bench.photos import drawn
from service.package.package import ModelPackage
from service.package.shipped import MODELS, SHIPPED


def rounds(*values: float) -> list[Sample]:
    return [Sample(value) for value in values]


def samples(rates: tuple[float, ...], p50s: tuple[float, ...]) -> Samples:
    """Of this code, the other one and Pillow alone, in two equal rounds."""
    codes = ("this", "other", "Pillow alone")
    return {
        Case("drawn", "none", many): {
            code: rounds(value, value) for code, value in zip(codes, values, strict=True)
        }
        for many, values in ((True, rates), (False, p50s))
    }


def test_each_promise_is_judged_against_the_other_checkout() -> None:
    found = verdicts(samples((50, 10, 80), (31, 100, 20)))
    assert [one.kept for one in found] == [True, False]
    assert found[0].measured == "5.00 [5.00, 5.00]; Pillow alone 8.00 [8.00, 8.00]"
    assert found[1].measured == "0.31 [0.31, 0.31]; Pillow alone 0.20 [0.20, 0.20]"
    assert [one.kept for one in verdicts(samples((49, 10, 80), (30, 100, 20)))] == [False, True]


def test_ratios_are_those_within_rounds() -> None:
    case = Case("drawn", "none", True)
    taken: Samples = {case: {"this": rounds(10, 40), "other": rounds(5, 20), "Pillow alone": []}}
    found = ratio(taken, case, "this")
    assert found is not None
    assert found.value == pytest.approx(2)


@pytest.mark.parametrize(
    ("rates", "p50s"), [((50, 0, 80), (31, math.inf, 20)), ((0, 1, 8), (math.inf, 9, 2))]
)
def test_a_code_that_answers_nothing_keeps_no_promise(
    rates: tuple[float, ...], p50s: tuple[float, ...]
) -> None:
    found = verdicts(samples(rates, p50s))
    assert [one.kept for one in found] == [False, False]
    assert all(one.measured.startswith("none: a code answered nothing") for one in found)


@pytest.mark.parametrize(("size", "scale"), [(ImageSize(320, 240), 1), (ImageSize(2800, 1400), 2)])
def test_the_floor_decodes_to_the_scale_of_the_service(size: ImageSize, scale: int) -> None:
    manifest = ModelPackage.load(MODELS / SHIPPED).manifest
    floor = Decoding.of(drawn(size, seed=0, count=2), manifest)
    assert list(floor.scales) == [scale, scale]
    assert floor.alone_ms(0) > 0
    assert floor.per_second(0) > 0


def test_versions_needs_the_other_checkout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["service", "P", "versions"])
    with pytest.raises(SystemExit):
        _arguments()
    assert "versions needs --against CHECKOUT" in capsys.readouterr().err
