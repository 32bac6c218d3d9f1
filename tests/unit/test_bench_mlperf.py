"""LoadGen for real on the tiny package, in each scenario, for half a second."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.bench.image_size import ImageSize
from service.bench.latency import mlperf
from service.bench.latency.mlperf import SCENARIOS, MlperfPlan, Scenario, bench_mlperf, read_outcome
from service.bench.photos import drawn
from service.cli import app
from service.errors import InferenceFailed, QuincunxError, UsageError
from service.inference.predictor import Predictor

IMAGES = drawn(ImageSize(80, 64), seed=0, count=4)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_runs_and_is_judged(
    scenario: Scenario, predictor: Predictor, tmp_path: Path
) -> None:
    pytest.importorskip("mlperf_loadgen")
    plan = MlperfPlan(
        scenario, "five_crop", seconds=0.5, server_per_second=20, server_latency_ms=5000
    )
    outcome = bench_mlperf(predictor, plan, IMAGES, tmp_path)
    assert outcome.summary["Scenario"].replace(" ", "") == scenario
    assert outcome.metric
    assert (tmp_path / "mlperf_log_detail.txt").exists()


def test_a_failing_model_fails_the_test_and_does_not_hang(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlperf_loadgen")
    calls = 0
    real = mlperf.run_all

    def fails_later(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 3:  # the estimate takes two
            raise InferenceFailed("broken on purpose")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(mlperf, "run_all", fails_later)
    with pytest.raises(InferenceFailed, match="on purpose"):
        bench_mlperf(predictor, MlperfPlan("SingleStream", "none", seconds=0.2), IMAGES, tmp_path)


def test_the_command_keeps_loadgens_summaries(package: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    options = ["--scenario", "Offline", "--tta", "none,dense", "--seconds", "0.3"]
    arguments = ["bench", "mlperf", str(package), *options, "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    rows = json.loads(result.stdout)
    assert [(row["scenario"], row["mode"]) for row in rows] == [
        ("Offline", "none"),
        ("Offline", "dense"),
    ]
    assert (tmp_path / "Offline-dense" / mlperf.SUMMARY).exists()


def test_a_summary_is_read_in_loadgens_words(tmp_path: Path) -> None:
    path = tmp_path / mlperf.SUMMARY
    path.write_text(
        "====\nMLPerf Results Summary\n====\nScenario : SingleStream\n"
        "90.0th percentile latency (ns) : 1234567\nResult is : VALID\n"
    )
    outcome = read_outcome(MlperfPlan("SingleStream", "none"), path)
    assert outcome.valid
    assert outcome.metric == "90.0th percentile latency (ns): 1234567"
    path.write_text("Result is : INVALID\n")
    assert not read_outcome(MlperfPlan("SingleStream", "none"), path).valid


def test_no_summary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(QuincunxError, match="no summary"):
        read_outcome(MlperfPlan("Offline", "none"), tmp_path / mlperf.SUMMARY)


def test_without_loadgen_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlperf, "find_spec", lambda _name: None)
    with pytest.raises(QuincunxError, match=r"quincunx\[mlperf\]"):
        mlperf.require_loadgen()


def test_a_duration_that_makes_no_sense_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    with pytest.raises(UsageError):
        bench_mlperf(predictor, MlperfPlan("Offline", "none", seconds=0), IMAGES, tmp_path)
