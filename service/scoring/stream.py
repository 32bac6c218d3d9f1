"""Rows as JSON Lines, written at once to a pipe. Nothing is kept on disk."""

import time
from contextlib import closing
from typing import IO, Any

from service.console.stdio import writing_stdout
from service.scoring import rows as columns
from service.scoring.result.output import Observer, Rows, no_image, summarize
from service.scoring.result.sinks import JsonLinesSink
from service.scoring.run import BEGINNING, Run
from service.scoring.task import tally_of


def stream_rows(run: Run, stream: IO[bytes], rows: Rows, observer: Observer) -> dict[str, Any]:
    """Write a line per image, in the order of the sources; returns the summary.

    Raises:
        DataError: there is no image.
        OutputError: the stream cannot be written.
    """
    start, sink = time.perf_counter(), JsonLinesSink(stream, run.schema)
    tally = tally_of(run.predictor.manifest)
    with closing(rows(BEGINNING)) as chunks:
        for chunk in chunks:
            table = columns.table(chunk, run.schema)
            with writing_stdout(stream):
                sink.write(table)
            tally.add(table)
            observer.moved(len(chunk), sum(not row.ok for row in chunk))
    seconds = time.perf_counter() - start
    summary = summarize(run, "-", tally)
    if summary["images"] == 0:
        raise no_image(run)
    return (
        summary
        | run.passed_over.total().facts()
        | {
            "seconds": round(seconds, 3),
            "images_per_s": round(summary["images"] / seconds, 2),
        }
    )
