"""Run labelled images through the code that serves, once for several methods of answering."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from service.errors import ClientError, DataError, NotFinite
from service.inference.engine import InProgress, run_to_end
from service.inference.image.views import AnyImage
from service.inference.predictor import Predictor
from service.inference.tta.passes import StepsOf
from service.package.labels import class_ids
from service.package.manifest import Manifest
from training.data.pixels import read_image
from training.evaluation.methods import Method, Result
from training.evaluation.shared_views import shared

CHUNK_IMAGES = 32
DECODE_THREADS = 2

T = TypeVar("T")


class LabelledFile(Protocol):
    """A file and the id of its class."""

    @property
    def path(self) -> Path: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class MethodPredictions:
    """One method's answers for N images."""

    name: str
    probabilities: NDArray[np.float64]
    cost: float
    """Mean cost of an image in single crops."""
    gate_open: float | None
    """`adaptive`: share of images that took the second pass."""
    set_sizes: NDArray[np.int64] | None = None
    covered: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Predictions:
    """The answers of every method, and the truth."""

    labels: NDArray[np.int64]
    paths: tuple[Path, ...]
    by_name: dict[str, MethodPredictions]
    unreadable: dict[Path, str]


def label_index(items: Sequence[LabelledFile], manifest: Manifest) -> dict[str, int]:
    """Map each label of the items to the index of its class. A label is a class's id or name.

    Raises:
        DataError: a label that is not a class of the model, or the name of several.
    """
    index = {label.id: label.index for label in manifest.labels}
    ids = class_ids((item.label for item in items), manifest)
    return {label: index[label_id] for label, label_id in ids.items()}


def decoded(
    items: Iterable[LabelledFile],
    decode: Callable[[bytes], AnyImage],
    unreadable: dict[Path, str],
) -> Iterator[tuple[LabelledFile, AnyImage]]:
    """Decode ahead in threads, a bounded number at a time.

    `unreadable` gets the files that cannot be decoded, each with its reason.

    Raises:
        OutOfResources: memory or open files ran out; this is not the fault of an image.
    """

    def load(item: LabelledFile) -> AnyImage | Exception:
        try:
            return decode(read_image(item.path))
        except (ClientError, OSError) as error:
            return error

    source = iter(items)
    with ThreadPoolExecutor(DECODE_THREADS) as pool:
        ahead = [(item, pool.submit(load, item)) for item in islice(source, 2 * CHUNK_IMAGES)]
        while ahead:
            item, future = ahead.pop(0)
            result = future.result()
            ahead += [(i, pool.submit(load, i)) for i in islice(source, 1)]
            if isinstance(result, Exception):
                unreadable[item.path] = str(result)
            else:
                yield item, result


def chunks(source: Iterable[T], length: int = CHUNK_IMAGES) -> Iterator[list[T]]:
    """Lists of `length`, the last one shorter."""
    iterator = iter(source)
    while chunk := list(islice(iterator, length)):
        yield chunk


def collect(
    predictor: Predictor,
    items: Sequence[LabelledFile],
    start: Callable[[AnyImage], Sequence[StepsOf[T]]],
    what: str,
) -> tuple[list[LabelledFile], list[list[T]], dict[Path, str]]:
    """Run the generators that `start` makes for each image. A chunk of images shares batches.

    If several generators of an image need the same view, it runs once.

    Returns the readable items, one list of results per item, and the unreadable files.

    Raises:
        DataError: no image can be read, or the network has no answer for one.
    """
    unreadable: dict[Path, str] = {}
    kept: list[LabelledFile] = []
    results: list[list[T]] = []
    images = decoded(items, predictor.open_image, unreadable)
    console = Console(stderr=True)
    total = -(-len(items) // CHUNK_IMAGES)
    bar = track(chunks(images), what, total=total, console=console, disable=not console.is_terminal)
    for chunk in bar:
        started = [InProgress(shared(start(pixels))) for _, pixels in chunk]
        run_to_end(started, predictor.session)
        for (item, _), one in zip(chunk, started, strict=True):
            try:
                results.append(one.answer)
            except NotFinite as error:
                raise DataError(f"{item.path}: {error}") from error
            kept.append(item)
    if not kept:
        raise DataError("none of the images could be read")
    return kept, results, unreadable


def predict(
    predictor: Predictor, items: Sequence[LabelledFile], methods: Sequence[Method]
) -> Predictions:
    """Answer every image with every method. A mode answers exactly as it is served.

    Raises:
        DataError: a class that the model does not have, or not one readable image.
    """
    index = label_index(items, predictor.manifest)

    def start(pixels: AnyImage) -> list[StepsOf[Result]]:
        return [one.start(predictor, pixels) for one in methods]

    what = f"{predictor.manifest.name} {predictor.precision}"
    kept, answers, unreadable = collect(predictor, items, start, what)
    labels = np.array([index[item.label] for item in kept])
    by_name = {
        one.name: _of_method(one.name, [own[i] for own in answers], labels)
        for i, one in enumerate(methods)
    }
    return Predictions(labels, tuple(item.path for item in kept), by_name, unreadable)


def _of_method(
    name: str, answers: Sequence[Result], labels: NDArray[np.int64]
) -> MethodPredictions:
    gates = [a.gate_open for a in answers if a.gate_open is not None]
    sets = [a.prediction_set for a in answers if a.prediction_set is not None]
    return MethodPredictions(
        name=name,
        probabilities=np.stack([a.probabilities for a in answers]),
        cost=float(np.mean([a.cost for a in answers])),
        gate_open=float(np.mean(gates)) if gates else None,
        set_sizes=np.array([len(s) for s in sets]) if sets else None,
        covered=np.array([t in s for t, s in zip(labels, sets, strict=True)]) if sets else None,
    )
