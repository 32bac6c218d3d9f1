"""The accuracy of the answers to images with labels, counted while the result is written."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from service.scoring.summary.truth import Truth

Z_95 = 1.959964
UNKNOWN = "\0unknown"
"""In the counts this stands for every true label that is not a class of the model."""


def wilson_interval(hits: int, of: int) -> tuple[float, float]:
    """The 95% interval of a proportion (Wilson 1927)."""
    if of == 0:
        return 0.0, 1.0
    share, z2 = hits / of, Z_95**2
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass
class Tally:
    """Counts over rows. Its size depends on the number of classes, not of rows."""

    labels: tuple[str, ...]
    """Class ids in the model's order."""
    ok: int = 0
    failed: Counter[str] = field(default_factory=lambda: Counter[str]())
    """Errors by kind."""
    confusion: Counter[tuple[str, str]] = field(default_factory=lambda: Counter[tuple[str, str]]())
    """(true, answered) to images."""
    truth: Truth = field(default_factory=Truth)
    in_top_k: int = 0
    single: Counter[tuple[bool, bool]] = field(default_factory=lambda: Counter[tuple[bool, bool]]())
    """(single crop right, TTA right) to images."""
    unknown: int | None = None
    """Images that are unknown; None if the package has no unknown score."""

    def add(self, rows: pa.Table) -> None:
        """Count the rows of a part."""
        if "is_unknown" in rows.column_names:
            flags: list[bool | None] = rows["is_unknown"].to_pylist()
            self.unknown = (self.unknown or 0) + sum(flag is True for flag in flags)
        names = rows.column_names
        ranks = [name for name in names if name.startswith("top") and name.endswith("_id")]
        picked = [*ranks, *(["single_id"] if "single_id" in names else [])]
        known = set(self.labels)
        for text, *rest in self._labelled(rows, picked):
            label = text if text in known else UNKNOWN
            self.truth.add((text,), known)
            tops = rest[: len(ranks)]
            self.confusion[label, tops[0]] += 1
            self.in_top_k += label in tops
            if len(rest) > len(ranks):
                self.single[rest[-1] == label, tops[0] == label] += 1
        self.top_k = len(ranks)

    def _labelled(self, rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Count answered and failed rows. Yields the label and the columns `names` of every
        answered row with a known label."""
        columns = (rows[name].to_pylist() for name in ("error", "path", "label", *names))
        for error, path, label, *rest in zip(*columns, strict=True):
            if error is not None:
                self.failed[error.partition(":")[0]] += 1
                continue
            self.ok += 1
            if label is None:
                self.truth.add_without(path)
            else:
                yield label, *rest

    top_k: int = 0

    @property
    def labelled(self) -> int:
        return self.confusion.total()

    def facts(self) -> dict[str, Any]:
        """For the summary: the accuracy, if labels are known."""
        facts: dict[str, Any] = {"accuracy": self.accuracy()}
        return facts if self.unknown is None else facts | {"unknown": self.unknown}

    def accuracy(self) -> dict[str, Any] | None:
        """Top-1 and top-k with intervals, each class, and the single crop against TTA.

        An image whose true label is not a class of the model counts as answered wrong. None if no
        answered image has a label.
        """
        if not self.labelled:
            return None
        hits = sum(count for (true, answered), count in self.confusion.items() if true == answered)
        report: dict[str, Any] = {"images": self.labelled, "top1": _share(hits, self.labelled)}
        if self.top_k > 1:
            report[f"top{self.top_k}"] = _share(self.in_top_k, self.labelled)
        if self.single:
            report["single"] = self._against_single()
        report["classes"] = self._classes()
        report["confused"] = self._confused()
        report["confusion"] = {
            "labels": list(self.labels),
            "counts": [[self.confusion[t, a] for a in self.labels] for t in self.labels],
            "rows": "true",
            "columns": "answered",
        }
        return report

    def _against_single(self) -> dict[str, Any]:
        both, only_single = self.single[True, True], self.single[True, False]
        only_tta = self.single[False, True]
        return {
            "top1": _share(both + only_single, self.labelled),
            "tta_gain": (only_tta - only_single) / self.labelled,
            "corrected_by_tta": only_tta,
            "regressed_by_tta": only_single,
        }

    def _classes(self) -> list[dict[str, Any]]:
        true, answered = Counter[str](), Counter[str]()
        for (label, answer), count in self.confusion.items():
            true[label] += count
            answered[answer] += count
        return [
            {
                "id": label,
                "images": true[label],
                "recall": self.confusion[label, label] / true[label] if true[label] else None,
                "precision": (
                    self.confusion[label, label] / answered[label] if answered[label] else None
                ),
            }
            for label in self.labels
        ]

    def _confused(self, most: int = 10) -> list[tuple[str, str, int]]:
        wrong = ((t, a, n) for (t, a), n in self.confusion.items() if t not in (a, UNKNOWN))
        return sorted(wrong, key=lambda one: (-one[2], one[0], one[1]))[:most]


def _share(hits: int, of: int) -> dict[str, Any]:
    low, high = wilson_interval(hits, of)
    return {"accuracy": hits / of, "interval": [low, high]}
