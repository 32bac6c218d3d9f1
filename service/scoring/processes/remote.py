"""The network of another process, which looks like a session of this one."""

from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.inference.image.geometry import Box
from service.inference.image.views import Pixels
from service.inference.runtime.providers import Chosen
from service.inference.runtime.session import Output
from service.inference.runtime.shared_crops import Features
from service.scoring.processes.block import Place, SharedBlock
from service.scoring.processes.pipe import receive

Run = tuple[Output, list[Place], bool]
"""A batch of views and, for some graphs, windows; and whether their embeddings are asked for."""
Crops = tuple[tuple[Box, ...], Place]
"""An image, and boxes whose features are asked for."""


class Network(Protocol):
    """What the process with the network must have: a `Session`."""

    def run(
        self, views: Pixels | Features, output: Output, windows: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]: ...

    def run_with_embedding(
        self, views: Pixels | Features, output: Output, windows: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None: ...


class RemoteSession:
    """Asks the process at the other end to run views; one question at a time."""

    bound = None

    def __init__(
        self, pipe: Connection, block: SharedBlock, provider: Chosen, *, shares_crops: bool
    ) -> None:
        self._pipe = pipe
        self._block = block
        self.provider: Chosen = provider
        self._shares_crops = shares_crops

    def run(
        self, views: Pixels | Features, output: Output, windows: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """As `Session.run`."""
        return self._run(views, output, windows, embedding=False)[0]

    def run_with_embedding(
        self, views: Pixels | Features, output: Output, windows: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `Session.run_with_embedding`."""
        values, embeddings = self._run(views, output, windows, embedding=True)
        return values, embeddings

    def _run(
        self,
        views: Pixels | Features,
        output: Output,
        windows: NDArray[np.float32] | None,
        *,
        embedding: bool,
    ) -> list[NDArray[np.float32]]:
        given = [views] if windows is None else [views, windows]
        self._pipe.send(("run", (output, self._block.write(given), embedding)))
        return self._answer() or []

    def crops(self, image: Pixels, boxes: Sequence[Box]) -> list[Features] | None:
        """As `Session.crops`."""
        if not self._shares_crops:
            return None
        self._pipe.send(("crops", (tuple(boxes), self._block.write([image])[0])))
        return self._answer()

    def _answer(self) -> list[NDArray[Any]] | None:
        places: list[Place] | None = receive(self._pipe)
        return None if places is None else [self._block.read(place).copy() for place in places]


def answer(
    question: str, given: Any, network: Network, pipe: Connection, block: SharedBlock
) -> None:
    """Answer one question of a `RemoteSession`.

    Raises:
        InferenceFailed: the runtime failed.
    """
    results: list[NDArray[Any]] | None
    if question == "run":
        output, (views, *more), embedding = given
        windows = block.read(more[0]) if more else None
        if embedding:
            results = [*network.run_with_embedding(block.read(views), output, windows)]
        else:
            results = [network.run(block.read(views), output, windows)]
    else:
        boxes, image = given
        results = network.crops(block.read(image), boxes)
    pipe.send(None if results is None else block.write(results))
