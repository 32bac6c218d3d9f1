"""A result that already exists: whether it is the result of the requested run."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from service.errors import OutputError
from service.listing.skipped import Skipped
from service.scoring.files import open_binary
from service.scoring.result.journal import differences
from service.scoring.result.target import Target
from service.scoring.resume.compare import other_images
from service.scoring.resume.fingerprint import prints
from service.scoring.resume.passed_over import counted_again
from service.scoring.run import Run
from service.scoring.summary.tally import Tally
from service.scoring.task import tally_of
from service.tabular.arrow import ipc, pq

METADATA_KEY = b"quincunx"
NO_SETTINGS = frozenset({"labels", "fingerprint", "skipped"})
BATCH_ROWS = 16_384
ADVICE = "Name another file, or replace this one with --overwrite"
CANNOT_SAY = (".csv", ".jsonl", ".ndjson")


def about(settings: dict[str, Any], run: Run, fingerprint: list[list[Any]]) -> bytes:
    """The metadata of a result."""
    labels = [label.id for label in run.predictor.manifest.labels]
    skipped = run.passed_over.total().as_json()
    content = {**settings, "labels": labels, "fingerprint": fingerprint, "skipped": skipped}
    return json.dumps(content).encode()


def tally_if_same(run: Run, target: Target, settings: dict[str, Any]) -> tuple[Tally, Skipped]:
    """The counts of a finished result and of skipped files, if `run` would write the same result.

    Raises:
        OutputError: it has other images or settings, is damaged, or its format cannot record them.
    """
    if target.name.lower().endswith(CANNOT_SAY):
        raise OutputError(
            f"{target.name} exists already, and its format cannot record which images and "
            f"settings made it. {ADVICE}"
        )
    with _readable(target.name):
        made_with = _metadata(target.name)
        were = None if made_with is None else prints(made_with["fingerprint"])
        skipped = Skipped.from_json({} if made_with is None else made_with["skipped"])
    if made_with is None or were is None:
        raise OutputError(f"{target.name} exists already, and no run like this made it. {ADVICE}")
    was = {name: value for name, value in made_with.items() if name not in NO_SETTINGS}
    if changed := differences(was, settings):
        raise OutputError(
            f"{target.name} exists already, made with other settings: {'; '.join(changed)}. "
            f"{ADVICE}"
        )
    tally = _tally(run, target.name)  # before the sources are compared: it may be damaged
    if (rows := tally.ok + tally.failed.total()) != (images := sum(one.images for one in were)):
        raise OutputError(
            f"{target.name} exists already, and has {rows} rows of {images}. {ADVICE}"
        )
    threads = run.resolved_speed.decode_threads
    if found := other_images(run.sources, were, _paths(target.name), threads):
        raise OutputError(f"{target.name} exists already, of other images: {found}. {ADVICE}")
    return tally, counted_again(run.sources, skipped, run.passed_over.own)


def _tally(run: Run, name: str) -> Tally:
    tally = tally_of(run.predictor.manifest)
    if run.uncertain is not None:
        run.uncertain.clear()
    for batch in _batches(name, None):
        if not batch.schema.equals(run.schema):
            raise OutputError(
                f"{name} exists already, with the columns {', '.join(batch.schema.names)} and "
                f"not {', '.join(run.schema.names)}. {ADVICE}"
            )
        rows = pa.Table.from_batches([batch])
        tally.add(rows)
        if run.uncertain is not None:
            run.uncertain.add(rows)
    return tally


def _paths(name: str) -> Iterator[str]:
    for batch in _batches(name, ["path"]):
        yield from batch.column("path").to_pylist()


def _metadata(name: str) -> dict[str, Any] | None:
    with open_binary(name) as stream:
        schema: Any = pq.read_schema(stream) if _is_parquet(name) else ipc.open_file(stream).schema
        metadata: dict[bytes, bytes] = schema.metadata or {}
        found = metadata.get(METADATA_KEY)
        return None if found is None else json.loads(found)


def _batches(name: str, columns: list[str] | None) -> Iterator[Any]:
    with _readable(name), open_binary(name) as stream:
        if _is_parquet(name):
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            yield from file.iter_batches(BATCH_ROWS, columns=columns)
            return
        reader = ipc.open_file(stream)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            yield batch if columns is None else batch.select(columns)


@contextmanager
def _readable(name: str) -> Generator[None]:
    """Say that a result cannot be read, for every kind of damage."""
    try:
        yield
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error) or type(error).__name__
        raise OutputError(
            f"{name} exists already, and cannot be read: {reason}. {ADVICE}"
        ) from error


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(".parquet")
