"""Compare sources with the rows that an earlier run has scored of them.

Stamps of files are compared first. If a stamp differs, the content is read again and compared. So a
source that was only copied or touched counts as the same source.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby, islice
from typing import TypeVar

from service.console.text import storable
from service.scoring.files import local_path
from service.scoring.item import Item, Position
from service.scoring.result.parts import Recorded
from service.scoring.resume.fingerprint import Digest, Print, file_stamps
from service.scoring.resume.stamps import stamp
from service.scoring.resume.trace import Trace, items_of, load
from service.scoring.sources import ImageSource

AT_ONCE = 64
"""Images that are read at once."""
T = TypeVar("T")


def changed_since(
    sources: Sequence[ImageSource],
    records: Callable[[], Iterable[Recorded]],
    end: Position,
    threads: int,
) -> str | None:
    """The first difference between the finished rows of an earlier run and the sources, in words.

    `records` gives the finished rows from the first, as often as it is called; `end` is the
    position after the last of them. None: the run may go on.
    """
    proven = _proven_by_stamp(sources, records())
    finished = {n for n in range(end.source) if n not in proven}
    with ThreadPoolExecutor(threads, "score-compare") as pool:
        for number, group in groupby(records(), key=lambda record: record.source):
            if number in proven:
                continue
            source = sources[number]
            found = _first_difference(source, group, number in finished, pool)
            finished.discard(number)
            if found:
                return f"{source.name} has changed: {found}"
    for number in sorted(finished):  # these sources held no image
        if (item := next(sources[number].items(), None)) is not None:
            now = _renamed(None, storable(item.path))
            return f"{sources[number].name} has changed: image 1 {now}"
    return None


def other_images(
    sources: Sequence[ImageSource], were: Sequence[Print], paths: Iterator[str] | None, threads: int
) -> str | None:
    """The first difference between the images of a finished result and the sources, in words.

    `paths` are the result's own, where they are known, to name the first that differs. None: the
    result is of these very images.
    """
    together = len(were) == 1 and len(sources) != 1
    groups = [list(sources)] if together else [[source] for source in sources]
    with ThreadPoolExecutor(threads, "score-compare") as pool:
        for group, was in zip(groups, were, strict=True):
            name = "the sources" if together else group[0].name
            expected = None if paths is None else islice(paths, was.images)
            if was.kind == "file" and not together and _is_same_file(group[0], was):
                for _ in expected or ():  # the next source's rows begin after these
                    pass
            elif found := _other_images_in(group, was, expected, pool):
                return f"{name} has changed: {found}"
    return None


def _is_same_file(source: ImageSource, was: Print) -> bool:
    now = stamp(source.name)
    return now is not None and file_stamps(now) == was.stamps


def _other_images_in(
    sources: list[ImageSource], was: Print, expected: Iterator[str] | None, pool: ThreadPoolExecutor
) -> str | None:
    if was.kind == "images" and (expected is not None or was.stamps is not None):
        now, found = _print_of(sources, expected, _stamp_only, pool)
        if found or (was.stamps is not None and now.stamps == was.stamps):
            return found
        expected = None  # the names are the same: the bytes decide
    now, found = _print_of(sources, expected, _read, pool)
    if found:
        return found
    if now.images != was.images:
        return f"it has {now.images} images, and had {was.images}"
    if now.content != was.content:
        return "the content or the labels of its images differ"
    return None


def _print_of(
    sources: list[ImageSource],
    expected: Iterator[str] | None,
    trace: Callable[[Item], Trace],
    pool: ThreadPoolExecutor,
) -> tuple[Print, str | None]:
    """The print of sources as they are now, up to the first name that is not as `expected`."""
    digest, number = Digest(), 0
    for items in _batched(chain.from_iterable(map(items_of, sources))):
        # Threads help if files are read or queried over a network; otherwise they cost time.
        here = trace is _stamp_only and all(local_path(item.path) for item in items)
        traces = map(trace, items) if here else pool.map(trace, items)
        for item, now in zip(items, traces, strict=True):
            number += 1
            path = storable(item.path)
            if expected is not None and (found := _renamed(next(expected, None), path)):
                return digest.print(), f"image {number} {found}"
            digest.add(path, now)
    if expected is not None and (missing := next(expected, None)) is not None:
        return digest.print(), f"image {number + 1} {_renamed(missing, None)}"
    return digest.print(), None


def _proven_by_stamp(sources: Sequence[ImageSource], records: Iterable[Recorded]) -> set[int]:
    """The archives and tables that have the stamp that every finished row of theirs has."""
    proven: set[int] = set()
    for number, group in groupby(records, key=lambda record: record.source):
        stamps = {record.trace.stamp if record.trace.embedded else None for record in group}
        if None not in stamps and stamps == {stamp(sources[number].name)}:
            proven.add(number)
    return proven


def _first_difference(
    source: ImageSource, were: Iterable[Recorded], finished: bool, pool: ThreadPoolExecutor
) -> str | None:
    items, number = items_of(source), 0
    for batch in _batched(were):
        now = [next(items, None) for _ in batch]
        waiting = {
            n: pool.submit(_difference, was, item)
            for n, (was, item) in enumerate(zip(batch, now, strict=True), 1)
            if not _is_proven(was, item)
        }
        for n, difference in waiting.items():
            if found := difference.result():
                return f"image {number + n} {found}"
        number += len(batch)
    if finished and (item := next(items, None)) is not None:
        return f"image {number + 1} {_renamed(None, storable(item.path))}"
    return None


def _is_proven(was: Recorded, now: Item | None) -> bool:
    """Whether the stamp of a file on this machine proves that it is the same; quick to find."""
    return (
        now is not None
        and not now.embedded
        and local_path(now.path) is not None
        and storable(now.path) == was.path
        and _given(now) == was.trace.given
        and was.trace.stamp is not None
        and stamp(now.path) == was.trace.stamp
    )


def _difference(was: Recorded, now: Item | None) -> str | None:
    """How an image differs from the image of a finished row, in words."""
    if now is None or (path := storable(now.path)) != was.path:
        return _renamed(was.path, None if now is None else storable(now.path))
    if (given := _given(now)) != was.trace.given:
        return f"({path}) was labelled {was.trace.given!r} and is now labelled {given!r}"
    if not now.embedded and was.trace.stamp is not None and stamp(now.path) == was.trace.stamp:
        return None
    return None if load(now).trace.content == was.trace.content else f"({path}) has other content"


def _given(item: Item) -> str | None:
    return None if item.label is None else storable(item.label)


def _renamed(was: str | None, now: str | None) -> str | None:
    if was == now:
        return None
    if was is None:
        return f"is {now}, which was not there"
    return f"was {was} and is now {now or 'missing'}"


def _stamp_only(item: Item) -> Trace:
    stamped = item.stamp if item.embedded else stamp(item.path)
    return Trace(b"", stamped, item.embedded, _given(item))


def _read(item: Item) -> Trace:
    return load(item).trace


def _batched(all_of_them: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(all_of_them)
    while batch := list(islice(iterator, AT_ONCE)):
        yield batch
