"""Evaluate a multi-label package: every mode and precision, by the code that serves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.predictor import Predictor
from service.inference.runtime.providers import Provider
from service.package.card import paired_table
from service.package.manifest import (
    Aggregation,
    Manifest,
    Mode,
    MultiLabelMetrics,
    PairedLabelMetrics,
    Precision,
)
from service.package.package import ModelPackage
from service.package.recorded.dependence import answers_digest
from training.data.content.digest import images_digest
from training.data.left_out import LeftOut, left_out
from training.evaluation.multi_label_metrics import LabelScores, LabelsPaired, paired, scores
from training.evaluation.multi_label_predictions import LabelPredictions, answers
from training.evaluation.predictions import LabelledFile

COLUMNS = (
    "precision", "mode", "mAP %", "95%", "micro F1 %", "macro F1 %", "NLL", "cost (crops)",
    "mAP - single crop (95%)", "mAP - fp32 (95%)",
)  # fmt: skip


def mode_names() -> tuple[str, ...]:
    """The modes that `evaluate` knows."""
    return get_args(Mode)


@dataclass(frozen=True)
class LabelRow:
    """One precision and mode, measured."""

    precision: Precision
    mode: Mode
    scores: LabelScores
    cost: float
    against_single: LabelsPaired | None = None
    """Against the single crop of the same precision."""
    against_fp32: LabelsPaired | None = None
    """Against the same mode at fp32. None if that was not measured in the same run."""
    images_digest: str | None = None
    answers_digest: str | None = None
    """As those of the manifest's `Metrics`."""

    def metrics(self, manifest: Manifest) -> MultiLabelMetrics:
        """The row for the manifest."""
        s = self.scores
        return MultiLabelMetrics(
            precision=self.precision,
            mode=self.mode,
            images=s.images,
            images_digest=self.images_digest,
            answers_digest=self.answers_digest,
            map=round(s.map, 6),
            map_interval=(round(s.map_interval[0], 6), round(s.map_interval[1], 6)),
            micro_f1=round(s.micro_f1, 6),
            macro_f1=round(s.macro_f1, 6),
            nll=round(s.nll, 6),
            average_precision={
                label.id: round(value, 6)
                for label, value in zip(manifest.labels, s.average_precision, strict=True)
                if not np.isnan(value)
            },
            against_single=_stored(self.against_single),
            against_fp32=_stored(self.against_fp32),
        )

    def cells(self) -> tuple[str, ...]:
        """The row's cells for `COLUMNS`."""
        s = self.scores
        low, high = s.map_interval
        return (
            self.precision,
            self.mode,
            f"{100 * s.map:.2f}",
            f"{100 * low:.2f} to {100 * high:.2f}",
            f"{100 * s.micro_f1:.2f}",
            f"{100 * s.macro_f1:.2f}",
            f"{s.nll:.4f}",
            f"{self.cost:.2f}",
            paired_table.difference(self.against_single),
            paired_table.difference(self.against_fp32),
        )


def _stored(pair: LabelsPaired | None) -> PairedLabelMetrics | None:
    return PairedLabelMetrics.model_validate(pair.facts()) if pair else None


@dataclass(frozen=True)
class LabelEvaluation:
    """All measurements on one data set."""

    manifest: Manifest
    aggregate: Aggregation
    rows: tuple[LabelRow, ...]
    predictions: dict[Precision, LabelPredictions]
    left_out: LeftOut

    @property
    def unreadable(self) -> dict[Path, str]:
        """The images that cannot be decoded, each with its reason."""
        return self.left_out.unreadable


def evaluate(
    package: Path,
    items: Sequence[LabelledFile],
    modes: Sequence[Mode],
    precisions: Iterable[Precision] | None = None,
    *,
    coverage: float | None = None,
    aggregate: Aggregation = "mean",
    boxes: tuple[FractionBox, ...] = (),
    provider: Provider = "cpu",
) -> LabelEvaluation:
    """Measure `modes` at every precision of the package. `boxes` are those of `custom`.

    Raises:
        DataError: a class that the model does not have, or no readable image.
        ModelPackageError: see `Predictor.from_package`.
        UsageError: a coverage; or see `Predictor.from_package` and `check_options`.
    """
    if coverage is not None:
        raise UsageError("--coverage needs one true class, and this package is multi-label")
    loaded = ModelPackage.load(package)
    found: dict[tuple[Precision, Mode], LabelScores] = {}
    by_precision: dict[Precision, LabelPredictions] = {}
    states: dict[tuple[Precision, Mode], str] = {}
    unreadable: dict[Path, str] = {}
    present: set[int] = set()
    for precision in precisions or loaded.precisions:
        predictor = Predictor.from_package(package, precision=precision, provider=provider)
        got = answers(predictor, items, modes, aggregate, boxes)
        by_precision[precision] = got
        unreadable |= got.unreadable
        present |= set(np.flatnonzero(got.truth.any(0)).tolist())
        for mode, own in got.by_mode.items():
            found[precision, mode] = scores(own.probabilities, got.truth, own.present)
            states[precision, mode] = answers_digest(predictor.manifest, precision, mode)
    digests = {p: images_digest(got.paths, got.truth) for p, got in by_precision.items()}
    rows = [
        LabelRow(
            precision,
            mode,
            own,
            by_precision[precision].by_mode[mode].cost,
            against_single=_against(own, found.get((precision, "none"))),
            against_fp32=_against(own, found.get(("fp32", mode))),
            images_digest=digests[precision],
            # The thresholds were fitted to the mean: other ways to aggregate are not recorded.
            answers_digest=states[precision, mode] if aggregate == "mean" else None,
        )
        for (precision, mode), own in found.items()
    ]
    beside = left_out(items, loaded.manifest, present, unreadable)
    return LabelEvaluation(loaded.manifest, aggregate, tuple(rows), by_precision, beside)


def _against(own: LabelScores, reference: LabelScores | None) -> LabelsPaired | None:
    """Compare two methods, if both answered the same images."""
    if reference is None or reference is own or reference.images != own.images:
        return None
    return paired(reference, own)


def as_json(measured: LabelEvaluation) -> list[dict[str, Any]]:
    """One object per precision and mode."""
    return [
        {
            **row.metrics(measured.manifest).model_dump(mode="json"),
            "aggregate": measured.aggregate,
            "cost": row.cost,
            **measured.left_out.facts(),
        }
        for row in measured.rows
    ]
