"""Answers as tables, and the tables in docs/answers.md."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.answers.questions import Question
from benchmarks.answers.trainings import Answer

HEADER = (
    "arm", "top-1 %, mean", "per seed", "NLL", "training s", "difference, points (95%)",
    "NLL difference (95%)",
)  # fmt: skip
NUMBERS_FROM = 1


@dataclass(frozen=True)
class Difference:
    """The mean of n paired differences, and its 95% interval if n is at least 2."""

    mean: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def paired_difference(values: Sequence[float], base: Sequence[float]) -> Difference:
    """Student's t over n differences, n - 1 degrees of freedom; no interval for fewer than two."""
    differences = np.asarray(values) - np.asarray(base)
    mean, count = float(differences.mean()), len(differences)
    if count < 2:
        return Difference(mean, None, None)
    half = float(stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count))
    return Difference(mean, mean - half, mean + half)


def table(question: Question, answers: Mapping[str, Mapping[int, Answer]]) -> str:
    """Markdown; `answers` by arm and seed. Differences are over the seeds that both arms have."""
    lines = [
        "| " + " | ".join(HEADER) + " |",
        "|---" * NUMBERS_FROM + "|--:" * (len(HEADER) - NUMBERS_FROM) + "|",
    ]
    for arm in question.arms:
        own = answers[arm.name]
        cells = [
            arm.name,
            f"{100 * np.mean([a.top1 for a in own.values()]):.1f}",
            ", ".join(f"{100 * own[seed].top1:.1f}" for seed in sorted(own)),
            f"{np.mean([a.nll for a in own.values()]):.3f}",
            f"{np.mean([a.train_seconds for a in own.values()]):.0f}",
        ]
        if arm.against is None:
            cells += ["", ""]
        else:
            base = answers[arm.against]
            seeds = sorted(set(own) & set(base))
            for name, scale, digits in (("top1", 100, 1), ("nll", 1, 3)):
                difference = paired_difference(
                    [scale * getattr(own[s], name) for s in seeds],
                    [scale * getattr(base[s], name) for s in seeds],
                )
                cells.append(_shown(difference, digits))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(difference: Difference, digits: int) -> str:
    text = f"{difference.mean:+.{digits}f}"
    if difference.low is None or difference.high is None:
        return f"{text} (one seed)"
    text += f" ({difference.low:+.{digits}f} to {difference.high:+.{digits}f})"
    return f"**{text}**" if difference.excludes_zero else text


def rewrite(document: Path, name: str, content: str) -> None:
    """Replace what lies between the markers of `name`.

    Raises:
        SystemExit: the document has no such markers.
    """
    text = document.read_text()
    begin, end = f"<!-- answers: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{document} has no markers {begin} … {end}")
    replaced = pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)
    document.write_text(replaced)
