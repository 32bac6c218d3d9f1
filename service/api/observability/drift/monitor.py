"""Metrics of what the models answer, and how far it is from the answers to calibration images."""

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from service.api.observability.drift.windows import Totals, Window
from service.api.observability.ledger import Ledger, Series
from service.api.server.model_set import Served
from service.inference.tta.steps import Classification
from service.package.manifest import Mode
from service.package.parts import Reference

CLASSES = "predicted_class"
MOST_CLASSES = 1000
"""A model with more classes has no counter for each class: a scrape would be too long."""


@dataclass(frozen=True)
class _Shown:
    """What a scrape needs of a served model. It does not keep the model in memory."""

    name: str
    version: str
    labels: tuple[str, ...]
    references: dict[Mode, Reference]

    @classmethod
    def of(cls, served: Served) -> "_Shown":
        model = served.predictor.model
        references: dict[Mode, Reference] = {}
        for mode in model.modes:
            if (found := model.calibration(mode).reference) is not None:
                references[mode] = found
        labels = tuple(label.id for label in model.manifest.labels)
        return cls(served.name, served.version, labels, references)

    @property
    def tag(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def classes(self) -> Series:
        return Series("counter", CLASSES, (self.name, self.version), len(self.labels))


@dataclass(frozen=True)
class _Watched:
    served: "weakref.ref[Served]"
    window: Window
    classes: "memoryview[float]"


class DriftMonitor:
    """Counts the answers of this worker, and computes the index over all workers at a scrape."""

    def __init__(self, ledger: Ledger, answers: int, workers: int = 1) -> None:
        """`answers` is the window of the whole server; 0 switches the index off."""
        self._ledger = ledger
        self._own = -(-answers // workers)
        self._least = max(1, answers // 2)
        self._watched: dict[str, _Watched] = {}
        self._shown: tuple[_Shown, ...] = ()

    def seen(self, served: Served, answer: Classification) -> None:
        """Count an answer. Call from the event loop."""
        watched = self._of(served)
        # NumPy's argmax lets another thread take the interpreter, and the event loop would wait.
        likely: list[float] = answer.probabilities.tolist()
        index = likely.index(max(likely))
        watched.classes[index] += 1
        if self._own:
            score = None if answer.unknown is None else answer.unknown.score
            watched.window.add(answer.tta, index, likely[index], score)

    def show(self, served: Iterable[Served]) -> None:
        """The models whose metrics the next scrape has: those that are served now."""
        self._shown = tuple(map(_Shown.of, served))

    def _of(self, served: Served) -> _Watched:
        watched = self._watched.get(served.tag)
        if watched is None or watched.served() is not served:
            if watched is not None:  # reloaded: the window is of the old package's answers
                watched.window.clear()
            shown = _Shown.of(served)
            classes = self._ledger.numbers(shown.classes)
            watched = _Watched(weakref.ref(served), self._window(shown), classes)
            self._watched[served.tag] = watched
        return watched

    def _window(self, shown: _Shown) -> Window:
        return Window(self._ledger, shown.tag, shown.references, self._own)

    def metrics(self, totals: Totals) -> Iterator[Metric]:
        """The two families, from the sums over all workers."""
        counted = CounterMetricFamily(
            "quincunx_predicted_class",
            "Answers by likeliest class, of models with up to 1000 classes",
            labels=("model", "version", "label"),
        )
        index = GaugeMetricFamily(
            "quincunx_drift_psi",
            "Population stability index of the last answers against the calibration images",
            labels=("model", "version", "what"),
        )
        for shown in self._shown:
            numbers = totals.get(shown.classes)
            if numbers is not None and len(shown.labels) <= MOST_CLASSES:
                for label, number in zip(shown.labels, numbers, strict=True):
                    counted.add_metric((shown.name, shown.version, label), number)
            if self._own:
                found = self._window(shown).indices(totals, self._least)
                for what, value in found.items():
                    index.add_metric((shown.name, shown.version, what), value)
        yield counted
        yield index
