"""One image through its stages: read, decode and cut; then, a chunk at a time, infer and answer."""

import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.console.text import storable
from service.errors import ClientError, DataError, NotFinite
from service.inference.engine import InProgress, run_to_end
from service.inference.image.budget import DECODING
from service.inference.predictor import Predictor, TopClass
from service.inference.tta.steps import Classification, Options, check_embeds, check_options
from service.inference.tta.task import SEPARATOR
from service.package.labels import LabelIndex, normalized
from service.scoring.files import folder_name
from service.scoring.item import Item, Position
from service.scoring.options import ScoreOptions
from service.scoring.resume.trace import load, told
from service.scoring.rows import Row
from service.scoring.task import SCORING_TASKS
from service.scoring.uncertainty import Uncertainty


@dataclass
class Prepared:
    """An image that is ready for the network, or a row with the error of an image."""

    row: Row
    in_progress: list[InProgress[Classification]] = field(
        default_factory=lambda: list[InProgress[Classification]]()
    )
    held_bytes: int = 0


class Scorer:
    """Turns items into rows with one predictor; its methods may be called from several threads."""

    def __init__(self, predictor: Predictor, options: ScoreOptions, batch_views: int) -> None:
        """Check the options once, before any image is read.

        Raises:
            UsageError: options that do not fit this model.
        """
        options.check(len(predictor.manifest.labels))
        check_options(options.inference, predictor.model)
        if options.embedding:
            check_embeds(predictor.manifest)
        self.predictor = predictor
        self.options = options
        self.batch_views = batch_views
        self._modes = [options.inference]
        if options.single and predictor.model.mode(options.inference) != "none":
            self._modes.append(Options(tta="none"))
        self.labels = LabelIndex(predictor.manifest.labels)
        self.task = SCORING_TASKS[predictor.manifest.task]

    def prepare(self, item: Item, position: Position) -> Prepared:
        """Read, decode, resize and cut one image. A failure becomes a row with the error."""
        start = time.perf_counter()
        loaded = load(item)
        row = Row(item.path, position, trace=loaded.trace)
        try:
            row = replace(row, label=self._label(item))
        except DataError as error:
            return Prepared(replace(row, error=told(error)))
        if loaded.error is not None:
            return Prepared(replace(row, error=loaded.error))
        if self.options.sha256:
            row = replace(row, sha256=loaded.trace.content.hex())
        try:
            with DECODING.turn():
                image = self.predictor.open_image(loaded.data, self.options.inference.boxes)
                started = [InProgress(self.predictor.start(image, mode)) for mode in self._modes]
        except (ClientError, OSError) as error:
            return Prepared(replace(row, error=told(error)))
        alive, image_bytes = weakref.ref(image), image.nbytes
        del image  # a generator that still needs it, as `adaptive` may, refers to it
        held = view_bytes(started) + (image_bytes if alive() is not None else 0)
        return Prepared(replace(row, decode_ms=_ms(start)), started, held)

    def finish(self, chunk: Sequence[Prepared]) -> list[Row]:
        """Run the views of a chunk of images and read the answers: rows in the same order.

        Raises:
            InferenceFailed: the runtime failed. The images are not the cause.
        """
        start = time.perf_counter()
        images = [image for prepared in chunk for image in prepared.in_progress]
        run_to_end(images, self.predictor.session, self.batch_views)
        pixels = [sum(one.pixels_run for one in prepared.in_progress) for prepared in chunk]
        pixel_ms = _ms(start) / max(sum(pixels), 1)
        return [self._row(p, n * pixel_ms) for p, n in zip(chunk, pixels, strict=True)]

    def _row(self, prepared: Prepared, infer_ms: float) -> Row:
        if not prepared.in_progress:
            return prepared.row
        try:
            answer, single = (prepared.in_progress[at].answer for at in (0, -1))
        except NotFinite as error:
            return replace(prepared.row, error=told(error))
        prediction = self.predictor.predict(answer, self.options.top_k)
        every = self.options.all_probabilities
        unknown, embedding = answer.unknown, answer.embedding
        margin, entropy = self._uncertainty(answer) if self.options.uncertainty else (None, None)
        return replace(
            prepared.row,
            top=prediction.top,
            probabilities=tuple(answer.probabilities.tolist()) if every else None,
            prediction_set=prediction.prediction_set,
            labels=None
            if prediction.labels is None
            else tuple(label.id for label in prediction.labels),
            single=self._best(single) if self.options.single else None,
            margin=margin,
            entropy=entropy,
            unknown_score=None if unknown is None else unknown.score,
            is_unknown=None if unknown is None else unknown.is_unknown,
            embedding=tuple(embedding.tolist())
            if self.options.embedding and embedding is not None
            else None,
            passes=answer.passes,
            cost=answer.cost,
            infer_ms=infer_ms,
        )

    def _uncertainty(self, answer: Classification) -> Uncertainty:
        calibration = self.predictor.model.calibration(answer.tta)
        thresholds = calibration.thresholds.get(self.options.inference.aggregate)
        return self.task.uncertainty(answer.probabilities, thresholds)

    def _best(self, answer: Classification) -> TopClass:
        return self.predictor.predict(answer, 1).top[0]

    def check_labels(self, text: str) -> None:
        """Raises DataError if a label is the name of several classes."""
        for part in self.task.labels_in(text) or ():
            self.labels.find(part)

    def _label(self, item: Item) -> str | None:
        """The ids of the true classes, separated by `;`. A label that the model lacks is unchanged.

        None if no label is known: the column has none, or the folder's name is not a class.
        """
        if item.label is None:
            folder = folder_name(item.path)
            return self.labels.of_folder(folder) if self.task.folder_is_label else None
        parts = self.task.labels_in(item.label)
        if parts is None:
            return None
        found = {part: self.labels.find(part) for part in parts}
        if item.may_be_caption and None in found.values():
            return None
        known = {label_id or storable(normalized(part)) for part, label_id in found.items()}
        return SEPARATOR.join(sorted(known))


def view_bytes(started: Sequence[InProgress[Classification]]) -> int:
    """Bytes that the views of one image keep in memory. Crops share the array they are cut from."""
    arrays = [whole_array(view.pixels) for one in started for view in one.views]
    return sum({id(array): array.nbytes for array in arrays}.values())


def whole_array(array: NDArray[Any]) -> NDArray[Any]:
    """The array that a slice keeps in memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _ms(start: float) -> float:
    return (time.perf_counter() - start) * 1000
