"""Paired comparisons as cells of a table, in every report and in the model card."""

from typing import Protocol

COLUMNS = ("corrected", "spoiled", "difference (95%)", "p")
LEGEND = (
    "Corrected: answers that became right. Spoiled: answers that became wrong. Difference: in "
    "percentage points of top-1, with its 95% interval. p: McNemar's exact test."
)


class Difference(Protocol):
    """What a method gains over a reference, in 0..1, and its 95% interval."""

    @property
    def difference(self) -> float: ...
    @property
    def interval(self) -> tuple[float, float]: ...


class Compared(Difference, Protocol):
    """As `training.evaluation.paired.Paired` and the manifest's `PairedMetrics` have it."""

    @property
    def corrected(self) -> int: ...
    @property
    def spoiled(self) -> int: ...
    @property
    def p_value(self) -> float: ...


def cells(compared: Compared | None) -> tuple[str, ...]:
    """The cells of a table, under `COLUMNS`, in percentage points; empty for the reference."""
    if compared is None:
        return ("",) * len(COLUMNS)
    return (
        str(compared.corrected),
        str(compared.spoiled),
        difference(compared),
        f"{compared.p_value:.3f}",
    )


def difference(compared: Difference | None) -> str:
    """A difference with its interval, in percentage points; empty for the reference."""
    if compared is None:
        return ""
    low, high = compared.interval
    return f"{100 * compared.difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
