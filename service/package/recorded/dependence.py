"""What the answers of a precision and mode depend on, as digests.

Equal digests: a package gives the same answers to the same images. So metrics that were measured
with one of two packages hold for both.

Packages keep the digests. So a change of what goes into one, or of a default value, makes every
recorded row stale. Default values are left out, so that a new field changes nothing.
"""

import hashlib
import json
from typing import Any

from service.package.manifest import EQUAL_SHARE, Manifest
from service.package.parts import Mode, Precision
from service.package.recorded.metrics import Row

DIGITS = 16


def answers_digest(manifest: Manifest, precision: Precision, mode: Mode) -> str:
    """Of everything that the probabilities and the chosen classes of this mode depend on."""
    fitted = manifest.calibration_for(precision, mode)
    parts: list[Any] = [_ranking(manifest, precision, mode)]
    parts.append(_confidence(manifest, precision, mode))
    parts.append(fitted.thresholds.get("mean"))
    return _digest(parts)


def ranking_digest(manifest: Manifest, precision: Precision, mode: Mode) -> str:
    """Of everything that top-1, top-5 and average precision depend on.

    A temperature keeps the order of probabilities. But `adaptive` mixes two tempered answers.
    """
    return _digest(_ranking(manifest, precision, mode))


def stale(manifest: Manifest) -> list[Row]:
    """The rows that say themselves that they were measured with other answers."""
    return [
        row
        for row in (*manifest.metrics, *manifest.multi_label_metrics)
        if row.answers_digest
        and row.answers_digest != answers_digest(manifest, row.precision, row.mode)
    ]


def restamped(old: Manifest, new: Manifest) -> Manifest:
    """`new` with the digests of its own answers, where they are known to be those of `old`."""
    rows = {
        name: tuple(
            row.model_copy(update={"answers_digest": answers_digest(new, row.precision, row.mode)})
            if row.answers_digest == answers_digest(old, row.precision, row.mode)
            else row
            for row in getattr(new, name)
        )
        for name in ("metrics", "multi_label_metrics")
    }
    return new.model_copy(update=rows)


def _ranking(manifest: Manifest, precision: Precision, mode: Mode) -> list[Any]:
    fitted = manifest.calibration_for(precision, mode)
    found: list[Any] = [
        manifest.task,
        mode,
        _graph(manifest, precision),
        [label.id for label in manifest.labels],
        manifest.input.model_dump(exclude_defaults=True),
        manifest.graph.model_dump(exclude={"embedding"}, exclude_defaults=True),
        fitted.second_share if mode in ("centre_dense", "adaptive") else EQUAL_SHARE,
    ]
    if mode == "adaptive":
        gate, passes = fitted.gate, manifest.adaptive
        second: Mode = passes.second if passes else "dense"
        found += [
            passes and passes.model_dump(exclude_defaults=True),
            gate and [gate.kind, gate.threshold],
            fitted.second_temperature,
            _confidence(manifest, precision, mode),
            _confidence(manifest, precision, second),
        ]
    return found


def _graph(manifest: Manifest, precision: Precision) -> list[str]:
    """The digest of the graph; of fp32 where fp16 is derived from it."""
    files = {file.precision: file.sha256 for file in manifest.files}
    return [precision, files.get(precision) or files.get("fp32", "")]


def _confidence(manifest: Manifest, precision: Precision, mode: Mode) -> list[float]:
    fitted = manifest.calibration_for(precision, mode)
    return [fitted.temperature, fitted.temperature_power, fitted.second_share]


def _digest(parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:DIGITS]
