"""A run into a file that appears under its name only when it is complete."""

import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from service.errors import DataError, OutputError
from service.scoring import rows as columns
from service.scoring.arrow import ipc, pq
from service.scoring.files import filesystem, is_file, is_url, open_binary
from service.scoring.item import Position
from service.scoring.journal import Journal, readable_errors
from service.scoring.label_tally import LabelTally, tally_of
from service.scoring.rows import Row
from service.scoring.run import Run
from service.scoring.sinks import sink_for
from service.scoring.tally import Tally

PART_ROWS = 8_192
PART_SECONDS = 10.0
METADATA_KEY = b"quincunx"


class Observer(Protocol):
    """Is told how a run gets on."""

    def began(self, done: int) -> None:
        """So many images were finished by an earlier run."""
        ...

    def moved(self, images: int, failed: int) -> None:
        """So many more are finished, of which so many failed."""
        ...


class Silent:
    """Tells nobody."""

    def began(self, done: int) -> None: ...

    def moved(self, images: int, failed: int) -> None: ...


Rows = Callable[[Position, str | None], Generator[list[Row], None, None]]
"""What makes the rows: `Run.rows`, or another engine's."""


def write_output(
    run: Run,
    output: str,
    *,
    rows: Rows | None = None,
    restart: bool = False,
    overwrite: bool = False,
    work: Path | None = None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Score into `output`, going on where an earlier run of the same settings stopped.

    Returns the summary: counts, rate, and accuracy where labels are known.

    Raises:
        OutputError: the output is there already, or cannot be written, or another run writes it.
        DataError: there is no image, or the source has changed since the run began.
    """
    sink_for(output)
    settings = run.settings()
    journal = Journal.open(_work_folder(output, work), settings, restart=restart)
    try:
        summary = journal.summary_of_done()
        if summary is None:
            if not overwrite and is_file(output):
                return _there_already(journal, output, settings)
            observer = observer or Silent()
            observer.began(journal.done.rows)
            rate = _score(run.schema, rows or run.rows, journal, observer)
            if journal.done.rows == 0:
                journal.remove()
                raise DataError(f"there is no image in {', '.join(settings['sources'])}")
            tally = _merge(run, journal, output, settings)
            summary = summarize(run, output, tally) | rate
            journal.mark_done(summary)
        _publish(journal, output)
        journal.remove()
        return summary
    finally:
        journal.close()


def _work_folder(output: str, work: Path | None) -> Path:
    name = f"{output.rpartition('/')[2]}.partial"
    if work is not None:
        return work / name
    return Path(name) if is_url(output) else Path(f"{output}.partial")


def _score(schema: pa.Schema, rows: Rows, journal: Journal, observer: Observer) -> dict[str, Any]:
    """Bring the journal to the end of the sources."""
    start, before = time.perf_counter(), journal.done
    pending: list[Row] = []
    written = time.monotonic()

    def flush() -> None:
        last = pending[-1]
        after = Position(last.position.source, last.position.image + 1)
        journal.append(columns.table(pending, schema), after, last.path)
        pending.clear()

    chunks = rows(before.next, before.last_path)
    try:
        with closing(chunks):  # its threads end here
            for chunk in chunks:
                pending += chunk
                observer.moved(len(chunk), sum(not row.ok for row in chunk))
                if len(pending) >= PART_ROWS or time.monotonic() - written >= PART_SECONDS:
                    flush()
                    written = time.monotonic()
    except OutputError:
        raise
    except BaseException:  # an interrupt or a failure: keep what is finished
        if pending:
            flush()
        raise
    if pending:
        flush()
    seconds = time.perf_counter() - start
    return {
        "resumed_from": before.rows,
        "seconds": round(seconds, 3),
        "images_per_s": round((journal.done.rows - before.rows) / seconds, 2),
    }


def _merge(run: Run, journal: Journal, output: str, settings: dict[str, Any]) -> Tally:
    labels = [label.id for label in run.predictor.manifest.labels]
    about = json.dumps({**settings, "labels": labels}).encode()
    schema = pa.schema(run.schema, {METADATA_KEY: about})
    tally = tally_of(run.predictor.manifest)
    with journal.writing_result() as stream:
        sink = sink_for(output)(stream, schema)
        for table in journal.tables():
            tally.add(table)
            sink.write(table.replace_schema_metadata(schema.metadata))
        sink.close()
    return tally


def summarize(run: Run, output: str, tally: Tally) -> dict[str, Any]:
    """What came out: counts, errors by kind, and accuracy where labels are known."""
    predictor = run.predictor
    summary = {
        "output": output,
        "images": tally.ok + tally.failed.total(),
        "ok": tally.ok,
        "failed": tally.failed.total(),
        "errors": dict(tally.failed.most_common()),
        "package": f"{predictor.manifest.name} {predictor.manifest.version}",
        "precision": predictor.precision,
        "provider": run.provider,
        "tta": run.options.inference.tta,
        "accuracy": tally.accuracy(),
    }
    return summary | ({"labels": tally.agreement()} if isinstance(tally, LabelTally) else {})


def _publish(journal: Journal, output: str) -> None:
    """Give the result its name; nothing to do where a run was killed just after that."""
    if not journal.result.exists():
        return
    with readable_errors(Path(output)):
        if is_url(output):
            fs, inner = filesystem(output)
            fs.put_file(str(journal.result), inner)
        else:
            _move(journal.result, Path(output))


def _move(result: Path, output: Path) -> None:
    try:
        result.replace(output)
    except OSError as error:
        import errno
        import shutil

        if error.errno != errno.EXDEV:  # --work on another disk: copy beside, then rename
            raise
        aside = output.with_name(f".{output.name}.tmp")
        shutil.copyfile(result, aside)
        aside.replace(output)


def _there_already(journal: Journal, output: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A finished run, repeated: nothing to do where the file says that it is this very run's.

    Raises:
        OutputError: it is another's, or of a format that cannot say.
    """
    if journal.done.rows == 0:
        journal.remove()
    about = _metadata(output)
    if about is not None:
        rows, made_with = about
        if {**settings, "labels": made_with.get("labels")} == made_with:
            return {"output": output, "images": rows, "complete_already": True, "failed": 0}
    raise OutputError(f"{output} is there already: name another, or replace it (--overwrite)")


def _metadata(output: str) -> tuple[int, dict[str, Any]] | None:
    try:
        with open_binary(output) as stream:
            if output.lower().endswith(".parquet"):
                file = pq.ParquetFile(stream)
                rows: int = file.metadata.num_rows
                metadata: dict[bytes, bytes] = file.schema_arrow.metadata or {}
            elif output.lower().endswith((".arrow", ".feather")):
                reader = ipc.open_file(stream)
                metadata = reader.schema.metadata or {}
                batches = range(reader.num_record_batches)
                rows = sum(len(reader.get_batch(number)) for number in batches)
            else:
                return None
        about = metadata.get(METADATA_KEY)
        return None if about is None else (rows, json.loads(about))
    except (pa.ArrowException, OSError, ValueError):
        return None
