"""TensorBoard: the curves of a run while it trains, also after a resume.

Tags ``epoch/*`` hold every column of the history, by epoch. Tags ``batch/*`` hold the smoothed
training loss and the learning rate, by the number of batches since the run began.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from service.errors import QuincunxError

EVERY_BATCHES = 10


class TensorBoardLogger:
    """An event file that TensorBoard reads."""

    def __init__(self, folder: Path) -> None:
        """Raises QuincunxError, which names the extra, before any data is read."""
        if find_spec("tensorboard") is None:
            raise QuincunxError(
                "--tensorboard needs tensorboard: pip install 'quincunx[tensorboard]'"
            )
        self.folder = folder
        self.writer: Any = None

    def open(self, batches: int) -> None:
        """Begin after `batches` batches. Later entries of a killed run are removed."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder), purge_step=batches + 1 if batches else None)

    def takes(self, number: int) -> bool:
        """Whether `batch` logs this batch: the first of every ten, counted over the run from 1."""
        return number % EVERY_BATCHES == 1

    def batch(self, number: int, **values: float) -> None:
        """Log the values of a batch that `takes` chose."""
        if self.takes(number):
            self._add("batch", values, number)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Log a row of the history."""
        numbers = {k: v for k, v in row.items() if k != "epoch" and isinstance(v, int | float)}
        self._add("epoch", numbers, row["epoch"])
        self.writer.flush()

    def close(self) -> None:
        if self.writer:
            self.writer.close()

    def _add(self, group: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{group}/{name}", value, step)
