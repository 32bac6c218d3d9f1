"""An ONNX file of another program. It says shapes and operators; the rest must be named."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from service.errors import UsageError
from service.package.manifest import InputSize
from training.imports.given import NORMALIZATIONS, Given, input_size
from training.imports.labels import read_labels
from training.imports.photos import photos_in
from training.imports.spec import ImportSpec
from training.surgery import Converted, Wanted, convert
from training.surgery.reading import loading, signature
from training.surgery.reading.signature import Signature
from training.surgery.source import SourceFunction
from training.surgery.wanted import Triple

NOTHING: tuple[Triple, Triple] = NORMALIZATIONS["0..1"]


@dataclass(frozen=True)
class Named:
    """What an ONNX file does not say."""

    statistics: tuple[Triple, Triple]
    sizes: InputSize
    labels: str


def open_source(source: str, given: Given) -> tuple[Converted, ImportSpec]:
    """Read an ONNX file, with what `given` says of it.

    Raises:
        UsageError: the file and the options lack a value; the message lists what was found and what
            is missing.
        ImportRefused: the model cannot become a package.
    """
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"no file {path}")
    model = loading.load(path)
    probe = Wanted(*NOTHING, layout=given.layout, output=given.output)
    found = signature.read(model, probe)
    crop_px = given.crop_px or (found.fixed_sides or (None,))[0]
    statistics = given.statistics()
    if found.element == TensorProto.UINT8:  # what normalizes is inside
        if statistics not in (None, NOTHING):
            raise UsageError(f"{path} takes bytes, so the normalization is inside: name none")
        statistics = NOTHING
    named = _complete(path, model, found, given, crop_px, statistics)
    wanted = Wanted(
        *named.statistics,
        crop_px=named.sizes.crop_px,
        layout=given.layout,
        channels=given.channels,
        activation=given.activation,
        output=given.output,
    )
    converted = convert(model, wanted)
    return converted, ImportSpec(
        source=path.name,
        labels=read_labels(named.labels, converted.classes),
        sizes=named.sizes,
        reference=SourceFunction(model, found, converted.wanted),
        normalization_source=given.normalization or "named at the import",
        architecture={"name": path.stem},
        facts={"producer": f"{model.producer_name} {model.producer_version}".strip()},
        photos=photos_in(given.photos) if given.photos else (),
        version=given.version,
    )


def _complete(
    path: Path,
    model: onnx.ModelProto,
    found: Signature,
    given: Given,
    crop_px: int | None,
    statistics: tuple[Triple, Triple] | None,
) -> Named:
    missing: list[str] = []
    if statistics is None:
        missing.append(
            "--normalization imagenet, half, 0..1 or 0..255, or --mean R,G,B --std R,G,B (0..1 and "
            "0..255: the model takes such pixels and normalizes inside)"
        )
    if crop_px is None:
        missing.append("--crop-px, the side of the images that the model was made for")
    if given.resize_px is None:
        missing.append("--resize-px, to which a photo is resized before the crop is cut")
    if given.interpolation is None:
        missing.append("--interpolation bilinear or bicubic")
    if given.labels is None:
        missing.append("--labels FILE with a name for each class, or --labels numbers")
    if statistics and crop_px and given.resize_px and given.interpolation and given.labels:
        fit = given.fit or "shorter_side"
        sizes = input_size(crop_px, given.resize_px, given.interpolation, given.decode, fit)
        return Named(statistics, sizes, given.labels)
    size = f"{crop_px} px" if found.fixed_sides else "any size"
    keys = ", ".join(prop.key for prop in model.metadata_props)
    facts = [
        signature.described(model),
        f"layout {found.layout}, {size}, batch {found.batch or 'of any size'}",
        f"{len(model.graph.node)} operators, the last is {model.graph.node[-1].op_type}",
        f"metadata: {keys or 'none'}",
    ]
    raise UsageError(
        f"{path} holds: {'; '.join(facts)}. It does not say these values; add them: "
        f"{'; '.join(missing)}"
    )
