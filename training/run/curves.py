"""The learning curves of a run as a picture, stored beside their table."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from service.replacing import replacing_file


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Losses, accuracy and learning rate by epoch. A grey line marks a change of the image size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    grown = [
        now["epoch"] for before, now in pairwise(history) if before["size_px"] != now["size_px"]
    ]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = (
        ("loss", {"train_loss": "training", "calibration_loss": "calibration"}),
        ("calibration accuracy", {"calibration_accuracy": ""}),
        ("learning rate, epoch's end", {"lr": ""}),
    )
    for axes, (title, columns) in zip(figure.subplots(1, 3), panels, strict=True):
        for column, label in columns.items():
            if column in history[0]:
                axes.plot(epochs, [row[column] for row in history], ".-", label=label)
        for epoch in grown:
            axes.axvline(epoch - 0.5, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(columns) > 1:
            axes.legend()
    with replacing_file(path) as stream:
        figure.savefig(stream, dpi=100, format="png")
