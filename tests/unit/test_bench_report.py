"""The report's folder: everything in it, readable back, and safe to open."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.bench.environment import environment
from service.bench.load.accounting import account
from service.bench.load.records import ANSWERED, Records
from service.bench.report import plots
from service.bench.report.report import html, markdown, write
from service.bench.report.results import LatencyReport, LoadReport, LoadSettings, read
from service.cli import app
from service.errors import QuincunxError
from service.package.manifest import Metrics


def load_report(url: str = "http://127.0.0.1:3000/classify") -> LoadReport:
    due_s = np.arange(100) / 10
    records = Records(
        due_s,
        due_s,
        due_s + 0.02,
        np.full(100, ANSWERED, np.int16),
        (np.arange(100) % 2).astype(np.int16),
        np.zeros(100, np.bool_),
    )
    steps = [
        account(
            records,
            ("none", "dense"),
            warm_up_s=0,
            seconds=10,
            percent=99,
            offered_per_second=rate,
            client_cpu=0.1,
        )
        for rate in (10.0, 20.0)
    ]
    settings = LoadSettings(
        url=url,
        arrivals="poisson",
        mix={"none": 0.5, "dense": 0.5},
        images="drawn",
        processes=1,
        connections=8,
        seconds=10,
        warm_up_seconds=0,
        timeout_s=5,
        seed=0,
    )
    return LoadReport(
        environment=environment(),
        settings=settings,
        slo_ms=50,
        slo_percentile=99,
        steps=tuple(steps),
        best_per_second=20.0,
        notes=("a note",),
    )


@pytest.fixture(scope="module")
def folder(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bench latency --out` writes for the tiny package."""
    out = tmp_path_factory.mktemp("bench") / "out"
    options = ["--seconds", "0.01", "--min-rounds", "3", "--batch", "1,2", "--out", str(out)]
    result = CliRunner().invoke(app, ["bench", "latency", str(package), *options])
    assert result.exit_code == 0, result.output
    return out


def test_the_folder_has_everything(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "results.json",
        "report.md",
        "report.html",
        "latency-cdf.svg",
        "cost-by-batch.svg",
    }
    report = read(folder / "results.json")
    assert isinstance(report, LatencyReport)
    text = (folder / "report.md").read_text()
    assert "![latency cdf](latency-cdf.svg)" in text
    assert text.count("\n| five_crop | fp32 | 2 |") == 2  # costs and phases
    assert report.package.sha256["model.onnx"][:12] in text


def test_known_accuracy_is_drawn_against_cost(folder: Path, tmp_path: Path) -> None:
    report = read(folder / "results.json")
    assert isinstance(report, LatencyReport)
    accuracy = Metrics(
        precision="fp32",
        mode="none",
        images=100,
        top1=0.9,
        top1_interval=(0.85, 0.94),
        nll=0.3,
        ece=0.02,
    )
    write(report.model_copy(update={"accuracy": (accuracy,)}), tmp_path)
    assert "top-1" in (tmp_path / "accuracy-by-cost.svg").read_text()


def test_a_load_report_has_its_plots_and_modes(tmp_path: Path) -> None:
    write(load_report(), tmp_path)
    assert (tmp_path / "latency-by-rate.svg").exists()
    again = markdown(read(tmp_path / "results.json"), ("load-cdf.svg", "latency-by-rate.svg"))
    assert again == (tmp_path / "report.md").read_text()
    assert "kept up to 20.0 requests per second" in (tmp_path / "report.md").read_text()
    assert "| 10.0 | – | dense | 50 |" in markdown(load_report())


def test_text_from_outside_cannot_become_markup() -> None:
    page = html(load_report(url="http://h/<script>alert(1)</script>"), {})
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(page)
    assert "script" not in tags
    assert "table" in tags


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda _name: None)
    with pytest.raises(QuincunxError, match=r"quincunx\[plots\]"):
        plots.load_plots(load_report())


def test_no_plots_need_no_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda _name: None)
    write(load_report(), tmp_path, plots=False)
    assert {p.name for p in tmp_path.iterdir()} == {"results.json", "report.md", "report.html"}
