"""Evaluate a package: every mode and precision on labelled images, by the code that serves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from service.errors import UsageError
from service.inference.image.geometry import FractionBox
from service.inference.predictor import Predictor
from service.inference.runtime.providers import Provider
from service.package.manifest import Aggregation, Manifest, Metrics, Mode, Precision
from service.package.package import ModelPackage
from service.package.recorded.dependence import answers_digest
from training.data.content.digest import images_digest
from training.data.content.sketch import trained_on
from training.data.dataset import validation
from training.data.labelled import Labelled
from training.data.left_out import LeftOut, left_out
from training.evaluation.methods import BASELINES, MethodName, method_named
from training.evaluation.metrics import Scores, confusion, scores
from training.evaluation.paired import Paired, paired
from training.evaluation.predictions import LabelledFile, Predictions, predict


@dataclass(frozen=True)
class Evaluated:
    """One precision and mode, or baseline, measured."""

    precision: Precision
    mode: MethodName
    scores: Scores
    cost: float
    gate_open: float | None
    against_single: Paired | None
    """Against the single crop of the same precision."""
    against_fp32: Paired | None
    """Against the same mode at fp32. None if that was not measured in the same run."""
    coverage: float | None = None
    mean_set_size: float | None = None
    images_digest: str | None = None
    answers_digest: str | None = None
    """As those of the manifest's `Metrics`; None for baselines, which no package keeps."""

    def facts(self) -> dict[str, Any]:
        """The row, with values rounded to six digits."""
        s = self.scores
        return {
            "precision": self.precision,
            "mode": self.mode,
            "images": s.images,
            "images_digest": self.images_digest,
            "answers_digest": self.answers_digest,
            "top1": round(s.top1, 6),
            "top1_interval": [round(bound, 6) for bound in s.top1_interval],
            "top5": None if s.top5 is None else round(s.top5, 6),
            "nll": round(s.nll, 6),
            "ece": round(s.ece, 6),
            "against_single": self.against_single and self.against_single.facts(),
            "against_fp32": self.against_fp32 and self.against_fp32.facts(),
        }


@dataclass(frozen=True)
class Evaluation:
    """All measurements on one data set."""

    rows: tuple[Evaluated, ...]
    predictions: dict[Precision, Predictions]
    left_out: LeftOut

    @property
    def unreadable(self) -> dict[Path, str]:
        """The images that cannot be decoded, each with its reason."""
        return self.left_out.unreadable

    def metrics(self) -> tuple[Metrics, ...]:
        """The rows for the manifest: only modes that can be served."""
        served = [row for row in self.rows if row.mode not in BASELINES]
        return tuple(Metrics.model_validate(row.facts()) for row in served)

    def per_class(self, precision: Precision, mode: MethodName, classes: int) -> list[float]:
        """Accuracy of each class; nan if the class has no image."""
        got = self.predictions[precision]
        table = confusion(got.by_name[mode].probabilities, got.labels)
        totals = table.sum(1)
        return [float(table[k, k] / totals[k]) if totals[k] else np.nan for k in range(classes)]


def evaluate(
    package: Path,
    items: Sequence[LabelledFile],
    modes: Sequence[MethodName],
    precisions: Iterable[Precision] | None = None,
    *,
    coverage: float | None = None,
    aggregate: Aggregation = "mean",
    boxes: tuple[FractionBox, ...] = (),
    provider: Provider = "cpu",
) -> Evaluation:
    """Measure `modes`, which may include baselines, at every precision of the package.

    `boxes` are those of `custom`.

    Raises:
        DataError: a class that the model does not have, or no readable image.
        ModelPackageError: see `Predictor.from_package`.
        UsageError: another aggregation than the mean; or see `Predictor.from_package`.
    """
    if aggregate != "mean":
        raise UsageError("--aggregate is for multi-label packages; others are measured by the mean")
    compared = [method_named(mode, coverage, boxes) for mode in modes]
    by_precision: dict[Precision, Predictions] = {}
    unreadable: dict[Path, str] = {}
    present: set[int] = set()
    manifests: dict[Precision, Manifest] = {}
    chosen = precisions or Predictor.from_package(package, provider=provider).package.precisions
    for precision in chosen:
        predictor = Predictor.from_package(package, precision=precision, provider=provider)
        got = predict(predictor, items, compared)
        by_precision[precision] = got
        manifests[precision] = predictor.manifest
        unreadable |= got.unreadable
        present |= set(got.labels.tolist())
    digests = {p: images_digest(got.paths, got.labels) for p, got in by_precision.items()}
    rows = tuple(
        _row(p, mode, by_precision, manifests[p], digests[p])
        for p in by_precision
        for mode in modes
    )
    manifest = ModelPackage.load(package).manifest
    return Evaluation(rows, by_precision, left_out(items, manifest, present, unreadable))


def _row(
    precision: Precision,
    mode: MethodName,
    measured: dict[Precision, Predictions],
    manifest: Manifest,
    images: str,
) -> Evaluated:
    got = measured[precision]
    answers = got.by_name[mode]
    return Evaluated(
        precision=precision,
        mode=mode,
        scores=scores(answers.probabilities, got.labels),
        cost=answers.cost,
        gate_open=answers.gate_open,
        against_single=None if mode == "none" else against(got, mode, got, "none"),
        against_fp32=None
        if precision == "fp32"
        else against(got, mode, measured.get("fp32"), mode),
        coverage=None if answers.covered is None else float(answers.covered.mean()),
        mean_set_size=None if answers.set_sizes is None else float(answers.set_sizes.mean()),
        images_digest=images,
        answers_digest=None
        if mode in BASELINES
        else answers_digest(manifest, precision, cast(Mode, mode)),
    )


def against(
    got: Predictions, name: str, reference: Predictions | None, reference_name: str
) -> Paired | None:
    """Compare two methods, if both answered the same images."""
    if reference is None or reference_name not in reference.by_name:
        return None
    if got.paths != reference.paths:
        return None
    one, other = got.by_name[name], reference.by_name[reference_name]
    return paired(other.probabilities, one.probabilities, got.labels)


def labelled(data: Path, trained: Manifest | None = None) -> Labelled:
    """The images for reports, from a folder or a table: see `training.data.dataset.validation`.

    A note says how many of them `trained` was trained on.
    """
    found = validation(data, trained)
    if trained is None:
        return found
    known = trained_on(trained.provenance, [item.path for item in found])
    if not known:
        return found
    note = f"warning: {trained.name} was trained on {known}: its metrics on them are too good"
    return replace(found, notes=(*found.notes, note))


def as_json(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One object per precision and mode."""
    return [
        {
            **row.facts(),
            "nll_interval": row.scores.nll_interval,
            "cost": row.cost,
            "gate_open": row.gate_open,
            "turned_wrong": row.against_single and row.against_single.spoiled,
            "turned_right": row.against_single and row.against_single.corrected,
            "coverage": row.coverage,
            "mean_set_size": row.mean_set_size,
            **evaluation.left_out.facts(),
        }
        for row in evaluation.rows
    ]
