"""`quincunx bench`: measure the cost of TTA, with every sample kept for a check."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands import options as shared
from service.commands.bench_options import AsJson, Images, ImageSize, Modes, NoPlots, Out, Seed
from service.console.stdio import answer, log, print_json

if TYPE_CHECKING:
    from service.bench.photos import Photos
    from service.bench.report.results import LatencyReport, LoadReport, LoadStep
    from service.bench.report.tables import ReportTable

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def bench() -> None:
    """Measure latency and load."""


@app.command()
def latency(
    package: shared.Package,
    tta: Modes = "auto",
    precision: Annotated[
        str,
        typer.Option(
            metavar="P,P,…",
            help="Precisions, separated by commas; auto: fp32 and the fastest on this machine.",
        ),
    ] = "auto",
    batch: Annotated[
        str,
        typer.Option(metavar="N,N,…", help="Batch sizes in images, separated by commas."),
    ] = "1,8",
    seconds: Annotated[float, typer.Option(help="How long to measure.")] = 60.0,
    min_rounds: Annotated[int, typer.Option(help="Least number of samples of each case.")] = 20,
    images: Images = None,
    image_size: ImageSize = None,
    provider: shared.Provider = "auto",
    threads: shared.Threads = 0,
    seed: Seed = 0,
    out: Out = None,
    no_plots: NoPlots = False,
    as_json: AsJson = False,
) -> None:
    """Measure the latency of every mode, precision and batch size, without a server.

    The cases take turns in every round, so that a change of the machine's speed affects all alike.
    Phases such as decoding and inference are measured separately.
    """
    from service.bench import options
    from service.bench.latency.latency import LatencyPlan, bench_latency

    _check_out(out, no_plots)
    precisions = options.precisions(precision, package, provider)
    plan = LatencyPlan(
        modes=options.modes(tta, package, precisions, log),
        precisions=precisions,
        batches=options.batches(batch),
        seconds=seconds,
        min_rounds=min_rounds,
        seed=seed,
    )
    pictures = _photos(images, image_size, seed)
    with pictures.naming_a_broken_file():
        report = bench_latency(
            package,
            plan,
            pictures,
            provider=provider,
            threads=threads,
            progress=_progress(seconds),
        )
    _show(report, out, no_plots, as_json)


@app.command()
def load(
    url: Annotated[str, typer.Argument(metavar="URL", help="For example http://127.0.0.1:3000.")],
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="Rates in requests per second, one step for each. By default it searches for the "
            "highest rate that keeps the SLO, the latency that --slo-ms and --slo-percentile "
            "name.",
        ),
    ] = None,
    arrivals: Annotated[
        str,
        typer.Option(
            metavar="poisson|constant|closed",
            help="poisson, constant: requests are sent at the given rate, whether or not answers "
            "arrive (an open loop). closed: each user waits for an answer before it sends the next "
            "request.",
        ),
    ] = "poisson",
    users: Annotated[
        str,
        typer.Option(
            metavar="N,N,…", help="With --arrivals closed: how many users, one step for each."
        ),
    ] = "1",
    mix: Annotated[
        str,
        typer.Option(
            metavar="MODE=SHARE,…",
            help="TTA modes and their shares of the requests, such as none=0.8,five_crop=0.2.",
        ),
    ] = "none",
    slo_ms: Annotated[float, typer.Option(help="The latency to keep, in milliseconds.")] = 100.0,
    slo_percentile: Annotated[
        float,
        typer.Option(help="The percentile of all requests that must keep it. Refused ones count."),
    ] = 99.0,
    seconds: Annotated[float, typer.Option(help="Length of a step.")] = 20.0,
    warm_up: Annotated[
        float, typer.Option(help="Seconds at the start of a step that do not count.")
    ] = 2.0,
    processes: Annotated[int, typer.Option(help="Client processes.")] = 2,
    connections: Annotated[int, typer.Option(help="Most requests in flight at once.")] = 256,
    timeout: Annotated[
        float, typer.Option(help="Seconds after which a request counts as failed.")
    ] = 30.0,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:VALUE", help="A header of every request. Repeat it for more."),
    ] = None,
    images: Images = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    out: Out = None,
    no_plots: NoPlots = False,
    as_json: AsJson = False,
) -> None:
    """Put load on a server and measure its latency.

    Latency counts from the time when a request was due, so a server that stalls delays all requests
    that were due meanwhile.
    """
    from service.bench import options
    from service.bench.load.load import LoadPlan, bench_load

    _check_out(out, no_plots)
    plan = LoadPlan(
        arrivals=options.arrivals(arrivals),
        rates=options.rates(rate) if rate else (),
        users=options.batches(users),
        mix=options.mix(mix),
        slo_ms=slo_ms,
        percent=slo_percentile,
        seconds=seconds,
        warm_up_s=warm_up,
        processes=processes,
        connections=connections,
        timeout_s=timeout,
        seed=seed,
        headers=options.headers(header or []),
    )
    report = bench_load(url, plan, _photos(images, image_size, seed), _show_step)
    _show(report, out, no_plots, as_json)
    if not as_json and report.best_per_second is not None:
        answer(
            f"p{slo_percentile:g} ≤ {slo_ms:g} ms is kept up to {report.best_per_second:.1f} "
            "requests per second"
        )


def _photos(folder: Path | None, size: str | None, seed: int) -> "Photos":
    from service.bench import image_size
    from service.bench.photos import photos

    wanted = None if size is None else image_size.ImageSize.parse(size)
    found = photos(folder, wanted, seed)
    for line in found.skipped.lines():
        log(line)
    return found


def _show_step(step: "LoadStep") -> None:
    p99 = f"p99 {step.latency.p99_ms:.1f} ms" if step.latency else "no answers"
    log(f"{step.name}: {step.answered}/{step.sent} answered, {p99}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="results.json of an earlier run.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="results.json of a later run.")],
    as_json: AsJson = False,
) -> None:
    """Compare two runs, and show which differences are larger than the noise."""
    from dataclasses import asdict

    from service.bench.report.compare import compare as differences
    from service.bench.report.results import read

    found = differences(read(a), read(b))
    if as_json:
        rows = [{**asdict(d), "real": d.real} for d in found.differences]
        print_json({"differences": rows, "notes": found.notes}, indent=1)
    else:
        _print((found.table(),), found.notes)


@app.command()
def mlperf(
    package: shared.Package,
    scenario: Annotated[
        str, typer.Option(metavar="NAME,NAME,…", help="MLPerf scenarios, separated by commas.")
    ] = "SingleStream,MultiStream,Server,Offline",
    tta: Modes = "auto",
    precision: shared.Precision = "auto",
    seconds: Annotated[
        float, typer.Option(help="Shortest length of each test, in seconds.")
    ] = 10.0,
    official: Annotated[
        bool,
        typer.Option("--official", help="600 seconds for each test, as the MLPerf rules require."),
    ] = False,
    server_rate: Annotated[
        float | None,
        typer.Option(
            help="Scenario Server: queries per second; by default half of a quick estimate."
        ),
    ] = None,
    server_latency_ms: Annotated[
        float, typer.Option(help="Scenario Server: the 99th percentile to keep, in milliseconds.")
    ] = 15.0,
    provider: shared.Provider = "auto",
    threads: shared.Threads = 0,
    images: Images = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder for LoadGen's logs.")
    ] = Path("runs/mlperf"),
    as_json: AsJson = False,
) -> None:
    """Run the scenarios of MLPerf's LoadGen, with a single crop and with TTA."""
    from dataclasses import asdict

    from service.bench import options
    from service.bench.latency.mlperf import (
        OFFICIAL_SECONDS,
        MlperfPlan,
        bench_mlperf,
        require_loadgen,
    )
    from service.bench.report.tables import ReportTable
    from service.inference.predictor import Predictor

    require_loadgen()
    _check_out(out, no_plots=True)
    predictor = Predictor.from_package(
        package,
        precision=precision,
        provider=provider,
        threads=threads,
    )
    modes = options.modes(tta, package, (predictor.precision,), log)
    pictures = _photos(images, image_size, seed)
    with pictures.naming_a_broken_file():
        outcomes = [
            bench_mlperf(
                predictor,
                MlperfPlan(
                    kind,
                    mode,
                    OFFICIAL_SECONDS if official else seconds,
                    server_rate,
                    server_latency_ms,
                ),
                pictures,
                out / f"{kind}-{mode}",
            )
            for kind in options.scenarios(scenario)
            for mode in modes
        ]
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes], indent=1)
        return
    rows = tuple(
        (o.scenario, o.mode, o.metric, "valid" if o.valid else f"invalid: not {o.unmet}")
        for o in outcomes
    )
    title = f"MLPerf LoadGen, {predictor.precision}, {pictures.description}"
    header = ("scenario", "mode", "LoadGen says", "result")
    _print((ReportTable(title, header, rows),), (f"LoadGen's own summaries are in {out}.",))


