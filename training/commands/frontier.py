"""`quincunx frontier`: accuracy against time, every mode and precision, in one run."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from service.commands.options import AsJson, Package
from service.console.stdio import log, print_json
from service.package.manifest import Mode, Precision
from training.commands.evaluate import answerable, chosen, measured_boxes
from training.commands.options import MeasuredBox, Precisions

app = typer.Typer()

DEFAULT_MODES: tuple[Mode, ...] = (
    "none", "five_crop", "ten_crop", "dense", "centre_dense", "adaptive",
)  # fmt: skip
MAX_ASPECT = 100.0
MAX_COST = 100.0


def gate_costs(text: str) -> list[float]:
    """Mean costs in single crops, separated by commas; "" is none.

    Raises:
        UsageError: something else than numbers from 0 to `MAX_COST`.
    """
    from service.errors import UsageError

    parts = [part for part in text.split(",") if part.strip()]
    try:
        costs = [float(part) for part in parts]
    except ValueError:
        costs = [-1.0]
    if not all(0 <= cost <= MAX_COST for cost in costs):
        raise UsageError(
            f"--gate-cost takes numbers from 0 to {MAX_COST:g}, separated by commas, but got "
            f"{text!r}"
        )
    return costs


@app.command()
def frontier(
    package: Package,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Labelled images: a folder DATA/<class>/* or DATA/val/<class>/*; a table of "
            "path,label; or a name: imagenette, imagewoof.",
        ),
    ],
    tta: Annotated[
        str,
        typer.Option(
            metavar="MODE,MODE,…",
            help="TTA modes, separated by commas.",
            show_default="all that the package can answer without boxes",
        ),
    ] = "",
    box: MeasuredBox = None,
    precision: Precisions = "",
    gate_cost: Annotated[
        str,
        typer.Option(
            metavar="N,N,…",
            help="Also run adaptive at these mean costs, in single crops, separated by commas.",
        ),
    ] = "0.75,1,1.25",
    images: Annotated[
        int, typer.Option(min=0, help="Measure accuracy on this many images; 0: all.")
    ] = 0,
    timed_images: Annotated[
        int, typer.Option(min=20, help="How many images to measure the time on.")
    ] = 300,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0: one for each core.")] = 0,
    aspect: Annotated[
        float,
        typer.Option(
            min=1.0,
            max=MAX_ASPECT,
            help="Cut images to this ratio of width to height first; 1: do not cut.",
        ),
    ] = 1.0,
    stretch: Annotated[
        bool,
        typer.Option(
            "--stretch",
            help="With --aspect: stretch images to this ratio instead of cutting them, for photos "
            "that were squashed to squares.",
        ),
    ] = False,
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="Measure the time on drawn JPEGs of this size in pixels; 4032x3024 is a photo of "
            "a phone.",
            show_default="DATA's images",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write frontier.md, .json and .png into this folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure accuracy and time of every TTA mode, precision and baseline in one run."""
    import random
    import shlex
    from dataclasses import replace

    from rich.table import Table

    from service.bench.image_size import ImageSize
    from service.console.terminal import console
    from service.console.text import json_text
    from service.errors import UsageError
    from service.inference.option_text import box_text
    from service.inference.tta.task import TASKS
    from service.package.package import ModelPackage
    from service.replacing import check_writable
    from training.data.named_data import located
    from training.evaluation.evaluate import labelled
    from training.frontier import measure as measuring
    from training.frontier import report
    from training.frontier.plot import plot
    from training.frontier.shapes import Shape

    if stretch and aspect == 1:
        raise UsageError("--stretch needs --aspect, the ratio to stretch images to")
    costs = gate_costs(gate_cost)
    if out:
        check_writable(out)
    timed_size = None if image_size is None else ImageSize.parse(image_size)
    manifest = ModelPackage.load(package).manifest
    if not TASKS[manifest.task].one_is_true:
        raise UsageError(
            f"frontier plots top-1, and {manifest.name} is multi-label; quincunx evaluate measures "
            "its modes"
        )

    precisions = chosen(precision, get_args(Precision), "precision") if precision else []
    usual = answerable(DEFAULT_MODES, manifest, precisions, log if not tta else None)
    wanted = chosen(tta or usual, get_args(Mode), "tta")
    modes: list[Mode] = list(dict.fromkeys(["none", *wanted]))
    boxes = measured_boxes(box, modes, manifest)
    items = labelled(located(data), manifest)
    if images and images < len(items):
        items = replace(items, items=tuple(random.Random(0).sample(items.items, images)))
    measured = measuring.measure(
        package,
        items,
        modes,
        precisions,
        gate_costs=costs,
        timed_images=timed_images,
        threads=threads,
        shape=Shape(aspect, stretch),
        boxes=boxes,
        image_size=timed_size,
    )
    for line in (*items.notes, *measured.left_out.lines()):
        log(line)
    if as_json:
        print_json(report.as_json(measured), indent=1)
    else:
        table = Table(title=f"{measured.package}, {measured.images} images")
        for column in report.COLUMNS:
            table.add_column(column)
        for cells in report.rows(measured):
            table.add_row(*cells)
        console().print(table)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        command = f"quincunx frontier {package} DATA --tta {','.join(modes)}"
        command += "".join(f" --box {box_text(one)}" for one in boxes)
        command += f" --precision {precision}" if precision else ""
        command += f" --gate-cost {shlex.quote(gate_cost)}"
        command += f" --images {images}" if images else ""
        command += f" --timed-images {timed_images}"
        command += f" --image-size {timed_size.in_file_names}" if timed_size else ""
        command += f" --aspect {aspect:g}" if aspect != 1 else ""
        command += " --stretch" if stretch else ""
        command += f" --threads {threads}" if threads else ""
        (out / "frontier.md").write_text(report.markdown(measured, command), encoding="utf-8")
        text = json_text(report.as_json(measured), indent=1) + "\n"
        (out / "frontier.json").write_text(text, encoding="utf-8")
        plot(measured, out / "frontier.png")
        log(f"wrote {out}/frontier.md, .json and .png")
