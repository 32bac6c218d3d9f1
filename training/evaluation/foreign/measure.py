"""Answer known and foreign images with every mode, by the code that serves, and compare."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import DataError, UsageError
from service.inference.image.views import AnyImage
from service.inference.predictor import Predictor
from service.inference.runtime.providers import Provider
from service.inference.tta.passes import StepsOf
from service.inference.tta.steps import Options
from service.inference.tta.task import TASKS
from service.inference.unknown import NONE_FOR_SEVERAL_LABELS
from service.listing.skipped import Skipped
from service.package.manifest import Mode, Precision
from service.scoring.sources.walk import UnreadablePath, walk
from training.data.item import Item
from training.evaluation.foreign.separation import Separation, difference, separation
from training.evaluation.metrics import share_interval
from training.evaluation.paired import exact
from training.evaluation.predictions import LabelledFile, collect

KnownRate = float | Literal["off"] | None


@dataclass(frozen=True)
class ForeignImages:
    """The images of a folder."""

    items: tuple[Item, ...]
    skipped: Skipped


@dataclass(frozen=True)
class Seen:
    """What an answer says of one image."""

    index: int
    probability: float
    score: float | None
    is_unknown: bool
    threshold: float | None


@dataclass(frozen=True)
class Answers:
    """The answers of one mode to N images."""

    index: NDArray[np.int64]
    """The likeliest class."""
    probability: NDArray[np.float64]
    score: NDArray[np.float64] | None
    """The unknown score; None: the package or the mode has none."""
    unknown: NDArray[np.bool_]
    threshold: float | None

    @classmethod
    def of(cls, seen: Sequence[Seen]) -> "Answers":
        scores = [one.score for one in seen if one.score is not None]
        return cls(
            np.array([one.index for one in seen]),
            np.array([one.probability for one in seen]),
            np.array(scores) if len(scores) == len(seen) else None,
            np.array([one.is_unknown for one in seen]),
            seen[0].threshold,
        )


@dataclass(frozen=True)
class AgainstSingle:
    """A mode against the single crop, on the same images."""

    auroc: Separation | None
    """The difference of the areas, by the unknown score."""
    by_probability: Separation
    """The same by the top probability."""
    caught: int
    """Foreign images that the single crop accepts and the mode does not."""
    missed: int
    """Foreign images that the mode accepts and the single crop does not."""
    p_value: float
    """McNemar's exact test of these two counts."""


@dataclass(frozen=True)
class ForeignRow:
    """One precision and mode."""

    precision: Precision
    mode: Mode
    known: Answers
    foreign: Answers
    separation: Separation | None
    """By the unknown score."""
    by_probability: Separation
    """By one minus the top probability: what a user has without an unknown score."""
    against_single: AgainstSingle | None

    def shares(self) -> dict[str, tuple[int, int]] | None:
        """(images, of all) of the known images and of the foreign images that are accepted."""
        if self.separation is None:
            return None
        return {
            "known_share": (int((~self.known.unknown).sum()), len(self.known.unknown)),
            "false_accepts": (int((~self.foreign.unknown).sum()), len(self.foreign.unknown)),
        }

    def facts(self) -> dict[str, Any]:
        """The row as JSON."""
        shares = self.shares() or {}
        paired = self.against_single
        return {
            "precision": self.precision,
            "mode": self.mode,
            "known_images": len(self.known.unknown),
            "foreign_images": len(self.foreign.unknown),
            "threshold": self.known.threshold,
            "unknown_score": self.separation and self.separation.facts(),
            "top_probability": self.by_probability.facts(),
            **{
                name: {
                    "images": count,
                    "share": round(count / of, 6),
                    "interval": [round(end, 6) for end in share_interval(count, of)],
                }
                for name, (count, of) in shares.items()
            },
            "against_single": paired
            and {
                "unknown_score": paired.auroc and paired.auroc.facts(),
                "top_probability": paired.by_probability.facts(),
                "caught": paired.caught,
                "missed": paired.missed,
                "p_value": round(paired.p_value, 6),
            },
        }


@dataclass(frozen=True)
class ForeignEvaluation:
    """All measurements."""

    rows: tuple[ForeignRow, ...]
    foreign_paths: dict[Precision, tuple[Path, ...]]
    unreadable: dict[Path, str]


