"""`quincunx bench`: what TTA costs, measured in a way that can be checked."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.bench.results import LatencyReport, LoadReport
    from service.bench.tables import Table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Images = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Your own photos; without it JPEGs are drawn in memory."),
]
ImageSize = Annotated[
    str, typer.Option(metavar="WIDTHxHEIGHT", help="Size in pixels of the drawn JPEGs.")
]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


@app.callback()
def bench() -> None:
    """Measure latency and load."""


@app.command()
def latency(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="A model package.")],
    tta: Annotated[
        str, typer.Option(help="Modes, comma-separated; the single crop always runs.")
    ] = "none,five_crop,dense",
    precision: Annotated[
        str, typer.Option(help="Precisions, comma-separated, or auto: what suits the machine.")
    ] = "auto",
    batch: Annotated[str, typer.Option(help="Batch sizes in images, comma-separated.")] = "1,8",
    seconds: Annotated[float, typer.Option(help="How long to measure.")] = 60.0,
    min_rounds: Annotated[int, typer.Option(help="Samples of each case, at least.")] = 20,
    images: Images = None,
    image_size: ImageSize = "500x375",
    provider: Annotated[str, typer.Option(help="auto, cpu, cuda or tensorrt.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="ONNX Runtime threads; 0: all cores.")] = 0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Time every mode × precision × batch size in process, interleaved, phases apart."""
    from service.bench import options
    from service.bench.latency import Plan, bench_latency
    from service.bench.photos import photos
    from service.bench.tables import latency_tables

    plan = Plan(
        modes=options.modes(tta),
        precisions=options.precisions(precision, package, options.provider(provider)),
        batches=options.batches(batch),
        seconds=seconds,
        min_rounds=min_rounds,
        seed=seed,
    )
    report = bench_latency(
        package,
        plan,
        photos(images, image_size, seed),
        provider=options.provider(provider),
        threads=threads,
        progress=_progress(seconds),
    )
    _show(report, latency_tables(report), as_json)


def _progress(seconds: float) -> Callable[[int, float], None]:
    def show(rounds: int, elapsed: float) -> None:
        if sys.stderr.isatty():
            print(f"\rround {rounds}, {elapsed:.0f} of {seconds:.0f} s", end="", file=sys.stderr)

    return show


def _show(report: "LatencyReport | LoadReport", tables: "tuple[Table, ...]", as_json: bool) -> None:
    if as_json:
        print(report.model_dump_json(indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in tables:
        grid = Grid(*table.header, title=table.title, box=box.SIMPLE, title_justify="left")
        for row in table.rows:
            grid.add_row(*row)
        console.print(grid)
    for note in report.notes:
        console.print(f"- {note}", markup=False, highlight=False)
