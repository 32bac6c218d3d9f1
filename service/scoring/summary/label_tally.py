"""The accuracy of a multi-label model's labels, for images with known true labels."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from service.inference.tta.task import split_labels
from service.scoring.summary.tally import UNKNOWN, Tally


@dataclass
class LabelTally(Tally):
    """Counts of labels over rows."""

    true: Counter[str] = field(default_factory=lambda: Counter[str]())
    answered: Counter[str] = field(default_factory=lambda: Counter[str]())
    both: Counter[str] = field(default_factory=lambda: Counter[str]())
    known: int = 0
    """Answered images with true labels, also with labels that are no class of the model."""
    exact: int = 0
    """Images whose answer has exactly the true labels."""

    def add(self, rows: pa.Table) -> None:
        """Count the rows of a part."""
        classes = set(self.labels)
        for label, answered in self._labelled(rows, ["labels"]):
            true, got = set(split_labels(label)), set(answered)
            self.truth.add(true, classes)
            self.known += 1
            self.exact += true == got
            self.true.update(one if one in classes else UNKNOWN for one in true)
            self.answered.update(got)
            self.both.update(true & got)

    def facts(self) -> dict[str, Any]:
        """For the summary: the labels, and no accuracy, since no single class is true."""
        return {"accuracy": None, "labels": self.agreement()}

    def agreement(self) -> dict[str, Any] | None:
        """Shares of right labels; None if no answered image has labels.

        A true label that is not a class of the model counts as missed.
        """
        if not self.known:
            return None
        classes = [self._class(label) for label in self.labels]
        scored = [entry["f1"] for entry in classes if entry["f1"] is not None]
        total = self.true.total() + self.answered.total()
        return {
            "images": self.known,
            "exact": self.exact / self.known,
            "micro_f1": 2 * self.both.total() / total if total else None,
            "macro_f1": sum(scored) / len(scored) if scored else None,
            "classes": classes,
        }

    def _class(self, label: str) -> dict[str, Any]:
        true, answered, both = self.true[label], self.answered[label], self.both[label]
        return {
            "id": label,
            "images": true,
            "recall": both / true if true else None,
            "precision": both / answered if answered else None,
            "f1": 2 * both / (true + answered) if true + answered else None,
        }
