"""The predictor: an open model package that turns images into predictions."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.inference import decode as decoding
from service.inference.batch_cost import enough_views
from service.inference.common_shapes import warm_up_shapes
from service.inference.engine import MAX_BATCH_VIEWS, InProgress, Steps, run_all, run_to_end
from service.inference.image.decoded import DecodedImage
from service.inference.image.geometry import FractionBox
from service.inference.image.views import AnyImage, Pixels, check_image, check_images
from service.inference.opening import open_package
from service.inference.options import check_whole
from service.inference.prediction import Prediction as Prediction
from service.inference.prediction import Predictions, kept_image
from service.inference.prediction import TopClass as TopClass
from service.inference.runtime import providers
from service.inference.runtime.providers import Provider
from service.inference.runtime.session import Session
from service.inference.tta.steps import (
    Classification,
    Model,
    Options,
    check_embeds,
    check_options,
    classify_steps,
)
from service.package.manifest import Aggregation, Label, Manifest, Mode, Precision
from service.package.package import ModelPackage
from service.package.shipped import package_folder

CHUNK_IMAGES = 32


@dataclass(frozen=True)
class Predictor:
    """A package and the session of one of its graphs."""

    package: ModelPackage
    precision: Precision
    session: Session
    max_pixels: int = decoding.MAX_PIXELS
    max_decode_ms: int = decoding.MAX_DECODE_MS
    latency_session: Session | None = None
    """The same graph for single-request mode: more threads in one run, so that it ends earlier."""

    @classmethod
    def from_package(
        cls,
        folder: Path | str,
        *,
        precision: Precision | Literal["auto"] = "auto",
        provider: Provider = "auto",
        threads: int = 0,
        latency_threads: int | None = None,
        max_pixels: int = decoding.MAX_PIXELS,
        max_decode_ms: int = decoding.MAX_DECODE_MS,
        graph_cache: Path | None = None,
        tf32: bool = True,
    ) -> "Predictor":
        """Verify a package and open the graph that suits the provider.

        `folder` may also be the name of a package in ``models/``, or ``NAME@VERSION``.

        `precision="auto"` is int8 on a CPU and fp16 on a GPU, else fp32. An fp16 graph that the
        package lacks is derived from fp32 and kept in `graph_cache`, by default in the user's cache
        folder. `threads` are those of one run, and 0 means one per core. On a CPU `latency_threads`
        opens the graph a second time, as `latency_session`, with this number of threads. `tf32` is
        used on a GPU: see `service.inference.runtime.providers.settings`.

        Raises:
            ModelPackageError: the package is incomplete or altered, lacks the precision, or its
                graph does not fit its manifest.
            UsageError: the provider is not available.
        """
        package = ModelPackage.load(package_folder(folder))
        chosen = providers.choose(provider)
        # A GPU runs one batch after another: a second session would be no faster.
        second = () if latency_threads is None or chosen != "cpu" else (latency_threads,)
        opened = open_package(
            package, precision, chosen, (threads, *second), cache_folder=graph_cache, tf32=tf32
        )
        session, *others = opened.sessions
        latency_session = others[0] if others else None
        return cls(package, opened.precision, session, max_pixels, max_decode_ms, latency_session)

    @property
    def manifest(self) -> Manifest:
        return self.package.manifest

    @cached_property
    def model(self) -> Model:
        return self._model_of(self.session)

    @cached_property
    def _latency_model(self) -> Model:
        return self._model_of(self.latency_session or self.session)

    def _model_of(self, session: Session) -> Model:
        return Model(self.manifest, self.precision, session, self.package.unknown)

    def decode(self, data: bytes) -> Pixels:
        """Decode a file to uint8[H, W, 3], every pixel; see `service.inference.decode.decode`.

        Serving uses `open_image`, which follows the package's `decode` and copies less.
        """
        return decoding.decode(data, self.max_pixels, self.max_decode_ms)

    def open_image(self, data: bytes, boxes: tuple[FractionBox, ...] = ()) -> DecodedImage:
        """Decode a file as the package's manifest says, for views of `boxes` or of any mode.

        Raises:
            ClientError: see `service.inference.decode.decode_image`.
        """
        least_size = self.model.planner.decoding(boxes)
        return decoding.decode_image(data, self.max_pixels, self.max_decode_ms, least_size)

    def start(self, image: AnyImage, options: Options, *, uncontended: bool = False) -> Steps:
        """Begin one image: a generator that yields views; see `classify_steps`.

        The layers that crops share run here. `uncontended` says that no other image is in flight:
        they then run in `latency_session`.

        Raises:
            UsageError: options that this model cannot have.
        """
        model = self._latency_model if uncontended else self.model
        check_options(options, model)
        return classify_steps(image, options, model)

    def warm_up(self, batch_views: int = 1, max_concurrent_batches: int = 1) -> None:
        """Run every shape of a square photo once, so that no request pays for the first run.

        With fixed buffers, as on a GPU, run all shapes of common photos at all batch sizes.

        Then run batches of `batch_views`, `max_concurrent_batches` at once, as a busy server does:
        memory reaches its peak before the first request comes.
        """
        image = np.zeros((self.manifest.input.resize_px,) * 2 + (3,), np.uint8)

        def run(mode: Mode, images: int = 1, session: Session = self.session) -> None:
            model = self._model_of(session)
            generators = [classify_steps(image, Options(tta=mode), model) for _ in range(images)]
            # The answers are not read: a network may have none for a picture of one colour.
            started = [InProgress(steps) for steps in generators]
            run_to_end(started, session, max(images, MAX_BATCH_VIEWS))

        if self.session.bound is not None:
            warm_up_shapes(self.model, self.session.bound)
        answered = self.model.modes
        usual: tuple[Mode, ...] = ("none", "five_crop", "dense")
        single: list[Mode] = [mode for mode in usual if mode in answered]
        for session in filter(None, (self.session, self.latency_session)):
            for mode in single:
                run(mode, session=session)
        of_each_output = [mode for mode in single if mode != "five_crop"]
        with ThreadPoolExecutor(max_concurrent_batches) as pool:
            for mode in of_each_output:
                batches = [batch_views] * max_concurrent_batches
                list(pool.map(run, [mode] * max_concurrent_batches, batches))

    @cached_property
    def enough_views(self) -> int:
        """The batch size that makes views cheap, in views. Measured when it is first read."""
        crop_px = self.manifest.input.crop_px
        pixels = np.zeros((crop_px, crop_px, 3), np.uint8)
        return enough_views(
            lambda views: self.session.run(np.stack([pixels] * views), "logits"), MAX_BATCH_VIEWS
        )

    def classify(
        self,
        images: Sequence[bytes | Pixels],
        tta: Mode | None = None,
        *,
        aggregate: Aggregation = "mean",
        top_k: int = 5,
        coverage: float | None = None,
        gate_cost: float | None = None,
        known_rate: float | Literal["off"] | None = None,
        boxes: tuple[FractionBox, ...] = (),
        keep_images: bool = True,
    ) -> Predictions:
        """Classify files (bytes) or pixels (uint8[H, W, 3]); one prediction each, in order.

        Arrays of another type or shape are refused, not cast.

        `tta`: the mode of test-time augmentation; None: the package's default mode.
        `aggregate`: how the views become one answer.
        `top_k`: how many of the likeliest classes `Prediction.top` has.
        `coverage`: also give the smallest set of classes that contains the true class this often.
        `gate_cost`: with `adaptive`, the mean cost to spend, in single crops.
        `known_rate`: accept this share of images of the model's classes, or "off"; None: the
        package's rate.
        `boxes`: the crops of the mode `custom`.
        `keep_images`: keep each file, or a small copy of its pixels, for `Prediction.show`. False
        saves this memory.

        Raises:
            ClientError: an image that cannot be read, or an option that does not fit the model.
            InferenceFailed: the runtime failed, or the network's numbers are not finite.
        """
        check_whole("top_k", top_k, 1)
        check_images(images)
        options = Options(
            tta=tta,
            aggregate=aggregate,
            coverage=coverage,
            gate_cost=gate_cost,
            known_rate=known_rate,
            boxes=boxes,
        )
        predictions = [self.predict(item, top_k) for item in self._answers(images, options)]
        if keep_images:
            predictions = [
                replace(one, image=kept_image(image))
                for one, image in zip(predictions, images, strict=True)
            ]
        return Predictions(predictions)

    def embed(
        self, images: Sequence[bytes | Pixels], tta: Mode | None = None
    ) -> NDArray[np.float32]:
        """The embeddings of files (bytes) or pixels (uint8[H, W, 3]): float32[N, C], in order.

        An embedding is the features before the head, averaged over all positions of a view, and
        then over the views of `tta` as the aggregation `mean` weighs them. `none` gives that of the
        centre crop alone.

        Raises:
            ClientError: an image that cannot be read, or a package without embeddings.
            InferenceFailed: the runtime failed.
        """
        check_images(images)
        check_embeds(self.manifest)
        answers = self._answers(images, Options(tta=tta, known_rate="off"))
        found = [answer.embedding for answer in answers if answer.embedding is not None]
        channels = self.manifest.graph.embedding or 0
        return np.stack(found) if found else np.zeros((0, channels), np.float32)

    def _answers(
        self, images: Sequence[bytes | Pixels], options: Options
    ) -> Iterator[Classification]:
        for start in range(0, len(images), CHUNK_IMAGES):
            chunk = range(start, min(start + CHUNK_IMAGES, len(images)))  # a deque has no slices
            pixels = [self._opened(images[at], options.boxes) for at in chunk]
            yield from run_all((self.start(p, options) for p in pixels), self.session)

    def _opened(self, image: bytes | Pixels, boxes: tuple[FractionBox, ...]) -> AnyImage:
        if isinstance(image, (bytes, bytearray, memoryview)):
            return self.open_image(bytes(image), boxes)
        return check_image(image)

    def predict(self, item: Classification, top_k: int = 5) -> Prediction:
        """Add the labels to an answer."""
        labels = self.manifest.labels
        likely: list[float] = item.probabilities.tolist()
        order = heapq.nlargest(top_k, range(len(likely)), key=likely.__getitem__)

        def classes(indices: Iterable[int]) -> tuple[TopClass, ...]:
            return tuple([_top(labels[k], likely[k]) for k in indices])

        top = classes(order)
        chosen, present = item.prediction_set, item.present
        return Prediction(
            label=top[0].id,
            name=top[0].name,
            probability=top[0].probability,
            top=top,
            prediction_set=None if chosen is None else tuple(labels[k].id for k in chosen),
            answer=item,
            labels=None if present is None else classes(present),
            prediction_set_classes=None if chosen is None else classes(chosen),
        )


def _top(label: Label, probability: float) -> TopClass:
    return TopClass(label.index, label.id, label.name, probability)