def _progress(seconds: float) -> Callable[[int, float], None]:
    def show(rounds: int, elapsed: float) -> None:
        if sys.stderr.isatty():
            print(f"\rround {rounds}, {elapsed:.0f} of {seconds:.0f} s", end="", file=sys.stderr)

    return show


def _check_out(out: Path | None, no_plots: bool) -> None:
    """Fail before the measurement if its report cannot be written or matplotlib is missing."""
    if out:
        from service.replacing import check_writable

        check_writable(out)
    if out and not no_plots:
        from service.bench.report.plots import require_matplotlib

        require_matplotlib()


def _show(
    report: "LatencyReport | LoadReport", out: Path | None, no_plots: bool, as_json: bool
) -> None:
    from service.bench.report.report import tables, write

    if out:
        write(report, out, plots=not no_plots)
        log(f"wrote {out}/report.html")
    if as_json:
        print_json(json.loads(report.model_dump_json()), indent=1)
    else:
        images = report.images if report.kind == "latency" else report.settings.images
        _print(tables(report), (f"images: {images}", *report.notes))


def _print(tables: "tuple[ReportTable, ...]", notes: tuple[str, ...]) -> None:
    from rich import box
    from rich.table import Table as Grid

    from service.console.terminal import console

    for table in tables:
        grid = Grid(*table.header, title=table.title, box=box.SIMPLE, title_justify="left")
        for row in table.rows:
            grid.add_row(*row)
        console().print(grid)
    for note in notes:
        answer(f"- {note}")
