"""Write a run into a file that appears under its name only when it is complete."""

import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from service.errors import DataError, OutputError
from service.package.recorded.settings import settings_of
from service.scoring.item import Position
from service.scoring.result import finished
from service.scoring.result.durable import readable
from service.scoring.result.journal import Journal
from service.scoring.result.parts import records, result_columns
from service.scoring.result.sinks import sink_for
from service.scoring.result.target import Target, sha256_of
from service.scoring.result.uncertain_file import UncertainFile
from service.scoring.resume.compare import changed_since, other_images
from service.scoring.resume.fingerprint import Fingerprint, prints
from service.scoring.rows import Row
from service.scoring.run import Run
from service.scoring.sources.replay import Replayed
from service.scoring.summary.tally import Tally
from service.scoring.task import tally_of

PART_ROWS = 8_192
PART_SECONDS = 10.0


class Observer(Protocol):
    """Receives the progress of a run."""

    def began(self, done: int) -> None:
        """`done` images were finished by an earlier run."""
        ...

    def moved(self, images: int, failed: int) -> None:
        """`images` more are finished; `failed` of them failed."""
        ...


class NullObserver:
    """Ignores the progress."""

    def began(self, done: int) -> None: ...

    def moved(self, images: int, failed: int) -> None: ...


Rows = Callable[[Position], Generator[list[Row], None, None]]
"""The function that makes the rows: `Run.rows`, or that of another engine."""


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
    """Score into `output`. Continue where an earlier run of the same settings stopped.

    Returns the summary: counts, rate, and accuracy if labels are known.

    Raises:
        OutputError: the output exists already, or cannot be written, or another run writes it,
            or what an earlier run left is damaged.
        DataError: there is no image, or a source has changed since the run began.
    """
    target = Target(output, run.sources)
    settings = run.settings()
    folder = target.work_folder(work)
    run.passed_over.ignore(folder, *target.files)
    picked = UncertainFile(run.uncertain, output) if run.uncertain else None
    if picked is not None and picked.path is not None:
        run.passed_over.ignore(picked.path)
    if target.exists() and not overwrite and not folder.exists():
        return _complete_already(run, target, settings, picked)
    if picked is not None and not overwrite and not folder.exists():
        picked.check_missing()
    journal = Journal.open(folder, settings, restart=restart)
    try:
        with target.locked():
            return _write(
                run, target, journal, settings, rows or run.rows, overwrite, observer, picked
            )
    finally:
        if journal.is_empty:
            with suppress(OutputError):  # an error that is already being raised says more
                journal.remove()
        journal.close()


def _write(
    run: Run,
    target: Target,
    journal: Journal,
    settings: dict[str, Any],
    rows: Rows,
    overwrite: bool,
    observer: Observer | None,
    picked: UncertainFile | None,
) -> dict[str, Any]:
    done = _still_wanted(run, target, journal)
    if done is None:
        if target.exists() and not overwrite:
            return _complete_already(run, target, settings, picked)
        _check_unchanged(run, journal)
        observer = observer or NullObserver()
        observer.began(journal.rows)
        for source in run.sources:
            if isinstance(source, Replayed):
                source.stop_recording()
        rate = _score(run, rows, journal, observer)
        if journal.rows == 0:
            raise no_image(run)
        tally, fingerprint = _merge(run, journal, target, settings)
        skipped = run.passed_over.total()
        summary = summarize(run, target.name, tally) | skipped.facts() | rate
        if picked is not None:
            # Before the result: a run that is killed in between writes the same file again.
            summary |= picked.write(overwrite)
        with readable(journal.result):
            digest = sha256_of(str(journal.result))
        done: dict[str, Any] | None = {
            "summary": summary,
            "fingerprint": fingerprint,
            "result_sha256": digest,
        }
        journal.mark_done(done)
    _publish(journal, target, done["result_sha256"], overwrite)
    journal.remove()
    return done["summary"]


def _check_unchanged(run: Run, journal: Journal) -> None:
    """Raises DataError if the finished rows are of other images than the sources hold now."""
    if journal.rows == 0:
        return
    threads = run.resolved_speed.decode_threads
    if found := changed_since(run.sources, journal.records, journal.next, threads):
        raise DataError(
            f"{found}. The {journal.rows} finished rows in {journal.folder} are of the old "
            "source: restore it to finish that run, or start again (--restart)"
        )


