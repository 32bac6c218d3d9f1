"""The settings of a package that answers were made with, for summaries and reports."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.package.manifest import Gate, Manifest, Precision
from service.package.package import ModelPackage


def settings_of(package: ModelPackage, gate: Gate | None = None) -> dict[str, Any]:
    """Digest of the manifest, input sizes, decoding, and the gate that was used, as JSON values.

    Two packages of one name and version may differ in them, because the version is a user's choice.
    `gate` is None for answers that asked no gate.
    """
    return {
        "manifest_sha256": package.manifest_sha256,
        "input": package.manifest.input.model_dump(mode="json"),
        "gate": gate and _gate(gate, package.manifest),
    }


def in_words(settings: Mapping[str, Any]) -> str:
    """`settings_of` as one line for people."""
    size, gate = settings["input"], settings["gate"]
    decode = "every pixel decoded"
    if size["decode"] == "scaled":
        decode = (
            f"JPEGs decoded at a reduced scale, at least {size['decode_factor']} times the size"
        )
    resized = f"resized to {size['resize_px']} px"
    if size["fit"] == "squash":
        resized = f"squashed to {size['resize_px']}×{size['resize_px']} px"
    text = (
        f"Settings of the package (manifest sha256 {settings['manifest_sha256'][:12]}…): "
        f"{decode}, {resized} ({size['interpolation']}), crops of "
        f"{size['crop_px']} px"
    )
    return f"{text}; {_gate_in_words(gate)}" if gate else text


def lines(package: ModelPackage, precisions: Iterable[Precision]) -> list[str]:
    """The settings of `package`, with the gate of each precision that has one, for reports."""
    found = [in_words(settings_of(package))]
    for precision in precisions:
        gate = package.manifest.calibration_for(precision, "adaptive").gate
        if gate:
            found.append(f"{precision}: {_gate_in_words(_gate(gate, package.manifest))}")
    return found


def _gate_in_words(gate: Mapping[str, Any]) -> str:
    return (
        f"adaptive trusts its first pass if {gate['kind']} is at least {gate['threshold']:.4g}, "
        f"and otherwise runs {gate['second']} (expected cost {gate['expected_cost']:.2f} crops)"
    )


def _gate(gate: Gate, manifest: Manifest) -> dict[str, Any]:
    second = manifest.adaptive.second if manifest.adaptive else "dense"
    return {
        "kind": gate.kind,
        "threshold": gate.threshold,
        "expected_cost": gate.expected_cost,
        "second": second,
    }
