"""Paired comparisons as cells of a table, in every report and in the model card."""

from typing import Protocol

COLUMNS = ("corrected", "spoiled", "difference (95%)", "p")
LEGEND = (
    "Corrected: answers that became right. Spoiled: answers that became wrong. Difference: in "
    "percentage points of top-1, with its 95% interval. p: McNemar's exact test."
)


class Compared(Protocol):
    """As `training.evaluation.paired.Paired` and the manifest's `PairedMetrics` have it."""

    @property
    def corrected(self) -> int: ...
    @property
    def spoiled(self) -> int: ...
    @property
    def difference(self) -> float: ...
    @property
    def interval(self) -> tuple[float, float]: ...
    @property
    def p_value(self) -> float: ...


def cells(compared: Compared | None) -> tuple[str, ...]:
    """The cells of a table, under `COLUMNS`, in percentage points; empty for the reference."""
    if compared is None:
        return ("",) * len(COLUMNS)
    low, high = compared.interval
    return (
        str(compared.corrected),
        str(compared.spoiled),
        f"{100 * compared.difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})",
        f"{compared.p_value:.3f}",
    )
