"""`quincunx bench` refuses before it measures what it could not measure or write."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.bench.latency.latency import LatencyPlan
from service.bench.load.load import LoadPlan
from service.cli import app
from service.errors import UsageError
from tests.support.shipped import SHIPPED
from training.commands.frontier import gate_costs

NO_LENGTH = [0.0, -1.0, float("nan"), float("inf")]
PLAN = LatencyPlan(("none",), ("fp32",), (1,))


@pytest.mark.parametrize("seconds", NO_LENGTH)
def test_a_length_of_time_is_a_positive_number(seconds: float) -> None:
    with pytest.raises(UsageError, match="seconds must be a positive number, but got"):
        LatencyPlan(PLAN.modes, PLAN.precisions, PLAN.batches, seconds=seconds).check()
    with pytest.raises(UsageError, match="seconds must be a positive number, but got"):
        LoadPlan(seconds=seconds).check()
    with pytest.raises(UsageError, match="slo_ms must be a positive number"):
        LoadPlan(slo_ms=seconds).check()
    with pytest.raises(UsageError, match="timeout must be a positive number"):
        LoadPlan(timeout_s=seconds).check()


@pytest.mark.parametrize("warm_up_s", NO_LENGTH[1:])
def test_a_warm_up_may_be_nothing_but_not_less(warm_up_s: float) -> None:
    LoadPlan(warm_up_s=0).check()
    with pytest.raises(UsageError, match="warm_up must be 0 or a positive number"):
        LoadPlan(warm_up_s=warm_up_s).check()


@pytest.mark.parametrize(("processes", "connections"), [(0, 9), (-1, 9), (2, 1), (1, 0)])
def test_every_process_has_a_connection(processes: int, connections: int) -> None:
    with pytest.raises(UsageError, match="with a connection for each"):
        LoadPlan(processes=processes, connections=connections).check()


@pytest.mark.parametrize("text", ["x", "1,x", "nan", "-1", "101", "1;2"])
def test_the_costs_of_a_frontier_are_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="--gate-cost takes numbers from 0 to 100"):
        gate_costs(text)
    assert gate_costs("0.75, 1,") == [0.75, 1.0]
    assert gate_costs("") == []


@pytest.mark.parametrize("command", [["latency", str(SHIPPED)], ["load", "http://127.0.0.1:9"]])
def test_a_report_that_cannot_be_written_is_refused_first(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for out in ("file", "file/folder"):
        asked = ["bench", *command, "--no-plots", "--out", str(tmp_path / out)]
        result = CliRunner().invoke(app, asked)
        assert result.exit_code == 2
        assert "is not a folder" in result.output
