"""What was promised for an H100 with 16 cores, beside what a run measured."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

FIVE_CROP, OF_NONE, SCORE, OF_ENGINE, VIEWS = 4000.0, 0.95, 6000.0, 0.95, 64
Row = dict[str, Any]


class Verdict(NamedTuple):
    """One promise."""

    promise: str
    measured: float | None
    """None: it was not measured."""
    kept: bool

    @property
    def shown(self) -> str:
        return "not measured" if self.measured is None else f"{self.measured:.4g}"


def verdicts(results: dict[str, Any]) -> list[Verdict]:
    """The promises, of the rows that a run has so far."""
    served = [row for row in results["service"] if row["processes"].startswith("auto")]

    def mode(name: str) -> Callable[[Row], bool]:
        return lambda row: row["mode"] == name

    five = _first(served, mode("five_crop"))
    adaptive = _first(served, mode("adaptive"))
    small = _first(results["score"], lambda row: row["images_of"] == "224×224")
    ratio = five["of_none"] if five else None
    failed = float(adaptive["failed"]) if adaptive else None
    return [
        _at_least(
            "five_crop over HTTP, auto processes, images/s",
            five["images_per_second"] if five else None,
            FIVE_CROP,
        ),
        _at_least("five_crop against none", ratio[0] if ratio else None, OF_NONE),
        Verdict("adaptive: requests that failed: none", failed, failed == 0),
        _at_least(
            "quincunx score, 224 px, five_crop, images/s without the start",
            small["without_start"] if small else None,
            SCORE,
        ),
        _at_least(
            f"the product against the engine alone, host to host, fp16, {VIEWS} views",
            _of_engine(results["sweep"]),
            OF_ENGINE,
        ),
    ]


def _at_least(promise: str, measured: float | None, target: float) -> Verdict:
    kept = measured is not None and measured >= target
    return Verdict(f"{promise}: at least {target:g}", measured, kept)


def _first(rows: list[Row], wanted: Callable[[Row], bool]) -> Row | None:
    return next(filter(wanted, rows), None)


def _of_engine(rows: list[Row]) -> float | None:
    def rates(where: Callable[[Row], bool]) -> Iterator[float]:
        for row in rows:
            if row["precision"] == "fp16" and row["views"] == VIEWS and where(row):
                yield row["views_per_second"]

    own = next(rates(lambda row: row["where"].startswith("product")), None)
    engine = max(rates(lambda row: row["where"] == "host"), default=None)
    return own / engine if own and engine else None
