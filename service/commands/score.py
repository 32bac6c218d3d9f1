"""`quincunx score`: write the answers for any number of images into one table."""

import os
import signal
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.commands import options
from service.console.signals import terminate
from service.console.stdio import log

if TYPE_CHECKING:
    from collections.abc import Generator

app = typer.Typer()


@app.command()
def score(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Folders, globs and image files; lists of paths (.txt, .csv, .parquet; - for "
            "standard input); tables of image bytes (.parquet, .arrow); archives (.tar, .zip). "
            "Each is a path, or a URL such as s3://BUCKET/FOLDER.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="The table to write: .parquet, .csv, .jsonl or .arrow; - writes JSON Lines to "
            "standard output.",
        ),
    ],
    model: options.Model = None,
    tta: options.Tta = None,
    aggregate: options.Aggregate = "mean",
    gate_cost: options.GateCost = None,
    known_rate: options.KnownRate = None,
    box: options.Box = None,
    top_k: options.TopK = 5,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="Add a column with the probability of every class."),
    ] = False,
    coverage: options.Coverage = None,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Add a column with the embedding of each image.")
    ] = False,
    single: Annotated[
        bool,
        typer.Option(
            "--single", help="Add columns with the answer of the single crop, without TTA."
        ),
    ] = False,
    sha256: Annotated[
        bool, typer.Option("--sha256", help="Add a column with the SHA-256 digest of each file.")
    ] = False,
    uncertain: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Also write a table of the N images that are most worth labelling next, "
            "OUT.uncertain.SUFFIX, and add the columns margin and entropy to OUT.",
        ),
    ] = None,
    timing: Annotated[
        bool,
        typer.Option(
            help="Add columns with the time of decoding and inference. Only these columns differ "
            "from run to run."
        ),
    ] = True,
    path_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="In tables: the column of paths.")
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="In tables: the column of image bytes.")
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="In tables: the column of true labels. Without it the name of an image's folder "
            "is its label, if it is a class.",
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="CHAR",
            help="The separator of a CSV: a character, or the word tab. By default it is detected: "
            ", ; | or tab.",
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder that relative paths in lists start from; by default the list's "
            "folder.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write counts and accuracy into this file: .json or .md."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Delete the finished rows of an unfinished run, and start again."
        ),
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The folder for OUT.partial; by default the folder of OUT."
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with 1 if an image failed, a file that is not hidden was skipped, or a true "
            "label is not a class of the model.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    precision: options.Precision = "auto",
    provider: options.Provider = "auto",
    threads: Annotated[
        int,
        typer.Option(
            min=0, help="Threads of the network, each with its own batch; 0: one for each core."
        ),
    ] = 0,
    decode_threads: Annotated[
        int, typer.Option(min=0, help="Threads that decode; 0: one for each core.")
    ] = 0,
    decode_processes: Annotated[
        str,
        typer.Option(
            metavar="auto|N",
            help="Processes that decode; 0: threads decode. auto: 0 on a CPU; on a GPU one less "
            "than there are cores.",
        ),
    ] = "auto",
    batch_views: Annotated[
        int, typer.Option(min=0, help="Largest batch, in views; 0: 32 on a CPU, 256 on a GPU.")
    ] = 0,
    chunk_images: Annotated[
        int,
        typer.Option(min=0, help="Images whose views share batches; 0: 32 on a CPU, 256 on a GPU."),
    ] = 0,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: this machine; ray: a Ray Data job (needs quincunx[ray])."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With --engine ray: the cluster; by default RAY_ADDRESS, or a local one.",
        ),
    ] = None,
    actors: Annotated[
        int,
        typer.Option(
            min=0, help="With --engine ray: how many models are loaded at once; 0: as many as fit."
        ),
    ] = 0,
) -> None:
    """Classify any number of images, and write a table with one row for each.

    An image that cannot be read gets a row with its error. OUT appears when it is complete. If the
    command was stopped, or the disk was full, the same command continues where it stopped, and the
    result is the same. The exit code is 0 if at least one image was answered; see --strict.
    """
    from service.errors import UsageError
    from service.inference.option_text import box_of
    from service.inference.options import Options
    from service.inference.predictor import Predictor
    from service.package.shipped import named_or_shipped
    from service.scoring.options import ScoreOptions, Speed
    from service.scoring.progress import progress
    from service.scoring.result.output import write_output
    from service.scoring.result.sinks import sink_for
    from service.scoring.run import Run
    from service.scoring.sources import Columns, expand
    from service.scoring.sources.replay import Replayed
    from service.scoring.stream import stream_rows
    from service.scoring.summary.uncertain import Uncertain

    if output == "-" and (as_json or overwrite or restart):
        raise UsageError("-o - streams rows to standard output: no --json, --overwrite, --restart")
    picker = None if uncertain is None else Uncertain(uncertain)
    if output != "-":
        sink_for(output)
    elif picker is not None:
        raise UsageError("--uncertain writes a file beside OUT: name a file with -o, not -")
    if report is not None:
        _check_report(report)
    if engine == "local" and (ray_address is not None or actors):
        raise UsageError("--ray-address and --actors go with --engine ray")
    columns = Columns(path_column, image_column, label_column, root, _separator(separator))
    expanded = expand(sources, columns)
    if output != "-":
        expanded = [Replayed(one) if one.name == "-" else one for one in expanded]
    folder = named_or_shipped(model)
    connection = None
    if engine == "ray":
        from service.scoring.ray_engine import Cluster, connect, open_here

        if "-" in sources:
            raise UsageError("the ray engine cannot read standard input: name a file")
        connection = connect(Cluster(ray_address, actors), provider)
        predictor = open_here(folder, precision, connection.provider)
    else:
        predictor = Predictor.from_package(
            folder, precision=precision, provider=provider, threads=1
        )
    chosen = ScoreOptions.of(
        predictor.model,
        Options(
            tta=tta,
            aggregate=aggregate,
            coverage=coverage,
            gate_cost=gate_cost,
            known_rate=options.known_rate_of(known_rate),
            boxes=tuple(box_of("--box", text) for text in box or ()),
        ),
        top_k=top_k,
        single=single,
        all_probabilities=probabilities,
        sha256=sha256,
        timing=timing,
        uncertainty=picker is not None,
        embedding=embedding,
    )
    processes = options.number_or_auto("--decode-processes", decode_processes, 0)
    speed = Speed(batch_views, chunk_images, decode_threads, threads, processes)
    elsewhere = connection.provider if connection else None
    run = Run(expanded, predictor, chosen, speed, columns, elsewhere, picker)
    if report is not None:
        run.passed_over.ignore(report)
    run.check()  # invalid options are refused before anything is written
    rows = partial(connection.rows, run) if connection else run.rows
    again = "stopped" if output == "-" else "stopped; the same command continues from here"
    with _terminable(again), progress(expanded) as observer:
        if output == "-":
            summary = stream_rows(run, sys.stdout.buffer, rows, observer)
        else:
            summary = write_output(
                run,
                output,
                rows=rows,
                restart=restart,
                overwrite=overwrite,
                work=work,
                observer=observer,
            )
    _tell(summary, report, as_json)
    strangers = summary.get("true_labels", {}).get("unknown", 0)
    spoiled = summary["failed"] or summary["skipped"] or strangers
    if (strict and spoiled) or not summary["ok"]:
        raise typer.Exit(1)


