"""A fine-tuned backbone becomes a model package in the same way as an import.

The graph of a network of another library has no known form. So it is converted and compared with
the network in torch, like in `quincunx import`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from service.package.manifest import InputSize, Label, Normalization, TaskName
from training.data.dataset import Split
from training.data.samples import sample
from training.export.fp16 import add_fp16
from training.export.quantize import Quantization
from training.imports.given import Given
from training.imports.int8 import LEAST_AGREEMENT, add_int8
from training.imports.modules.opening import open_module
from training.imports.modules.source import ModuleSource
from training.imports.package import write

PARITY_PHOTOS = 3
SEED = 0


def write_backbone(
    name: str,
    network: nn.Module,
    folder: Path,
    *,
    labels: Sequence[Label],
    sizes: InputSize,
    normalization: Normalization,
    task: TaskName,
    images: Split,
    version: str,
    provenance: Mapping[str, Any],
    quantization: Quantization | None,
    keep_rough: bool,
    fp16: bool,
    log: Callable[[str], None],
) -> None:
    """Write the trained `network` to `folder`, replacing a package there.

    Of the training images three check parity and some calibrate int8. Without `quantization` there
    is no int8 graph. It is also left out, with a message, if it does not answer like fp32, unless
    `keep_rough` keeps it.

    Raises:
        ImportRefused: no graph agrees with the network.
    """
    source = ModuleSource(
        name=name,
        module=network,
        mean=normalization.mean,
        std=normalization.std,
        crop_px=sizes.crop_px,
        resize_px=sizes.resize_px,
        interpolation=sizes.interpolation,
        fit=sizes.fit,
        labels=[[label.id, label.name] for label in labels],
        activation="none",
        task=task,
        statistics_from=normalization.source,
        architecture=name,
        facts={"weights": "trained by quincunx"},
    )
    converted, spec = open_module(source, Given(version=version, decode=sizes.decode))
    photos = tuple(item.path for item in sample(images.train, PARITY_PHOTOS, SEED))
    spec = replace(spec, labels=labels, sizes=sizes, photos=photos, provenance=provenance)
    done = write(converted, spec, folder, overwrite=True, log=lambda _: None)
    for line in done.lines()[:-1]:  # the last one is about calibration, which train does next
        log(line)
    if quantization:
        least = 0.0 if keep_rough else LEAST_AGREEMENT
        add_int8(folder, images.train, log, quantization, held_out=images.calibration, least=least)
    if fp16:
        add_fp16(folder, log=log)
