"""Arrivals are what they are called, and the workers' shares are the schedule again."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.bench import options
from service.bench.load.arrivals import due_times, schedule
from service.errors import UsageError
from tests.support.packages import edit_manifest
from tests.support.tiny import tiny_package


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert due_times("constant", 4, 1.0, generator()).tolist() == [0.0, 0.25, 0.5, 0.75]


def test_poisson_arrivals_have_exponential_gaps_at_the_rate_asked_for() -> None:
    gaps_s = np.diff(due_times("poisson", 50, 1000, generator()))
    assert gaps_s.mean() == pytest.approx(1 / 50, rel=0.02)
    assert gaps_s.std() == pytest.approx(1 / 50, rel=0.02)
    for quantile in (0.1, 0.5, 0.9, 0.99):
        assert np.quantile(gaps_s, quantile) == pytest.approx(-np.log(1 - quantile) / 50, rel=0.05)


def test_all_instants_lie_inside_the_step() -> None:
    due_s = due_times("poisson", 3, 2.0, generator())
    assert ((due_s >= 0) & (due_s < 2.0)).all()


def test_the_mix_comes_out_as_asked_and_images_take_turns() -> None:
    plan = schedule(np.arange(10_000.0), {"none": 0.8, "five_crop": 0.2}, 3, generator())
    assert (plan.mode == 1).mean() == pytest.approx(0.2, abs=0.02)
    assert plan.image[:7].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_shares_together_are_the_schedule() -> None:
    plan = schedule(np.arange(11.0), {"none": 1.0}, 2, generator())
    shares = [plan.share(worker, 3) for worker in range(3)]
    assert sorted(np.concatenate([s.due_s for s in shares])) == plan.due_s.tolist()
    assert sum(map(len, shares)) == len(plan)


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (1, 0), (1e9, 10)])
def test_a_rate_that_makes_no_sense_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(UsageError):
        due_times("poisson", rate, seconds, generator())


def test_a_mix_is_shares_that_sum_to_1() -> None:
    assert options.mix("none=4,five_crop=1") == {"none": 0.8, "five_crop": 0.2}
    assert options.mix("dense") == {"dense": 1.0}


@pytest.mark.parametrize("text", ["", "none=", "none=x", "none=0", "none=-1", "six_crop=1"])
def test_a_mix_that_makes_no_sense_is_refused(text: str) -> None:
    if text == "none=":
        assert options.mix(text) == {"none": 1.0}
        return
    with pytest.raises(UsageError):
        options.mix(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (partial(options.modes, folder=Path(), precisions=("fp32",)), "none,sixcrop"),
        (options.batches, "1,0"),
        (options.batches, "many"),
        (options.rates, "10,fast"),
        (options.rates, "inf"),
        (options.arrivals, "bursty"),
    ],
)
def test_words_that_name_nothing_are_refused(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(UsageError):
        parse(text)


def test_headers_need_a_name_and_a_colon() -> None:
    assert options.headers(["Authorization: Bearer a:b"]) == {"Authorization": "Bearer a:b"}
    with pytest.raises(UsageError):
        options.headers(["Authorization"])


@pytest.mark.parametrize(("served", "more"), [("dense", ()), ("adaptive", ("adaptive",))])
def test_auto_has_the_mode_that_the_package_serves(
    tmp_path: Path, served: str, more: tuple[str, ...]
) -> None:
    folder = tiny_package(tmp_path / "tiny", int8=False)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"default_mode": served}))
    for precision in ("fp32", "fp16"):
        found = options.modes("auto", folder, (precision,))
        assert found == ("none", "five_crop", "dense", *more)
    assert options.modes("dense,none", folder, ("fp32",)) == ("dense", "none")


def test_auto_leaves_out_a_mode_that_one_of_the_precisions_cannot_answer(tmp_path: Path) -> None:
    def fitted_at_int8_only(content: dict[str, Any]) -> None:
        content["default_mode"] = "adaptive"
        content["calibration"] = [c for c in content["calibration"] if c["precision"] == "int8"]

    folder = tiny_package(tmp_path / "tiny")
    edit_manifest(folder, fitted_at_int8_only)
    said: list[str] = []
    assert "adaptive" in options.modes("auto", folder, ("int8",), said.append)
    assert not said
    assert "adaptive" not in options.modes("auto", folder, ("int8", "fp32"), said.append)
    (line,) = said
    assert "has no gate for it in every one of int8, fp32" in line
