"""Write an imported model as a package, and compare it with its source."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx

from service.errors import UsageError
from service.package.card.document import write_model_card
from service.package.manifest import Graph, Manifest, Normalization
from service.package.package import ModelPackage
from service.version import installed
from training.export.writer import (
    FILES,
    add_metadata,
    check_replaceable,
    check_version,
    describe,
    replacing,
    write_manifest,
)
from training.imports import parity
from training.imports.parity import Parity
from training.imports.report import lines
from training.imports.spec import ImportSpec
from training.surgery import Converted

LIBRARIES = ("onnx", "onnxruntime-gpu", "onnxruntime", "torch", "torchvision", "timm", "fastai")


@dataclass(frozen=True)
class Imported:
    """A package that was written, and how it compares with its source."""

    folder: Path
    manifest: Manifest
    converted: Converted
    parity: Parity

    def lines(self) -> list[str]:
        """About ten lines for people: what was found and what the package can do."""
        return lines(self.manifest, self.converted, self.parity)


def write(
    converted: Converted,
    spec: ImportSpec,
    folder: Path,
    *,
    overwrite: bool = False,
    log: Callable[[str], None] = print,
) -> Imported:
    """Compare the graph with its source, and write the package to `folder` if both agree.

    `folder` is replaced as a whole or not at all. `log` gets the report.

    Raises:
        ImportRefused: the graph does not agree with `spec.reference`.
        UsageError: labels or sizes that do not fit the model, or `folder` holds something else.
    """
    check_replaceable(folder, overwrite=overwrite)
    check_version(spec.version)
    _check_labels(spec, converted)
    _check_crop(spec, converted)
    converted, compared = parity.check(converted, spec)
    with replacing(folder) as new:
        labels = tuple(spec.labels)
        normalization = Normalization(
            mean=converted.wanted.mean, std=converted.wanted.std, source=spec.normalization_source
        )
        add_metadata(converted.model, labels, spec.sizes, normalization)
        onnx.save(converted.model, new / FILES["fp32"])
        manifest = Manifest(
            name=folder.name,
            version=spec.version,
            architecture=_architecture(spec, converted),
            task=spec.task
            or ("multi_label" if converted.activation == "sigmoid" else "single_label"),
            labels=labels,
            input=spec.sizes,
            graph=Graph(
                kind=converted.kind,
                sizes=converted.sizes,
                stride_px=converted.stride_px,
                smallest_px=converted.smallest_px,
                embedding=converted.embedding,
            ),
            normalization=normalization,
            files=(describe(new, "fp32"),),
            provenance=_provenance(spec, converted, compared),
            default_mode="none",  # as the source answers; calibration measures whether TTA helps
        )
        write_manifest(new, manifest)
        write_model_card(new)
        ModelPackage.load(new)
    done = Imported(folder, manifest, converted, compared)
    for line in done.lines():
        log(line)
    return done


def _check_labels(spec: ImportSpec, converted: Converted) -> None:
    if len(spec.labels) != converted.classes:
        raise UsageError(
            f"{spec.source} answers for {converted.classes} classes, but {len(spec.labels)} labels "
            "are given"
        )


def _check_crop(spec: ImportSpec, converted: Converted) -> None:
    crop_px, sizes = spec.sizes.crop_px, converted.sizes
    if sizes != "dynamic" and (crop_px, crop_px) not in sizes:
        known = ", ".join(f"{width}×{height}" for height, width in sizes)
        raise UsageError(
            f"{spec.source} takes images of {known} px only ({converted.reason}), but crops are of "
            f"{crop_px} px: --crop-px {sizes[0][0]}"
        )
    if sizes == "dynamic" and crop_px < converted.smallest_px:
        raise UsageError(
            f"crops are of {crop_px} px, but {spec.source} takes {converted.smallest_px} px or more"
        )


def _architecture(spec: ImportSpec, converted: Converted) -> dict[str, Any]:
    weights = sum(
        prod(tensor.dims)
        for tensor in converted.model.graph.initializer
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    )
    return {"name": spec.source, "parameters": weights, **spec.architecture}


def _provenance(spec: ImportSpec, converted: Converted, compared: Parity) -> dict[str, Any]:
    return {
        **spec.provenance,
        "imported": {
            "source": spec.source,
            "kind": converted.kind,
            "activation": converted.activation,
            "reason": converted.reason,
            "notes": list(converted.notes),
            "parity": compared.facts(),
            **spec.facts,
        },
        "libraries": installed(LIBRARIES),
        "python": platform.python_version(),
    }
