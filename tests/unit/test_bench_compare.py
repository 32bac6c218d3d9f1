"""Which differences are real: made-up runs whose truth is known."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.bench.environment import PackageIdentity, environment
from service.bench.latency.latency import LatencyPlan, Rounds, summarize
from service.bench.latency.phases import Timed
from service.bench.report.compare import Comparison, compare
from service.bench.report.results import PHASES, LatencyReport, Phase, read
from service.cli import app
from service.errors import UsageError

PLAN = LatencyPlan(("none", "five_crop", "dense"), ("fp32",), (1,), min_rounds=300)


def report(
    five_ms: float = 40.0, machine: float = 1.0, seed: int = 0, sha256: str = "a"
) -> LatencyReport:
    """A run on a machine that slows down and recovers by up to 10%."""
    random = np.random.default_rng(seed)
    drift = machine * (1 + 0.05 * np.sin(np.arange(300) / 20 + random.uniform(0, 6)))
    cost_ms = {"none": 10.0, "five_crop": five_ms, "dense": 13.0}

    def timed(mode: str) -> list[Timed]:
        ms = cost_ms[mode] * drift * random.normal(1, 0.02, size=300)
        zero: dict[Phase, float] = dict.fromkeys(PHASES, 0.0)
        return [Timed({**zero, "inference": float(value)}, 1) for value in ms]

    rounds = Rounds({case: timed(case.mode) for case in PLAN.cases}, [PLAN.cases] * 300, 1.0)
    return LatencyReport(
        environment=environment(),
        package=PackageIdentity(name="m", version="1", sha256={"model.onnx": sha256}),
        provider="cpu",
        threads=1,
        images="none",
        rounds=300,
        warm_up_rounds=0,
        seconds=1.0,
        seed=0,
        cases=summarize(PLAN, rounds),
    )


def real(comparison: Comparison) -> list[tuple[str, str]]:
    return [(d.what, d.measure) for d in comparison.differences if d.real]


def test_two_equal_runs_show_no_difference() -> None:
    alarms = sum(bool(real(compare(report(seed=2 * i), report(seed=2 * i + 1)))) for i in range(10))
    assert alarms <= 2


def test_a_mode_that_became_slower_is_found_and_no_other() -> None:
    found = compare(report(seed=1), report(five_ms=46, seed=2))
    assert real(found) == [
        ("five_crop fp32 batch 1", "ms"),
        ("five_crop fp32 batch 1", "× single crop"),
    ]
    (relative,) = [d for d in found.differences if d.real and d.measure != "ms"]
    assert relative.verdict == "B takes more"
    assert relative.ratio.value == pytest.approx(1.15, rel=0.01)


def test_a_slower_machine_is_told_from_a_slower_mode() -> None:
    found = compare(report(seed=1), report(machine=1.3, seed=2))
    assert all(measure == "ms" for _, measure in real(found))
    assert len(real(found)) == 3
    (note,) = [note for note in found.notes if "everything moved together" in note]
    assert float(note.partition("×")[2][:4]) == pytest.approx(1.3, abs=0.05)


def test_another_model_file_is_noted() -> None:
    assert any("model.onnx" in n for n in compare(report(), report(sha256="b")).notes)


def test_the_command_reads_results_files(tmp_path: Path) -> None:
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(report(seed=1).model_dump_json())
    b.write_text(report(five_ms=60, seed=2).model_dump_json())
    assert read(a) == report(seed=1).model_copy(update={"environment": read(a).environment})
    result = CliRunner().invoke(app, ["bench", "compare", str(a), str(b)])
    assert "B takes more" in result.stdout
    a.write_text('{"kind": "latency"}')
    failed = CliRunner().invoke(app, ["bench", "compare", str(a), str(b)])
    assert failed.exit_code == 2
    assert "is not a results file" in failed.stderr


def test_results_of_two_kinds_do_not_compare() -> None:
    from tests.unit.test_bench_report import load_report

    with pytest.raises(UsageError, match="only results of a kind"):
        compare(report(), load_report())