def foreign_images(folder: Path) -> ForeignImages:
    """Every image under `folder`.

    Raises:
        DataError: there is none, or a folder cannot be listed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of images")
    skipped = Skipped()
    items: list[Item] = []
    for path in walk(str(folder), skipped):
        if isinstance(path, UnreadablePath):
            raise DataError(f"{path} cannot be listed: {path.reason}")
        items.append(Item(Path(path), ""))
    if not items:
        raise DataError(f"{folder} has no images")
    return ForeignImages(tuple(items), skipped)


def measure_foreign(
    package: Path,
    known: Sequence[LabelledFile],
    foreign: Sequence[LabelledFile],
    modes: Sequence[Mode],
    precisions: Iterable[Precision] | None = None,
    *,
    known_rate: KnownRate = None,
    provider: Provider = "cpu",
) -> ForeignEvaluation:
    """Answer both sets with every mode and precision.

    Raises:
        DataError: not one readable image in a set.
        ModelPackageError, UsageError: see `Predictor.from_package`; or a multi-label package.
    """
    rows: list[ForeignRow] = []
    paths: dict[Precision, tuple[Path, ...]] = {}
    unreadable: dict[Path, str] = {}
    chosen = precisions or Predictor.from_package(package, provider=provider).package.precisions
    for precision in chosen:
        predictor = Predictor.from_package(package, precision=precision, provider=provider)
        if not TASKS[predictor.manifest.task].one_is_true:
            raise UsageError(f"--foreign: {predictor.manifest.name} {NONE_FOR_SEVERAL_LABELS}")
        ours, _, broken = _answers(predictor, known, modes, known_rate)
        theirs, paths[precision], also = _answers(predictor, foreign, modes, known_rate)
        unreadable |= broken | also
        rows += compared(precision, modes, ours, theirs)
    return ForeignEvaluation(tuple(rows), paths, unreadable)


def _answers(
    predictor: Predictor,
    items: Sequence[LabelledFile],
    modes: Sequence[Mode],
    known_rate: KnownRate,
) -> tuple[dict[Mode, Answers], tuple[Path, ...], dict[Path, str]]:
    options = [Options(tta=mode, known_rate=known_rate) for mode in modes]

    def start(image: AnyImage) -> list[StepsOf[Seen]]:
        return [_seen(predictor, image, one) for one in options]

    what = f"{predictor.manifest.name} {predictor.precision}"
    kept, seen, unreadable = collect(predictor, items, start, what)
    answers: dict[Mode, Answers] = {}
    for i, mode in enumerate(modes):
        answers[mode] = Answers.of([own[i] for own in seen])
    return answers, tuple(item.path for item in kept), unreadable


def _seen(predictor: Predictor, image: AnyImage, options: Options) -> StepsOf[Seen]:
    answer = yield from predictor.start(image, options)
    index, unknown = int(answer.probabilities.argmax()), answer.unknown
    return Seen(
        index=index,
        probability=float(answer.probabilities[index]),
        score=unknown.score if unknown else None,
        is_unknown=unknown is not None and unknown.is_unknown,
        threshold=unknown.threshold if unknown else None,
    )


def compared(
    precision: Precision,
    modes: Sequence[Mode],
    known: Mapping[Mode, Answers],
    foreign: Mapping[Mode, Answers],
) -> Iterator[ForeignRow]:
    """A row for each mode, from the answers to both sets."""
    for mode in modes:
        ours, theirs = known[mode], foreign[mode]
        both = _scores(ours, theirs)
        yield ForeignRow(
            precision=precision,
            mode=mode,
            known=ours,
            foreign=theirs,
            separation=None if both is None else separation(*both),
            by_probability=separation(*_doubts(ours, theirs)),
            against_single=None
            if mode == "none" or "none" not in known
            else _against(ours, theirs, known["none"], foreign["none"]),
        )


def _doubts(known: Answers, foreign: Answers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return 1 - known.probability, 1 - foreign.probability


def _scores(
    known: Answers, foreign: Answers
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if known.score is None or foreign.score is None:
        return None
    return known.score, foreign.score


def _against(
    known: Answers, foreign: Answers, single_known: Answers, single_foreign: Answers
) -> AgainstSingle:
    ours, theirs = _scores(known, foreign), _scores(single_known, single_foreign)
    areas = None if ours is None or theirs is None else difference(ours, theirs)
    doubts = difference(_doubts(known, foreign), _doubts(single_known, single_foreign))
    caught = int((foreign.unknown & ~single_foreign.unknown).sum())
    missed = int((~foreign.unknown & single_foreign.unknown).sum())
    _, _, p_value = exact(caught, missed, len(foreign.unknown))
    return AgainstSingle(areas, doubts, caught, missed, p_value)