def _separator(text: str | None) -> str | None:
    """The separator of a CSV that the user named, as one character."""
    from service.errors import UsageError

    if text == "tab":
        return "\t"
    if text is not None and (len(text) != 1 or text in '"\r\n'):
        raise UsageError(f"--separator must be one character or tab, but got {text!r}")
    return text


@contextmanager
def _terminable(message: str) -> "Generator[None]":
    """SIGTERM ends the command like Ctrl-C: finished work is kept, and `message` is shown."""
    before = signal.signal(signal.SIGTERM, terminate)  # Ray puts a handler of its own
    try:
        yield
    except KeyboardInterrupt:
        log(f"quincunx: {message}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_report(report: Path) -> None:
    """Check now that the report can be written, not after hours of work."""
    from service.errors import OutputError, UsageError

    if report.suffix not in (".json", ".md"):
        raise UsageError(f"--report must end in .json or .md, but got {report}")
    if report.is_dir():
        raise OutputError(f"{report} cannot be written: it is a folder")
    if not os.access(report if report.exists() else report.parent, os.W_OK):
        raise OutputError(f"{report} cannot be written: its folder is missing or read-only")


def _tell(summary: "dict[str, Any]", report: Path | None, as_json: bool) -> None:
    """Write the summary: to stdout for machines, to stderr for people, and to a file."""
    from service.console.stdio import print_json
    from service.scoring.summary import report as reports
    from service.scoring.summary.terminal import print_summary

    if report is not None:
        as_text = reports.as_json if report.suffix == ".json" else reports.as_markdown
        try:
            report.write_text(as_text(summary), encoding="utf-8")
        except OSError as error:
            from service.errors import OutputError

            raise OutputError(f"{report} cannot be written: {error.strerror}") from error
    if as_json:
        print_json(summary, indent=None)
    else:
        print_summary(summary)
