"""Counters, gauges and histograms over a ledger, and their text for Prometheus."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from service.api.observability.ledger import Kind, Labels, Ledger, Series


class Numbers:
    """The value of one metric for one set of labels. It may be used from any thread."""

    def __init__(self, cells: "memoryview[float]", buckets: Sequence[float]) -> None:
        self._cells = cells
        self._buckets = buckets
        self._lock = Lock()

    def inc(self, amount: float = 1) -> None:
        """Add to a counter or a gauge."""
        with self._lock:
            self._cells[0] += amount

    def observe(self, value: float) -> None:
        """Count a value in a histogram."""
        bucket = bisect_left(self._buckets, value)
        with self._lock:
            self._cells[bucket] += 1
            self._cells[-1] += value


@dataclass(frozen=True)
class Family:
    """A metric: its name, its description, and the names of its labels."""

    kind: Kind
    name: str
    text: str
    labels: Labels
    buckets: tuple[float, ...] = ()

    def series(self, labels: Labels) -> Series:
        # Buckets are followed by the one without a limit, and by the sum of the values.
        count = len(self.buckets) + 2 if self.kind == "histogram" else 1
        return Series(self.kind, self.name, labels, count)


class Instrument:
    """One metric of this process."""

    def __init__(self, family: Family, ledger: Ledger) -> None:
        self.family = family
        self._ledger = ledger
        self._numbers: dict[Labels, Numbers] = {}
        self._lock = Lock()
        if not family.labels:
            self.labels()

    def labels(self, *values: str) -> Numbers:
        """The value of the metric for these labels."""
        known = self._numbers.get(values)
        if known is not None:
            return known
        with self._lock:
            if values not in self._numbers:
                cells = self._ledger.numbers(self.family.series(values))
                self._numbers[values] = Numbers(cells, self.family.buckets)
            return self._numbers[values]

    def inc(self, amount: float = 1) -> None:
        """Add to a metric without labels."""
        self.labels().inc(amount)

    def observe(self, value: float) -> None:
        """Count a value in a histogram without labels."""
        self.labels().observe(value)


Computed = Callable[[Mapping[Series, list[float]]], Iterable[Metric]]
"""The sums over all workers -> families."""


class Exposition(Collector):
    """All metrics of the server, as Prometheus reads them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._families: list[Family] = []
        self._computed: list[Computed] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def add(self, family: Family) -> None:
        self._families.append(family)

    def add_computed(self, computed: "Computed") -> None:
        """Add families that a function makes at each scrape."""
        self._computed.append(computed)

    def text(self) -> bytes:
        """The answer of `GET /metrics`."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        totals = self._ledger.totals()
        for family in self._families:
            of_family = {s.labels: n for s, n in totals.items() if s.name == family.name}
            yield _metric(family, of_family)
        for computed in self._computed:
            yield from computed(totals)


def _metric(family: Family, totals: dict[Labels, list[float]]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        bounds = [*(str(float(bound)) for bound in family.buckets), "+Inf"]
        for labels, (*counts, total) in totals.items():
            reached = [sum(counts[: index + 1]) for index in range(len(counts))]
            histogram.add_metric(labels, list(zip(bounds, reached, strict=True)), total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.text, labels=family.labels)
    for labels, (value,) in totals.items():
        metric.add_metric(labels, value)
    return metric