def _still_wanted(run: Run, target: Target, journal: Journal) -> dict[str, Any] | None:
    """The record of an earlier run with a complete result, which only needs its last steps.

    None: rows are still to be scored, or that result was moved away or replaced.

    Raises:
        DataError: the result is of other images than the sources hold now.
    """
    done = journal.about_done()
    if done is None:
        return None
    unnamed = journal.result.exists()
    if not unnamed and not target.holds(done["result_sha256"]):  # moved away, or replaced
        journal.clear()
        return None
    threads = run.resolved_speed.decode_threads
    found = other_images(run.sources, prints(done["fingerprint"]), None, threads)
    if found is None:
        return done
    if unnamed:
        raise DataError(
            f"{found}. The result in {journal.folder} is of the old source: restore it to "
            "finish that run, or start again (--restart)"
        )
    journal.clear()
    return None


def _score(run: Run, rows: Rows, journal: Journal, observer: Observer) -> dict[str, Any]:
    """Score the remaining images into the journal."""
    start, before = time.perf_counter(), journal.rows
    pending: list[Row] = []
    written = time.monotonic()

    def flush() -> None:
        last = pending[-1].position
        journal.append(pending, run.schema, run.passed_over.settle(last.source))
        pending.clear()

    run.passed_over.go_on_from(journal.skipped)
    chunks = rows(journal.next)
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
        "resumed_from": before,
        "seconds": round(seconds, 3),
        "images_per_s": round((journal.rows - before) / seconds, 2),
    }


def _merge(
    run: Run, journal: Journal, target: Target, settings: dict[str, Any]
) -> tuple[Tally, list[list[Any]]]:
    """Write the result under a temporary name. Returns its counts and its fingerprint."""
    fingerprint = Fingerprint(len(run.sources))
    for content in journal.contents():
        fingerprint.add(records(content))
    tally, made_of = tally_of(run.predictor.manifest), fingerprint.as_list()
    if run.uncertain is not None:
        run.uncertain.clear()
    metadata: Any = {finished.METADATA_KEY: finished.about(settings, run, made_of)}
    schema = pa.schema(run.schema, metadata)
    with journal.writing_result() as stream:
        sink = sink_for(target.name)(stream, schema)
        for table in journal.tables():
            rows = result_columns(table)
            tally.add(rows)
            if run.uncertain is not None:
                run.uncertain.add(rows)
            sink.write(rows.replace_schema_metadata(metadata))
        sink.close()
    return tally, made_of


def summarize(run: Run, output: str, tally: Tally) -> dict[str, Any]:
    """The summary: counts, errors by kind, and accuracy if labels are known."""
    predictor, options = run.predictor, run.options.inference
    mode = predictor.model.mode(options)
    gate = predictor.model.gate(options.gate_cost) if mode == "adaptive" else None
    return {
        "output": output,
        "images": tally.ok + tally.failed.total(),
        "ok": tally.ok,
        "failed": tally.failed.total(),
        "errors": dict(tally.failed.most_common()),
        "package": f"{predictor.manifest.name} {predictor.manifest.version}",
        "precision": predictor.precision,
        "provider": run.provider,
        "tta": mode,
        "options": options.model_dump(mode="json", exclude={"tta"}),
        "settings": settings_of(predictor.package, gate),
        "calibrated": predictor.model.is_calibrated(mode),
        "label_column": run.columns.label,
        "true_labels": tally.truth.summary(),
        **tally.facts(),
    }


def no_image(run: Run) -> DataError:
    """The error of a run without rows, which names what its sources hold instead."""
    held = "; ".join(run.passed_over.total().lines())
    names = run.settings()["sources"]
    return DataError(f"there is no image in {', '.join(names)}" + (f": {held}" if held else ""))


def _publish(journal: Journal, target: Target, sha256: str, overwrite: bool) -> None:
    """Give the result its name. If a run was killed just after that, there is nothing to do."""
    if not journal.result.exists():
        return
    with readable(journal.result):
        whole = sha256_of(str(journal.result)) == sha256
    if not whole:
        raise OutputError(f"{journal.result} is damaged. Start again (--restart)")
    if target.path is None and not journal.upload_began:
        if target.exists() and not overwrite:
            raise target.refuse_to_replace()
        journal.mark_upload()
    target.publish(journal.result, overwrite)


def _complete_already(
    run: Run, target: Target, settings: dict[str, Any], picked: UncertainFile | None
) -> dict[str, Any]:
    """The summary of a finished run that is repeated.

    Raises:
        OutputError: the file is not what this run would write, or cannot say so.
    """
    tally, skipped = finished.tally_if_same(run, target, settings)
    summary = summarize(run, target.name, tally) | skipped.facts() | {"complete_already": True}
    return summary | (picked.write(False) if picked else {})
