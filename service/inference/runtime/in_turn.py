"""Several runners of one graph in turn: one copies its batch while another computes."""

from collections.abc import Callable, Sequence
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from service.inference.runtime.io_binding import IoBindingRunner, Outputs


class RunnersInTurn:
    """Gives each batch to a free runner. Callers wait while all are busy."""

    def __init__(self, runners: Sequence[IoBindingRunner]) -> None:
        self._runners = tuple(runners)
        self._free: SimpleQueue[IoBindingRunner] = SimpleQueue()
        for runner in self._runners:
            self._free.put(runner)

    def __len__(self) -> int:
        return len(self._runners)

    def run(
        self, views: NDArray[np.uint8], output: str, windows: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """As `IoBindingRunner.run`."""
        return self.run_outputs(views, (output,), windows)[0]

    def run_outputs(
        self, views: NDArray[np.uint8], outputs: Outputs, windows: NDArray[np.float32] | None
    ) -> list[NDArray[np.float32]]:
        """As `IoBindingRunner.run_outputs`."""
        runner = self._free.get()
        try:
            return runner.run_outputs(views, outputs, windows)
        finally:
            self._free.put(runner)

    def works(self) -> bool:
        """As `IoBindingRunner.works`. All runners use one GPU in one process: one of them tells."""
        runner = self._free.get()
        try:
            return runner.works()
        finally:
            self._free.put(runner)

    def warm_up(self, run_all_shapes: Callable[[IoBindingRunner], object]) -> None:
        """Let every runner run all shapes that will be served. Later shapes run plainly."""
        for runner in self._runners:  # one records at a time anyway
            run_all_shapes(runner)
            runner.seal()
